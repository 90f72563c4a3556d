"""The client side of `run` and `exec`: standard streams, terminal and signals, joined to a container's process."""

from __future__ import annotations

# `signal`, `socket` and `json` cost a quarter of a `run` to import; what their names stand for is in these.
import _signal  # type: ignore[import-not-found]
import _socket
import os
import select
import struct

from stackpy_runtime.errors import EngineError, from_wire
from stackpy_runtime.host.wire import MESSAGE, STDERR, STDIN, STDOUT, decoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.host.wire import Connection

    Handler = Callable[[int, Any], None]

CHUNK = 65536
INPUT_CHUNK = 16384
PROXIED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2)


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def open_pipe() -> tuple[int, int]:
    """A pipe that a process of any user may open again as /dev/stdout: only who may look into its /proc/PID/fd can."""
    ends = os.pipe2(os.O_CLOEXEC)
    os.fchmod(ends[0], 0o666)
    return ends


def terminal_size() -> tuple[int, int]:
    """Rows and columns of the caller's terminal; (24, 80) when it has none."""
    try:
        size = os.get_terminal_size(0)
    except OSError:
        return (24, 80)
    return (size.lines, size.columns)


class RawTerminal:
    """While it is entered, and `wanted`, the caller's terminal passes every key on; it is as before afterwards."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted and os.isatty(0)

    def __enter__(self) -> None:
        if self.wanted:
            import termios
            import tty

            self.before = termios.tcgetattr(0)
            # what was typed ahead stays: the default would throw it away
            tty.setraw(0, termios.TCSANOW)

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self.before)


class Signals:
    """Handles signals while it is entered."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        self.handlers = handlers

    def __enter__(self) -> None:
        try:
            self.before = {number: _signal.signal(number, handler) for number, handler in self.handlers.items()}
        except ValueError:
            # Only a process's main thread may; a shell in a build's step is held by another, and its size stays.
            self.before = {}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            _signal.signal(number, handler)


def run(client: Client, config: dict[str, Any]) -> int:
    """Runs a container attached to the caller's standard streams; returns its exit code."""
    tty, stdin = config.get("tty", False), config.get("stdin_open", False)
    size = terminal_size() if tty else None
    connection = client.request("run", {"config": config, "size": size})
    try:

        def pass_on(number: int, _: Any) -> None:
            connection.send({"signal": int(number)})

        def resize(*_: Any) -> None:
            connection.send({"resize": terminal_size()})

        handlers: dict[int, Handler] = {}
        if tty:
            handlers[_signal.SIGWINCH] = resize
        else:
            handlers = dict.fromkeys(PROXIED, pass_on)
        with Signals(handlers), RawTerminal(tty and stdin):
            return int(_exchange(client, connection, stdin=stdin)["exit_code"])
    finally:
        connection.close()


def _exchange(client: Client, connection: Connection, *, stdin: bool) -> dict[str, Any]:
    """Passes input on and writes output until the answer comes."""
    line = connection.fileno()
    poll = select.poll()
    poll.register(line, select.POLLIN)
    if stdin:
        poll.register(0, select.POLLIN)
    while True:
        if stdin:
            ready = dict(poll.poll())
            if ready.get(line, 0) & select.POLLOUT:
                # Room again for a chunk: a writable socket has most of its buffer free (unix_writable, af_unix.c).
                poll.modify(line, select.POLLIN)
                poll.register(0, select.POLLIN)
            if 0 in ready:
                data = os.read(0, INPUT_CHUNK)
                connection.send_raw(STDIN, data)
                poll.unregister(0)
                if data:
                    # Not before there is room for it is more read: waiting to send would keep output waiting.
                    poll.modify(line, select.POLLIN | select.POLLOUT)
            if not ready.get(line, 0) & ~select.POLLOUT:
                continue
        kind, payload, _ = connection.receive_raw()
        if kind == STDOUT:
            write_all(1, payload)
        elif kind == STDERR:
            write_all(2, payload)
        elif kind == MESSAGE:
            result: dict[str, Any] = client.unwrap(decoded(payload))
            return result


def execute(client: Client, arguments: dict[str, Any]) -> int:
    """Runs a process in a container on the caller's standard streams; returns its exit code.

    arguments: container, argv, stdin, tty, environment, working_dir, user.
    """
    tty, stdin = arguments["tty"], arguments["stdin"]
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
        connection = client.request("exec", arguments, tuple(given))
        theirs.close()
        for descriptor in given[1:]:
            os.close(descriptor)
        try:
            if tty:
                return _exec_terminal(client, connection, ours, stdin=stdin)
            feed = pipes[0][1] if stdin else -1
            outputs = {pipes[-2][0]: 1, pipes[-1][0]: 2}
            return _exec_pipes(client, connection, ours, feed, outputs)
        finally:
            connection.close()
    finally:
        ours.close()


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
            raise from_wire(message["error"])


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


def _exec_pipes(client: Client, connection: Connection, channel: Any, target: int, outputs: dict[int, int]) -> int:
    poll = select.poll()
    for descriptor in outputs:
        poll.register(descriptor, select.POLLIN)
    feed = _Feed(poll, target)
    poll.register(connection.fileno(), select.POLLIN)
    answer: dict[str, Any] | None = None
    while outputs or answer is None:
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
            elif descriptor == connection.fileno():
                poll.unregister(descriptor)
                try:
                    answer = client.result(connection)
                except EngineError:
                    # What the process has said itself is nearer to the cause.
                    _failure(channel)
                    raise
                feed.close()
                # What the process has left running may hold the pipes open; what it wrote itself is in them already.
                for open_still in list(outputs):
                    os.set_blocking(open_still, False)
                    _drain(open_still, outputs[open_still])
                    os.close(open_still)
                outputs.clear()
                break
    _failure(channel)
    return int(answer["exit_code"])


def _drain(source: int, target: int) -> None:
    try:
        while data := os.read(source, CHUNK):
            write_all(target, data)
    except BlockingIOError:
        pass


def _exec_terminal(client: Client, connection: Connection, channel: Any, *, stdin: bool) -> int:
    import fcntl
    import termios

    master = -1
    while master < 0:
        data, ancillary, _, _ = channel.recvmsg(65536, _socket.CMSG_SPACE(16), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            return int(client.result(connection)["exit_code"])
        message = _said(data)
        if "error" in message:
            raise from_wire(message["error"])
        if message.get("at") == "terminal":
            [master] = struct.unpack("i", ancillary[0][2][:4])

    def resize(*_: Any) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal_size(), 0, 0))

    resize()
    with Signals({_signal.SIGWINCH: resize}), RawTerminal(stdin):
        watched = [master, *([0] if stdin else [])]
        while True:
            readable, _, _ = select.select(watched, [], [])
            if master in readable:
                try:
                    data = os.read(master, CHUNK)
                except OSError:
                    data = b""
                if not data:
                    break
                write_all(1, data)
            elif 0 in readable:
                data = os.read(0, CHUNK)
                if data:
                    write_all(master, data)
                else:
                    write_all(master, b"\x04")
                    watched.remove(0)
    os.close(master)
    _failure(channel)
    return int(client.result(connection)["exit_code"])
