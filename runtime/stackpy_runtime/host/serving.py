"""Which of several replicas get new connections: those that are ready, and none that is about to be stopped.

A container with a health check is ready once it is healthy. One without is ready when it listens on what it publishes;
that is looked for only where others stand behind its ports already, since a container that is alone there gets every
connection in any case. One that becomes unhealthy, or is being stopped, leaves its ports and names to the others.
"""

from __future__ import annotations

import sys
import threading
import time

from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux import connections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.host.names import Names
    from stackpy_runtime.model import PortBinding
    from stackpy_runtime.network.manager import NetworkManager

PAUSES = (0.01, 0.5)  # seconds between two looks whether it listens: the first, and the longest
SETTLING = 0.01  # seconds in which a packet that was on its way when the ports were swung over has arrived
SILENT = 1.0  # seconds after which a connection that waits for no answer is not waited for
LOOKS = 0.05  # seconds between two looks at the connections of a container that leaves


class Serving:
    """Marks containers as ready or leaving, behind their ports and under their names."""

    def __init__(self, manager: NetworkManager, names: Names) -> None:
        self.manager, self.names = manager, names

    def begin(self, live: Live) -> bool:
        """Whether a container that is about to run takes connections from the start."""
        live.leaving = False
        if live.probe is not None:
            return False
        ports = live.config.get("ports") or []
        return not tcp_targets(ports) or not self.manager.is_shared(live.id, ports)

    def await_listening(self, live: Live) -> None:
        """Lets a container in behind its ports once it listens on them; returns at once, and gives up at its end."""
        threading.Thread(target=self._await_listening, args=(live,), daemon=True).start()

    def _await_listening(self, live: Live) -> None:
        if not live.wait_until(lambda: live.pid or not live.launching):
            return
        pid, pause, wanted = live.pid, PAUSES[0], tcp_targets(live.config.get("ports") or [])
        while pid and not wanted & connections.listening(pid):
            if live.wait_until(lambda: live.pid != pid, pause):
                return
            pause = min(pause * 1.5, PAUSES[1])
        if pid:
            self.mark(live, ready=True)

    def mark(self, live: Live, *, ready: bool) -> None:
        """Says whether a container that runs is well."""
        if live.pid:
            self._mark(live, ready=ready)

    def leave(self, live: Live) -> None:
        """Lets no new connection come to a container that is about to be stopped, where others can have it."""
        if not live.leaving:
            live.leaving = True
            self._mark(live, ready=False)

    def _mark(self, live: Live, *, ready: bool) -> None:
        self.names.set_aside(live.id, not ready or live.leaving)
        try:
            self.manager.mark(live.id, ready=ready and not live.leaving, leaving=live.leaving)
        except EngineError as error:
            # A container must be stopped, and its health be known, whatever is wrong with the packet filter.
            print(f"container {live.name}: its ports could not be swung over: {error}", file=sys.stderr)

    def drain(self, live: Live, timeout: float) -> bool:
        """Has a container leave, and waits until what was under way is done; False when it was not in time.

        timeout: seconds
        """
        pid = live.pid
        if not pid:
            return True
        self.leave(live)
        if live.config.get("network_mode") or not live.container["networks"]:
            return True
        until = time.monotonic() + timeout
        if live.wait_until(lambda: live.pid != pid, SETTLING):
            return True
        while connections.busy(pid, SILENT):
            left = until - time.monotonic()
            if left <= 0:
                return False
            if live.wait_until(lambda: live.pid != pid, min(LOOKS, left)):
                return True
        return True


def tcp_targets(ports: list[PortBinding]) -> set[int]:
    """The container's ports that connections to its published ones lead to. Pure."""
    return {port["target"] for port in ports if port["protocol"] == "tcp"}
