"""The supervisor's line to the keeper: what to fork and to hold, and what has happened to it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import Any

from stackpy_runtime.errors import EngineUnavailable
from stackpy_runtime.host.wire import Closed, Connection

Event = Callable[[dict[str, Any], list[int]], None]


def hung_up(descriptor: int) -> bool:
    """Whether nobody has the other side of a socket any more."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(happened & select.POLLHUP for _, happened in poll.poll(0))


class KeeperLink:
    """Sends from any thread; `serve` is called where the supervisor's loop sees that something has come."""

    def __init__(self, descriptor: int, on_event: Event) -> None:
        self.connection = Connection(descriptor)
        self.on_event = on_event
        self.sending = threading.Lock()

    def fileno(self) -> int:
        """The line's descriptor."""
        return self.connection.fileno()

    def is_gone(self) -> bool:
        """Whether the keeper has died: the loop is about to make room for the next pair of processes."""
        return hung_up(self.connection.fileno())

    def send(self, message: dict[str, Any], descriptors: list[int] | tuple[int, ...] = ()) -> None:
        """Sends one message; descriptors stay the caller's."""
        with self.sending:
            try:
                self.connection.send(message, descriptors)
            except OSError as error:
                raise EngineUnavailable(f"the keeper does not answer: {error}") from None

    def spawn(
        self, kind: str, reference: str, plan: Any, channel: int, stdin: int, streams: list[int], of: str = ""
    ) -> None:
        """Has a container (kind `container`) or a process in one (`exec`) forked.

        stdin: -1: none; of: what the next supervisor is to know of a process of `exec`, and its end is kept for it
        """
        descriptors = [channel, *([stdin] if stdin >= 0 else []), *streams]
        message = {"op": "spawn", "kind": kind, "ref": reference, "plan": plan, "stdin": stdin >= 0, "of": of}
        self.send(message, descriptors)

    def assign(self, token: str, reference: str, of: str = "") -> None:
        """Names a process that stands by after the container or the execution that it is about to be."""
        self.send({"op": "assign", "token": token, "ref": reference, "of": of})

    def hold(self, name: str, descriptors: list[int]) -> None:
        """Has descriptors kept for as long as the keeper lives."""
        self.send({"op": "hold", "name": name}, descriptors)

    def release(self, name: str) -> None:
        """Has held descriptors closed."""
        self.send({"op": "release", "name": name})

    def told(self, reference: str) -> None:
        """Nobody needs to know any more how a process of `exec` has ended."""
        self.send({"op": "told", "ref": reference})

    def inventory(self) -> tuple[dict[str, list[int]], list[dict[str, Any]]]:
        """What the keeper holds by name, and its children; called once, before the loop runs.

        A child with a `code` has ended: one of `exec` whose end nobody may have heard.
        """
        self.send({"op": "list"})
        held: dict[str, list[int]] = {}
        children: list[dict[str, Any]] = []
        while True:
            message, descriptors = self.connection.receive()
            if message["event"] == "held":
                held[message["name"]] = descriptors
            elif message["event"] in ("child", "end"):
                children.append(message)
            elif message["event"] == "listed":
                return held, children
            else:
                self.on_event(message, descriptors)

    def serve(self) -> bool:
        """Reads one event; False when the keeper has gone."""
        try:
            message, descriptors = self.connection.receive()
        except (Closed, OSError):
            return False
        self.on_event(message, descriptors)
        return True
