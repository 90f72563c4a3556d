"""A blob on its way: what whoever reads it sees when the pull is given up."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from stackpy_runtime.image.manifests import Descriptor
from stackpy_runtime.image.registry.downloading import Cancelled, Download


class Answer:
    """An answer whose body nobody may wait for."""

    status, closed = 200, False

    def read(self, size: int) -> bytes:
        raise AssertionError(f"{size} bytes of a server that has gone quiet were waited for")

    def abort(self) -> None:
        """Too early here: nobody has got it yet."""

    def close(self) -> None:
        self.closed = True


def test_a_pull_that_is_given_up_while_a_download_begins_does_not_wait_for_it() -> None:
    stop, answer = threading.Event(), Answer()

    class Client:
        def blob(self, repository: str, digest: str, start: int) -> Answer:
            stop.set()
            download.abort()
            return answer

    clients: Any = [Client()]
    descriptor = Descriptor(f"sha256:{'0' * 64}", 10)
    download = Download(clients, "app", descriptor, -1, stop)
    with pytest.raises(Cancelled):
        download.read()
    assert answer.closed
