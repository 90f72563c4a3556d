"""A client of the supervisor, which it starts when there is none. On the way of every `run`: imports little."""

from __future__ import annotations

import os
import time

from stackpy_runtime.errors import Denied, EngineUnavailable, from_wire
from stackpy_runtime.host.wire import Closed, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRIES = 5


class Client:
    """Calls operations of the engine at `root`, one connection a call: safe to use from several threads."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.path = f"{root}/run/supervisor.sock"

    def call(self, operation: str, arguments: dict[str, Any] | None = None, descriptors: tuple[int, ...] = ()) -> Any:
        """The operation's result; raises the EngineError that it ended with."""
        connection = self.request(operation, arguments, descriptors)
        try:
            return self.result(connection)
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
                    connection.send({"op": operation, "args": arguments or {}}, descriptors)
                    greeting, _ = connection.receive()
                    if "error" in greeting:
                        raise from_wire(greeting["error"])
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

    def result(self, connection: Connection) -> Any:
        """The answer to a request."""
        try:
            answer, _ = connection.receive()
        except (Closed, ConnectionError) as error:
            raise EngineUnavailable(
                f"the engine went away: {error or 'connection closed'}", hint=self._hint()
            ) from None
        return self.unwrap(answer)

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
