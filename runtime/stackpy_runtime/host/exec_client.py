"""The client side of `exec`: our standard streams and terminal, joined to a process that the keeper has forked.

No byte of it passes through the supervisor: pipes, or the terminal's controlling side, are ours.
"""

from __future__ import annotations

# `signal`, `socket` and `json` cost a quarter of a `run` to import; what their names stand for is in these.
import _signal  # type: ignore[import-not-found]
import _socket
import os
import select
import struct

from stackpy_runtime.errors import EngineError, EngineLost, EngineUnavailable, ProcessFailed, from_wire
from stackpy_runtime.host.streams import CHUNK, open_pipe, write_all

CANNOT_EXECUTE = 126

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.host.detaching import Keys
    from stackpy_runtime.host.terminals import Wakeup
    from stackpy_runtime.host.wire import Connection


def execute(client: Client, arguments: dict[str, Any], keys: bytes = b"") -> int | None:
    """Runs a process in a container on the caller's standard streams; returns its exit code.

    arguments: container, argv, stdin, tty, environment, working_dir, user, privileged, detach
    keys: typed on a terminal, they leave the process running

    With `detach` it returns once the process has begun; None when the caller has left it by its keys.
    """
    # By which the supervisor that comes after one that was killed knows it.
    arguments = {**arguments, "execution": os.urandom(8).hex()}
    if arguments.get("detach"):
        try:
            client.call("exec", arguments)
        except EngineLost:
            client.call("execution", {**_known(arguments), "begun": True})
        return 0
    tty, stdin = arguments["tty"], arguments["stdin"]
    if tty:
        from stackpy_runtime.host.detaching import Keys
        from stackpy_runtime.host.terminals import terminal_size

        arguments = {**arguments, "size": terminal_size()}
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    pipes: list[tuple[int, int]] = []
    try:
        given = [theirs.fileno()]
        if not tty:
            # Pipes of our own, so that no descriptor of the caller's (a file, a terminal) reaches the container.
            pipes = [open_pipe() for _ in range(3 if stdin else 2)]
            if stdin:
                given.append(pipes[0][0])
            given += [pipe[1] for pipe in pipes[-2:]]
        answer = _Answer(client, client.request("exec", arguments, tuple(given)), arguments)
        theirs.close()
        for descriptor in given[1:]:
            os.close(descriptor)
        try:
            if tty:
                return _exec_terminal(answer, ours, Keys(keys), stdin=stdin)
            feed = pipes[0][1] if stdin else -1
            outputs = {pipes[-2][0]: 1, pipes[-1][0]: 2}
            return _exec_pipes(answer, ours, feed, outputs)
        finally:
            answer.connection.close()
    finally:
        ours.close()


def _known(arguments: dict[str, Any]) -> dict[str, Any]:
    """What says of which process we speak."""
    return {name: arguments[name] for name in ("container", "execution", "tty")}


class _Answer:
    """The exit code, from the supervisor that has started the process or from one after it."""

    def __init__(self, client: Client, connection: Connection, arguments: dict[str, Any]) -> None:
        self.client, self.connection, self.arguments = client, connection, arguments

    def fileno(self) -> int:
        """What is readable when `take` need not wait."""
        return self.connection.fileno()

    def take(self) -> int | None:
        """The exit code; None where the next supervisor has to be waited for."""
        try:
            return int(self.client.result(self.connection)["exit_code"])
        except EngineLost:
            self._again()
            return None

    def wait(self) -> int:
        """The exit code, waited for."""
        while True:
            code = self.take()
            if code is not None:
                return code

    def leave(self, terminal: int) -> None:
        """Leaves the process to the engine, with its terminal, which somebody has to read."""
        try:
            self.connection.send({"keep": True}, (terminal,))
        except OSError:
            self._again()
            self.connection.send({"keep": True}, (terminal,))
        self.wait()

    def _again(self) -> None:
        self.connection.close()
        self.connection = self.client.request("execution", _known(self.arguments))


def _said(data: bytes) -> dict[str, Any]:
    """A message of the process, which speaks from inside the container: JSON, and nothing that could do more."""
    import json  # few processes say anything

    message: dict[str, Any] = json.loads(data)
    return message


def _failure(channel: Any) -> None:
    """Raises what the process reported before it could execute; returns at the end of the channel."""
    while data := channel.recv(65536):
        message = _said(data)
        if "error" in message:
            raise _refused(message["error"])


def _refused(error: dict[str, Any]) -> EngineError:
    """What kept a process from beginning: docker's exit code for it is 126, unless its program is not there."""
    raised = from_wire(error)
    if isinstance(raised, ProcessFailed):
        return raised
    return ProcessFailed(raised.message, exit_code=CANNOT_EXECUTE, hint=raised.hint, subject=raised.subject)


class _Feed:
    """Our standard input on its way into a pipe: a process that does not read holds nobody up who waits for output."""

    def __init__(self, poll: select.poll, target: int) -> None:
        self.poll, self.target = poll, target
        self.rest = b""
        if target >= 0:
            os.set_blocking(target, False)
            poll.register(0, select.POLLIN)

    def read(self) -> None:
        """Takes what is there; from then on the pipe is waited for."""
        self.rest = os.read(0, CHUNK)
        if not self.rest:
            self.close()
            return
        self.poll.unregister(0)
        self.poll.register(self.target, select.POLLOUT)

    def write(self) -> None:
        """Writes what the pipe has room for; when all is written, our input is waited for again."""
        try:
            self.rest = self.rest[os.write(self.target, self.rest) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.close()
            return
        if not self.rest:
            self.poll.unregister(self.target)
            self.poll.register(0, select.POLLIN)

    def close(self) -> None:
        """Ends the pipe."""
        if self.target >= 0:
            self.poll.unregister(self.target if self.rest else 0)
            os.close(self.target)
            self.target, self.rest = -1, b""


def _exec_pipes(answer: _Answer, channel: Any, target: int, outputs: dict[int, int]) -> int:
    poll = select.poll()
    for descriptor in outputs:
        poll.register(descriptor, select.POLLIN)
    feed = _Feed(poll, target)
    poll.register(answer.fileno(), select.POLLIN)
    code: int | None = None
    unknown: EngineUnavailable | None = None
    while outputs or (code is None and unknown is None):
        for descriptor, _ in poll.poll():
            if descriptor in outputs:
                data = os.read(descriptor, CHUNK)
                if data:
                    write_all(outputs[descriptor], data)
                else:
                    poll.unregister(descriptor)
                    os.close(descriptor)
                    del outputs[descriptor]
            elif descriptor == 0:
                feed.read()
            elif descriptor == feed.target:
                feed.write()
            elif descriptor == answer.fileno():
                poll.unregister(descriptor)
                try:
                    code = answer.take()
                except EngineUnavailable as error:
                    # It goes on without us, and what it writes comes; only how it ends nobody will know.
                    unknown = error
                    break
                except EngineError:
                    # What the process has said itself is nearer to the cause; what it wrote is here already.
                    _take_all(outputs)
                    _failure(channel)
                    raise
                if code is None:
                    poll.register(answer.fileno(), select.POLLIN)
                    break
                feed.close()
                # What the process has left running may hold the pipes open; what it wrote itself is in them already.
                _take_all(outputs)
                break
    _failure(channel)
    if code is None:
        raise unknown or EngineUnavailable("how it ended is not known")
    return code


def _take_all(outputs: dict[int, int]) -> None:
    """Writes what is in the pipes, and closes them."""
    for source, target in outputs.items():
        os.set_blocking(source, False)
        try:
            while data := os.read(source, CHUNK):
                write_all(target, data)
        except BlockingIOError:
            pass
        os.close(source)
    outputs.clear()


def _exec_terminal(answer: _Answer, channel: Any, keys: Keys, *, stdin: bool) -> int | None:
    import fcntl
    import termios

    from stackpy_runtime.host.terminals import RawTerminal, Signals, Wakeup, terminal_size

    master = -1
    while master < 0:
        data, ancillary, _, _ = channel.recvmsg(65536, _socket.CMSG_SPACE(16), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            return answer.wait()
        message = _said(data)
        if "error" in message:
            raise _refused(message["error"])
        if message.get("at") == "terminal":
            [master] = struct.unpack("i", ancillary[0][2][:4])

    def resize(*_: Any) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal_size(), 0, 0))

    with Wakeup() as wakeup, Signals({_signal.SIGWINCH: resize}), RawTerminal(stdin, resize):
        left = _on_terminal(master, keys, wakeup, stdin=stdin)
    if left:
        # It goes on, on a terminal that somebody has to read.
        answer.leave(master)
        os.close(master)
        return None
    os.close(master)
    _failure(channel)
    return answer.wait()


def _on_terminal(master: int, keys: Keys, wakeup: Wakeup, *, stdin: bool) -> bool:
    """Passes keys and output between our terminal and a process's until that hangs up; whether the caller left it."""
    watched = [master, wakeup.fileno(), *([0] if stdin else [])]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if wakeup.fileno() in readable:
            wakeup.seen()
        elif master in readable:
            try:
                data = os.read(master, CHUNK)
            except OSError:
                data = b""
            if not data:
                return False
            write_all(1, data)
        elif 0 in readable:
            try:
                data = os.read(0, CHUNK)
            except OSError:
                # Ours has hung up.
                data = b""
            if not data:
                write_all(master, b"\x04")
                watched.remove(0)
                continue
            passed, left = keys.feed(data)
            write_all(master, passed)
            if left:
                return True
