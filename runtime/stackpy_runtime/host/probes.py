"""Health checks: commands in the container, HTTP and TCP asked from within its network namespace.

While a container is starting, probes come quickly at first (0.05 s, doubling up to the interval), so that one that is
ready is seen at once and not an interval later. Only probes at the configured pace count as failures (Docker's rule:
`retries` failures in a row after `start_period`).
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container import health
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux.namespaces import CLONE_NEWNET, entered

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import Health, HealthResult, Probe

FIRST_PAUSE = 0.05


class Verdict(NamedTuple):
    """What one probe found.

    text: why it is not healthy
    code: the command's exit code, -1 when it did not end in time (Docker's); 1 for http and tcp that fail
    output: what the command wrote, or what was answered
    """

    healthy: bool
    text: str
    code: int = 0
    output: str = ""


def failed(text: str) -> Verdict:
    """A probe that was not answered as it should have been."""
    return Verdict(False, text, 1, text)


class Progress(NamedTuple):
    """Where a container's health stands: failures in a row that count."""

    health: Health
    failures: int


def judge(now: Progress, verdict: Verdict, probe: Probe, age: float, *, counts: bool) -> Progress:
    """The health after one more probe. age: seconds since the start; counts: it came at the configured pace."""
    if verdict.healthy:
        return Progress("healthy", 0)
    if not counts or (now.health == "starting" and age < probe["start_period"]):
        return now
    failures = now.failures + 1
    return Progress("unhealthy" if failures >= probe["retries"] else now.health, failures)


def ask_tcp(network: int, port: int, timeout: float) -> Verdict:
    """Connects to a port on the container's loopback. network: descriptor of its namespace."""
    with entered(network, CLONE_NEWNET):
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with probe:
        probe.settimeout(timeout)
        try:
            probe.connect(("127.0.0.1", port))
        except OSError as error:
            return failed(f"tcp {port}: {error.strerror or error}")
    return Verdict(True, "")


def ask_http(network: int, url: str, status: int | None, timeout: float) -> Verdict:
    """Asks a URL as a program in the container would; `localhost` and its own addresses are what it can reach."""
    # 12 ms and the mail package: only for those who check over HTTP.
    import http.client
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 80
    # Names are not looked up: a resolver of the host would answer for another network.
    address = "127.0.0.1" if host == "localhost" else host
    with entered(network, CLONE_NEWNET):
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        opened.settimeout(timeout)
        opened.connect((address, port))
        connection.sock = opened
        path = parts.path or "/"
        connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers={"User-Agent": "stackpy"})
        answer = connection.getresponse()
        good = answer.status == status if status else 200 <= answer.status < 400
        text = f"{url} answered {answer.status}"
        return Verdict(True, "", 0, text) if good else failed(text)
    except (OSError, http.client.HTTPException) as error:
        return failed(f"{url}: {getattr(error, 'strerror', None) or error}")
    finally:
        opened.close()


class Watch:
    """Probes one container until its process ends; runs in a thread of its own."""

    def __init__(
        self,
        live: Live,
        probe: Probe,
        run: Callable[[Live, list[str], float], Verdict],
        changed: Callable[[Live, Health, str], None],
    ) -> None:
        self.live, self.probe, self.run, self.changed = live, probe, run, changed
        self.log = health.read(live.folder)

    def ask(self, network: int) -> Verdict:
        """One probe."""
        probe = self.probe
        if "tcp" in probe:
            return ask_tcp(network, probe["tcp"], probe["timeout"])
        if "http" in probe:
            return ask_http(network, probe["http"], probe.get("status"), probe["timeout"])
        return self.run(self.live, probe["test"], probe["timeout"])

    def _asked(self, network: int) -> Verdict:
        """One probe; one that could not be made is a failure, as in Docker, and the next is made all the same."""
        try:
            return self.ask(network)
        except (EngineError, OSError) as error:
            text = f"it could not be checked: {error}"
            return Verdict(False, text, -1, text)

    def loop(self) -> None:
        """Until the container ends."""
        live, probe, pid = self.live, self.probe, self.live.pid
        if not pid:
            return
        try:
            network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            start = time.monotonic()
            known = live.state["health"] or "starting"
            # One that was adopted goes on where it stood.
            now = Progress(known, 0 if known == "starting" else self.log["failing_streak"])
            pause, due = FIRST_PAUSE, start + self._interval(now, 0.0)
            while not live.wait_until(lambda: self._over(pid), max(0.0, pause)):
                if self._stands():
                    # Nobody could answer; its time goes on where it stopped, as Docker's does.
                    live.wait_until(lambda: self._over(pid) or not self._stands())
                    due, pause = time.monotonic() + probe["interval"], probe["interval"]
                    continue
                moment = time.monotonic()
                counts = moment >= due
                began = time.time()
                verdict = self._asked(network)
                if self._over(pid):
                    return
                if self._stands():
                    continue
                age = moment - start
                before, now = now, judge(now, verdict, probe, age, counts=counts)
                self._record(verdict, began, now.failures)
                if now.health != before.health:
                    self.changed(live, now.health, verdict.text)
                if counts:
                    due = time.monotonic() + self._interval(now, age)
                if now.health == "starting":
                    pause = min(pause * 2, self._interval(now, age), max(0.0, due - time.monotonic()))
                else:
                    if not counts:
                        due = time.monotonic() + probe["interval"]
                    pause = max(0.0, due - time.monotonic())
        finally:
            os.close(network)

    def _over(self, pid: int) -> bool:
        """Whether the process has ended, or another check is in the place of this one."""
        return self.live.pid != pid or self.live.probe is not self.probe

    def _record(self, verdict: Verdict, began: float, streak: int) -> None:
        result: HealthResult = {
            "start": timestamp(began),
            "end": timestamp(time.time()),
            "exit_code": verdict.code,
            "output": verdict.output,
        }
        self.log = health.added(self.log, result, streak)
        health.write(self.live.folder, self.log)

    def _stands(self) -> bool:
        return self.live.state["status"] == "paused"

    def _interval(self, now: Progress, age: float) -> float:
        starting = now.health == "starting" and age < self.probe["start_period"]
        return self.probe["start_interval"] if starting else self.probe["interval"]
