"""Faults in the engine's own processes, one at a time: the N-th call that changes something fails or kills.

`Faults.installed` has keepers and supervisors that are started from this process import this module first, which wraps
the calls: those of `os`, of the C library, of netlink and of the index. A block of shared memory says which call of
which process is to fail and how; forks of the keeper share it, so that the stages of a sandbox are reached too. Nothing
of it is in the engine. (strace counts its `when=N` for each process, not for all of them.)
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLOCK = struct.Struct("<iiiii64s")  # armed, calls left, what is done, role, fired, which call it was
ROLES = {"supervisor": 1, "keeper": 2, "stage": 4}
KILL = -signal.SIGKILL
HERE = Path(__file__).parent

_memory: mmap.mmap | None = None
_role = 0

# What changes the state of the host, the disk or the process; opening, since it may take the last descriptor.
_CALLS = (
    "mkdir rmdir rename unlink open write pwrite mkfifo mknod fork pipe2 dup dup2 chmod fchmod chown fchown ftruncate "
    "memfd_create pidfd_open splice symlink link setgroups setresuid setresgid setsid chdir fchdir kill"
).split()
_LIBRARY = "mount umount2 unshare setns syscall capset prctl renameat2 setdomainname syncfs".split()


def _check(name: str) -> int:
    """Counts a call; returns the errno with which it is to fail, or 0."""
    memory = _memory
    if memory is None:
        return 0
    armed, left, action, roles, fired, _ = BLOCK.unpack_from(memory)
    if not armed or not roles & _role:
        return 0
    if action == errno.EINTR and not name.startswith("libc."):
        return 0  # Python itself calls again (PEP 475)
    if left > 1:
        struct.pack_into("<i", memory, 4, left - 1)
        return 0
    BLOCK.pack_into(memory, 0, 0, 0, action, roles, fired + 1, name.encode()[:64])
    if action == KILL:
        _kill(os.getpid(), signal.SIGKILL)
        os._exit(128 + signal.SIGKILL)  # PID 1 of a namespace cannot kill itself
    return int(action)


_kill = os.kill


def _wrapped(name: str, call: Any) -> Any:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        if code := _check(name):
            raise OSError(code, os.strerror(code), *[a for a in arguments[:1] if isinstance(a, str)])
        result = call(*arguments, **named)
        if name == "fork" and result == 0:
            global _role
            _role = ROLES["stage"]
        return result

    return wrapper


class _Library:
    """The C library with calls that fail as the kernel has them fail: -1 and errno."""

    def __init__(self, real: Any) -> None:
        self.__dict__["real"] = real

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        if name not in _LIBRARY:
            return found

        def call(*arguments: Any) -> Any:
            if code := _check(f"libc.{name}"):
                import ctypes

                ctypes.set_errno(code)
                return -1
            return found(*arguments)

        return call


def arm_process(path: str, role: str) -> None:
    """In a process of the engine, before it imports anything of its own."""
    global _memory, _role
    _role = ROLES[role]
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    _memory = mmap.mmap(descriptor, BLOCK.size)
    os.close(descriptor)
    import builtins
    import io

    from stackpy_runtime.linux import libc

    libc.libc = _Library(libc.libc)  # type: ignore[assignment]
    if role == "supervisor":
        from stackpy_runtime.linux import netlink, nfnetlink
        from stackpy_runtime.store import database

        netlink.Netlink.send = _wrapped("netlink", netlink.Netlink.send)  # type: ignore[method-assign]
        nfnetlink.transact = _wrapped("nftables", nfnetlink.transact)
        import _sqlite3

        transaction = database.Database.transaction

        def faulty(self: Any, work: Any) -> Any:
            def inner(connection: Any) -> Any:
                result = work(connection)
                if code := _check("sqlite commit"):
                    raise _sqlite3.OperationalError(os.strerror(code).lower())
                return result

            return transaction(self, inner)

        database.Database.transaction = faulty  # type: ignore[method-assign, assignment]
    opened = builtins.open

    def open_(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if not isinstance(file, int) and (code := _check("open")):
            raise OSError(code, os.strerror(code), str(file))
        return opened(file, mode, *arguments, **named)

    builtins.open = io.open = open_  # type: ignore[assignment]
    for name in _CALLS:
        setattr(os, name, _wrapped(name, getattr(os, name)))


class Faults:
    """The test's side."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(BLOCK.size))
        self.path = path
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), BLOCK.size)

    def arm(self, number: int, action: int, role: str) -> None:
        """The `number`-th call of `role` from now on fails with errno `action`, or kills its process (KILL)."""
        BLOCK.pack_into(self.memory, 0, 1, number, action, ROLES[role], 0, b"")

    def disarm(self) -> str:
        """Nothing fails any more; the call that did, or ""."""
        *_, fired, which = BLOCK.unpack_from(self.memory)
        struct.pack_into("<i", self.memory, 0, 0)
        return which.rstrip(b"\0").decode() if fired else ""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Processes of the engine that are started meanwhile are armed."""
        from stackpy_runtime.host import launch

        before = launch.KEEPER, launch.SUPERVISOR
        top = HERE.parent

        def armed(code: str, role: str) -> str:
            importing = f"sys.path.insert(0, {str(top)!r}); from tests import faults; "
            path, rest = code.split("; ", 2)[:2], code.split("; ", 2)[2]
            return "; ".join(path) + f"; {importing}faults.arm_process({str(self.path)!r}, {role!r}); {rest}"

        launch.KEEPER, launch.SUPERVISOR = armed(before[0], "keeper"), armed(before[1], "supervisor")
        try:
            yield
        finally:
            launch.KEEPER, launch.SUPERVISOR = before


ERRORS = (errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EIO)

if __name__ == "__main__":
    sys.exit("a module of the tests")
