"""Networks that will be removed: their bridges go while the last containers on them are still ending.

The kernel takes 20 ms for a bridge, and the engine as long for the ends of ten containers: neither needs the other. So
a bridge goes as soon as nothing runs on it any more, which is when the last container was killed, or has ended.
"""

from __future__ import annotations

import threading
import time

from stackpy_runtime.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackpy_runtime.network.manager import NetworkManager
    from stackpy_runtime.store.store import Store

LINGER = 1.0  # seconds that a network namespace may outlive its container while its networks are being removed


class _Network:
    """begun: whether its bridge is about to go; lost: the containers of which nothing runs on

    holders: the containers that had addresses on it when the first of them was lost. Others come only after `stay`.
    """

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.holders: set[str] | None = None
        self.begun = False


class _Waiting:
    """What is done when networks are removed, and when it is at the latest."""

    def __init__(self, networks: set[str], then: Callable[[], None]) -> None:
        self.networks, self.then, self.until = networks, then, time.monotonic() + LINGER


class Leaving:
    """The networks whose removal was announced, by name. Safe from several threads."""

    def __init__(self, store: Store, manager: NetworkManager) -> None:
        self.store, self.manager = store, manager
        self.lock = threading.Lock()
        self.networks: dict[str, _Network] = {}
        self.waiting: list[_Waiting] = []

    def expect(self, names: Iterable[str]) -> None:
        """Announces that these networks will be removed."""
        with self.lock:
            for name in names:
                self.networks.setdefault(name, _Network())

    def stay(self, name: str) -> None:
        """A network that was removed, or that a container has come to since."""
        due = []
        with self.lock:
            self.networks.pop(name, None)
            for waiting in [each for each in self.waiting if name in each.networks]:
                waiting.networks.discard(name)
                if not waiting.networks:
                    self.waiting.remove(waiting)
                    due.append(waiting.then)
        for then in due:
            then()

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of these networks that will be removed."""
        with self.lock:
            return [name for name in names if name in self.networks]

    def lose(self, container: str, names: Iterable[str]) -> None:
        """Takes note that nothing of a container runs on, and returns; bridges that only such are on go meanwhile."""
        for name in self.among(names):
            if network := self._last(container, name):
                threading.Thread(target=self._take_away, args=(name, network), daemon=True).start()

    def end(self, container: str, names: Iterable[str], then: Callable[[], None]) -> None:
        """The same for a container that has ended; `then` is called when the networks are removed, or after a while."""
        self.lose(container, names)
        with self.lock:
            waiting = _Waiting({name for name in names if name in self.networks}, then)
            if waiting.networks:
                self.waiting.append(waiting)
                return
        then()

    def sweep(self) -> None:
        """Lets those go on who have waited for long enough; to be called now and then."""
        with self.lock:
            now = time.monotonic()
            due = [waiting for waiting in self.waiting if waiting.until <= now]
            self.waiting = [waiting for waiting in self.waiting if waiting.until > now]
        for waiting in due:
            waiting.then()

    def _last(self, container: str, name: str) -> _Network | None:
        """The network if this container was the last that ran on it: its bridge is then the caller's to take away."""
        with self.lock:
            network = self.networks.get(name)
            if network is None:
                return None
            network.lost.add(container)
            if network.begun or not network.lost.issuperset(network.holders or ()):
                return None
        try:
            holders = set(self.store.addresses(self.store.network(name)["id"]).values())
        except EngineError:
            return None  # its removal says what is wrong
        with self.lock:
            network.holders = holders
            if network.begun or not network.lost.issuperset(holders):
                return None
            network.begun = True
            return network

    def _take_away(self, name: str, network: _Network) -> None:
        with self.lock:
            lost = set(network.lost)
        try:
            # Not where another has come to it in this moment.
            network.begun = self.manager.empty(self.store.network(name), lost)
        except EngineError:
            pass  # its removal says what is wrong
