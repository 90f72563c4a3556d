"""A client of the supervisor, which it starts when there is none. On the way of every `run`: imports little."""

from __future__ import annotations

import _socket
import os
import struct
import time

from stackpy_runtime.errors import Denied, EngineLost, EngineUnavailable, from_wire
from stackpy_runtime.host.wire import Closed, Connection
from stackpy_runtime.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

TRIES = 5
SILENCE = 5  # seconds until it is said that the engine does not answer: it greets before it begins anything
# They change nothing, or nothing that is in the way of whoever comes next, and some go on for as long as a container.
PASSIVE = frozenset(("ping", "expect", "wait", "await", "drain"))


def subject(operation: str, arguments: dict[str, Any]) -> str:
    """What a request is about, for messages: `container web`."""
    if name := arguments.get("container"):
        return f"container {name}"
    kind = operation.partition("_")[2] or "container"
    name = arguments.get("name") or (arguments.get("config") or {}).get("name")
    return f"{kind} {name}" if name else ""


class Client:
    """Calls operations of the engine at `root`, one connection a call: safe to use from several threads.

    locks: descriptors that travel with each call that changes something. The supervisor closes them before it answers;
    so a flock on them is held until all that was asked for under it is done, even if whoever has asked is killed.
    waiting: told once, in words, when the supervisor does not come up: the keeper tries again and again
    """

    def __init__(
        self, root: str, locks: Sequence[int] = (), waiting: Callable[[str], None] = lambda text: None
    ) -> None:
        self.root, self.locks, self.waiting = root, locks, waiting
        self.path = f"{root}/run/supervisor.sock"

    def call(self, operation: str, arguments: dict[str, Any] | None = None) -> Any:
        """The operation's result; raises the EngineError that it ended with."""
        connection = self.request(operation, arguments, () if operation in PASSIVE else tuple(self.locks))
        try:
            return self.result(connection)
        except EngineUnavailable as error:
            error.message += f" during `{operation.replace('_', ' ')}`"
            error.subject = error.subject or subject(operation, arguments or {})
            raise
        finally:
            connection.close()

    def request(
        self, operation: str, arguments: dict[str, Any] | None = None, descriptors: tuple[int, ...] = ()
    ) -> Connection:
        """Sends a request; the answer is read from the connection returned."""
        for attempt in range(TRIES):
            try:
                connection = self._connect()
                try:
                    connection.send({"op": operation, "args": arguments or {}, "version": VERSION}, descriptors)
                    self._await(connection)
                    greeting, given = connection.receive()
                    if "error" in greeting:
                        raise from_wire(greeting["error"])
                    if "retired" in greeting:
                        names = list(greeting["retired"])
                        for _ in range(greeting.get("more", 0)):
                            message, more = connection.receive()
                            names += message["retired"]
                            given += more
                        connection.close()
                        self._succeed(names, given).close()
                        return self.request(operation, arguments, descriptors)
                except BaseException:
                    connection.close()
                    raise
                return connection
            except (Closed, ConnectionError, BrokenPipeError) as error:
                # It left in this moment, before it saw the request: another is started.
                if attempt == TRIES - 1:
                    raise EngineUnavailable(f"the engine does not answer: {error}", hint=self._hint()) from None
                time.sleep(0.02 * attempt)
        raise AssertionError("unreachable")

    def _await(self, connection: Connection) -> None:
        """Returns when an answer begins; says once that there is none for long. Takes nothing of it."""
        held = connection.socket
        held.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, struct.pack("@ll", SILENCE, 0))
        try:
            held.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:  # EAGAIN: socket(7), SO_RCVTIMEO
            say, self.waiting = self.waiting, lambda text: None
            say(f"waiting for the engine, which does not answer; {self.root}/run/engine.log may tell why")
        finally:
            held.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, struct.pack("@ll", 0, 0))

    def result(self, connection: Connection) -> Any:
        """The answer to a request."""
        try:
            answer, _ = connection.receive()
        except (Closed, ConnectionError) as error:
            raise EngineLost(f"the engine went away: {str(error) or 'connection closed'}", hint=self._hint()) from None
        return self.unwrap(answer)

    def await_leaving(self, timeout: float = 10.0) -> None:
        """Waits until nobody serves this root any more."""
        end = time.monotonic() + timeout
        # Not by asking: whoever is asked stays.
        while time.monotonic() < end and os.path.exists(self.path):
            time.sleep(0.05)

    def unwrap(self, answer: dict[str, Any]) -> Any:
        """The result in an answer, or its error raised."""
        if "error" in answer:
            raise from_wire(answer["error"])
        return answer["ok"]

    def _hint(self) -> str:
        return f"see {self.root}/run/engine.log; running it again is safe"

    def _connect(self) -> Connection:
        try:
            return Connection.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            return self._start()
        except PermissionError:
            raise Denied("no right to use the engine", hint="run it with sudo") from None

    def _succeed(self, names: list[str], given: list[int]) -> Connection:
        """Starts processes of our version in the place of some of another that have left.

        given: the launch lock, and what the new keeper is to hold, by its names
        """
        from stackpy_runtime.host import launch

        lock, *held = given
        try:
            listener = launch.listen(self.path)
            try:
                launch.start(self.root, listener, dict(zip(names, held, strict=True)))
            finally:
                os.close(listener)
            return Connection.connect(self.path)
        finally:
            for descriptor in (lock, *held):
                os.close(descriptor)

    def _start(self) -> Connection:
        """Starts the engine's processes, unless somebody else does at the same time."""
        if os.geteuid():
            raise Denied("the engine needs root to make namespaces and mounts", hint="run it with sudo")
        import fcntl

        from stackpy_runtime.host import launch
        from stackpy_runtime.store.root import Root

        Root(self.root).create()
        lock = os.open(f"{self.root}/run/launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return Connection.connect(self.path)
            except (FileNotFoundError, ConnectionRefusedError):
                listener = launch.listen(self.path)
                try:
                    launch.start(self.root, listener)
                finally:
                    os.close(listener)
                return Connection.connect(self.path)
        finally:
            os.close(lock)
