"""The client side of `run`, `start -a` and `attach`: our standard streams, terminal and signals, joined to a container.

The supervisor may be killed meanwhile: the container runs on, and so does this, where it was: the bytes of each stream
are counted, and the next supervisor is asked for what comes after them. Input goes from here into the container's pipe
or terminal without any process of ours between, so that none of it is lost with one.
"""

from __future__ import annotations

# `signal` and `json` cost a fifth of a `run` to import; what their names stand for is in this.
import _signal  # type: ignore[import-not-found]
import os
import select

from stackpy_runtime.errors import EngineError, EngineLost, EngineUnavailable, NotFound, ProcessFailed
from stackpy_runtime.host.client import subject
from stackpy_runtime.host.detaching import Keys
from stackpy_runtime.host.streams import write_all
from stackpy_runtime.host.terminals import RawTerminal, Signals, Wakeup, terminal_size
from stackpy_runtime.host.wire import MESSAGE, STDERR, STDIN, STDOUT, Closed, decoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.host.terminals import Handler
    from stackpy_runtime.host.wire import Connection

INPUT_CHUNK = 65536
# All that ask a process for something, the real-time ones too; not those that say what has become of a process.
PROXIED = (
    *(_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGALRM),
    *(_signal.SIGTERM, _signal.SIGIO, _signal.SIGPWR),
    *range(_signal.SIGRTMIN, _signal.SIGRTMAX + 1),
)
ENDING = (_signal.SIGINT, _signal.SIGTERM)
PATIENCE = 3  # of these, and whoever sends them wants to be let go, as docker's command line has it
INTERRUPTED = 130


class _Lost(Exception):
    """The supervisor has gone in the midst of it."""


class Attached:
    """The caller's side of a container's streams.

    stdin: whether our standard input is passed on, where the container takes any
    streams: which of "stdout" and "stderr" are written to ours
    proxy: whether signals go to the container, unless it has a terminal
    keys: typed on a terminal, they leave the container running
    """

    def __init__(
        self, client: Client, *, stdin: bool, streams: tuple[str, ...], proxy: bool = True, keys: bytes = b""
    ) -> None:
        self.client, self.stdin, self.streams, self.proxy, self.keys = client, stdin, streams, proxy, Keys(keys)
        self.connection: Connection
        self.container = ""
        self.tty = False
        self.offsets = [0, 0]  # of each stream, as far as it was written
        self.target = -1  # what input is written to; -1: none yet, or no more
        self.rest = b""  # of it, for which there has been no room
        self.ended = False  # our input; the supervisor is told when all of it is written
        self.asked = 0  # how often the caller was asked to end
        self.leaving = False  # by its keys, as soon as what was typed before them is written
        self.sending = False
        self.waiting: list[dict[str, Any]] = []  # messages for when the present frame is sent

    def begin(self, operation: str, arguments: dict[str, Any]) -> int | None:
        """Asks for `run`, `start` or `attach`; returns the exit code, or None when the caller has detached."""
        try:
            self._request(operation, arguments)
        except EngineLost:
            self._request_again(operation, arguments)
        try:
            handlers: dict[int, Handler] = {}
            if self.tty:
                handlers[_signal.SIGWINCH] = self._resize
            elif self.proxy:
                handlers = dict.fromkeys(PROXIED, self._pass_on)
            with Wakeup() as wakeup, Signals(handlers), RawTerminal(self.tty and self.stdin, self._resize):
                return self._exchange(wakeup)
        finally:
            self.connection.close()
            self._close_target()

    def _request(self, operation: str, arguments: dict[str, Any]) -> None:
        wishes = {"stdin": self.stdin, "streams": self.streams, "size": terminal_size()}
        self.connection = self.client.request(operation, {**arguments, "attach": wishes})
        try:
            try:
                answer, _ = self.connection.receive()
            except (Closed, ConnectionError) as error:
                raise EngineLost(
                    f"the engine went away: {error or 'connection closed'} during `{operation}`",
                    subject=subject(operation, arguments),
                    hint="running it again is safe",
                ) from None
            if "attached" not in answer:
                self.client.unwrap(answer)
            said = answer["attached"]
        except BaseException:
            self.connection.close()
            raise
        self.container, self.tty, self.offsets = said["container"], said["tty"], list(said["offsets"])
        self.stdin = self.stdin and said["stdin"]

    def _request_again(self, operation: str, arguments: dict[str, Any]) -> None:
        """Asks the next supervisor for what the one before may have done, or half done."""
        if operation == "run":
            try:
                # Where it is made already it is started, unless it was.
                self._request("attach", {"container": arguments["identity"], "offsets": [0, 0]})
                return
            except NotFound:
                pass
        self._request(operation, arguments)

    def _pass_on(self, number: int, _: Any) -> None:
        self.asked += number in ENDING
        self._tell({"signal": int(number)})

    def _resize(self, *_: Any) -> None:
        self._tell({"resize": terminal_size()})

    def _tell(self, message: dict[str, Any]) -> None:
        """Called by handlers: what interrupts the sending of a frame must not send into it."""
        self.waiting.append(message)
        if not self.sending:
            self._send_waiting()

    def _send_waiting(self) -> None:
        self.sending = True
        try:
            while self.waiting:
                self.connection.send(self.waiting[0])
                self.waiting.pop(0)
        except OSError:
            # The supervisor has gone, which whoever waits for it sees as well: the next one is told.
            pass
        finally:
            self.sending = False

    def _exchange(self, wakeup: Wakeup) -> int | None:
        while True:
            try:
                return self._pass(wakeup)
            except _Lost:
                self.connection.close()
                self._resume()

    def _resume(self) -> None:
        """Goes on with the supervisor that has come after the one that is gone."""
        try:
            self._request("attach", {"container": self.container, "offsets": self.offsets})
        except NotFound:
            raise EngineUnavailable(
                "the container has ended and was removed while the engine was away: its exit code is not known"
            ) from None
        except EngineError as error:
            raise EngineUnavailable(f"the engine went away: {error}", hint=error.hint) from None

    def _pass(self, wakeup: Wakeup) -> int | None:
        """Passes input on and writes output until the answer comes."""
        self._send_waiting()
        if self.ended and not self.rest:
            # Whoever was told may not have heard of it.
            self._send_end()
        line = self.connection.fileno()
        while True:
            poll = select.poll()
            poll.register(line, select.POLLIN)
            poll.register(wakeup.fileno(), select.POLLIN)
            if self.rest and self.target >= 0:
                # Not before there is room for it is more read: waiting to write would keep output waiting.
                poll.register(self.target, select.POLLOUT)
            elif self.stdin and self.target >= 0 and not self.ended:
                poll.register(0, select.POLLIN)
            ready = dict(poll.poll())
            if wakeup.fileno() in ready:
                wakeup.seen()
            if self.asked >= PATIENCE:
                raise ProcessFailed(
                    f"it runs on: {self.asked} signals have not ended it",
                    subject=f"container {self.container[:12]}",
                    exit_code=INTERRUPTED,
                    hint=f"`stackpy kill {self.container[:12]}` ends it; with `--init` it would take the signals",
                )
            if 0 in ready:
                self._read_input()
            elif self.target in ready:
                self._write_input()
            if self.leaving and not self.rest:
                return None
            if line in ready and (code := self._hear()) is not None:
                return code

    def _hear(self) -> int | None:
        """Takes what the supervisor has sent; the exit code, when it is that."""
        kind, payload, descriptors = self._receive()
        if kind in (STDOUT, STDERR):
            index = int(kind == STDERR)
            write_all(1 + index, payload)
            self.offsets[index] += len(payload)
        elif kind == MESSAGE:
            message = decoded(payload)
            if "input" not in message:
                return int(self.client.unwrap(message)["exit_code"])
            self._close_target()
            [self.target] = descriptors
            if not self.stdin or (self.ended and not self.tty):
                # Whoever keeps it open keeps the container from seeing the end.
                self._close_target()
        return None

    def _read_input(self) -> None:
        data, self.leaving = self._typed()
        if data:
            self.rest = data
            self._write_input()
        elif data == b"":
            self.ended = True
            self._send_end()

    def _write_input(self) -> None:
        """Writes what there is room for."""
        try:
            self.rest = self.rest[os.write(self.target, self.rest) :]
        except BlockingIOError:
            pass
        except OSError:
            # Nobody reads it any more.
            self.rest = b""
            self.stdin = False
            self._close_target()

    def _send_end(self) -> None:
        """Says that there will be no more input."""
        if not self.tty:
            self._close_target()
        self._send(b"")

    def _close_target(self) -> None:
        if self.target >= 0:
            os.close(self.target)
            self.target = -1

    def _typed(self) -> tuple[bytes | None, bool]:
        """Input to pass on, b"" at its end and None where there is none yet; and whether it said to detach."""
        try:
            data = os.read(0, INPUT_CHUNK)
        except OSError:
            # The terminal has hung up.
            data = b""
        if not data or not self.tty:
            return data, False
        passed, detached = self.keys.feed(data)
        return passed or None, detached

    def _send(self, data: bytes) -> None:
        self.sending = True
        try:
            self.connection.send_raw(STDIN, data)
        except OSError:
            raise _Lost from None
        finally:
            self.sending = False
        self._send_waiting()

    def _receive(self) -> tuple[bytes, bytes, list[int]]:
        try:
            return self.connection.receive_raw()
        except (Closed, OSError):
            raise _Lost from None
