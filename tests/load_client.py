"""A steady load of HTTP requests on one port, over new connections and over ones that are kept."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from typing import Self

PAUSE = 0.005  # seconds between two requests: the load shall be steady, and leave the machine to what is tested


class Load:
    """Asks GET / while the `with` block runs; afterwards `answers` counts what came, and `failures` what did not."""

    def __init__(self, port: int, *, fresh: int = 2, kept: int = 2) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(False,)) for _ in range(fresh)]
        self._threads += [threading.Thread(target=self._ask, args=(True,)) for _ in range(kept)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self._over.is_set():
            try:
                connection.request("GET", "/", headers={} if keep else {"Connection": "close"})
                answer = connection.getresponse()
                self.answers[answer.read().decode()] += 1
                # http.client opens another connection by itself where the server has said that it closes this one.
                if not keep:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{'kept' if keep else 'new'} connection: {error!r}")
                connection.close()
            time.sleep(PAUSE)
        connection.close()
