"""Starts the keeper, which starts the supervisor."""

from __future__ import annotations

import _socket
import marshal
import os
import sys

from stackpy_runtime.host.wire import addressed

# Above what the kernel allows (fs.nr_open); processes.py has it too, but loads ctypes, which a start has no need of.
MOST_DESCRIPTORS = 1 << 30

_PATH = "import sys; sys.path[:0] = {path!r}; "
KEEPER = _PATH + "from stackpy_runtime.host import keeper; keeper.main({root!r}, {listener}, {command!r}, {held!r})"
SUPERVISOR = _PATH + "from stackpy_runtime.host import supervisor; supervisor.main({root!r})"


def interpreter(code: str) -> list[str]:
    """The command line of a process of ours that runs `code`."""
    # Isolated and without `site`: what the caller's environment and folder hold must not reach the engine, and a start
    # costs half as much. The path is given instead, and where compiled modules go: not as root into a user's checkout.
    prefix = sys.pycache_prefix
    return [sys.executable, "-I", "-S", *(["-X", f"pycache_prefix={prefix}"] if prefix else []), "-c", code]


def commands(root: str, listener: int, held: int) -> list[str]:
    """The keeper's command line, which holds the supervisor's.

    held: descriptor of a memory file that says what it is to hold; -1: nothing
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    site = [path for path in sys.path if path.endswith("-packages")]
    path = [package, *[other for other in site if other != package]]
    supervisor = interpreter(SUPERVISOR.format(path=path, root=root))
    return interpreter(KEEPER.format(path=path, root=root, listener=listener, command=supervisor, held=held))


def start(root: str, listener: int, held: dict[str, int] | None = None) -> None:
    """Starts a keeper that inherits the listening socket `listener`; returns at once.

    held: descriptors that it is to hold from the beginning, by name; of several for one name each ends in `#…`
    """
    held = held or {}
    memory = -1
    if held:
        # Not on its command line, which has no room for those of a thousand containers.
        memory = os.memfd_create("held", os.MFD_CLOEXEC)
        os.write(memory, marshal.dumps(held))
        os.lseek(memory, 0, os.SEEK_SET)
    os.makedirs(f"{root}/run/io", mode=0o711, exist_ok=True)
    os.makedirs(f"{root}/run/mnt", mode=0o711, exist_ok=True)
    command = commands(root, listener, memory)
    pid = os.fork()
    if pid:
        if memory >= 0:
            os.close(memory)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            # Whoever started this command ignores SIGCHLD, and so do we: it has ended all the same.
            pass
        return
    try:
        # Twice, and in a session of its own: nobody's terminal, and nobody but init is its parent.
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(f"{root}/run/engine.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        first = 3
        for descriptor in sorted({listener, *held.values(), *([memory] if held else [])}):
            os.set_inheritable(descriptor, True)
            os.closerange(first, descriptor)
            first = descriptor + 1
        os.closerange(first, MOST_DESCRIPTORS)
        os.execve(command[0], command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"})
    finally:
        os._exit(127)


def listen(path: str) -> int:
    """A new listening socket at `path`, for root alone; the caller holds the launch lock."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    addressed(path, listener.bind)
    os.chmod(path, 0o600)
    listener.listen(512)
    return listener.detach()
