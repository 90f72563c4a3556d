"""Faults in the engine's own processes, one at a time: the N-th call that changes something fails or kills.

`Faults.installed` has keepers and supervisors that are started from this process import this module first, which wraps
the calls: those of `os`, of the C library, of netlink and of the index. A block of shared memory says which call of
which process is to fail and how; forks of the keeper share it, so that the stages of a sandbox are reached too. Nothing
of it is in the engine. (strace counts its `when=N` for each process, not for all of them.)

A fork of a test that runs a command is armed as the role "apply" (`arm_process`). Where a fault names its call, the
steps of requests count too: in a client `ask`, `begun` and `done` of each operation, in the supervisor `begin`, `end`.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLOCK = struct.Struct("<iiiii64s64s")  # armed, calls left, what is done, role, fired, which call it was, name of it
ROLES = {"supervisor": 1, "keeper": 2, "stage": 4, "apply": 8}
KILL, STOP, HOLD = -signal.SIGKILL, -signal.SIGSTOP, -100
ARMED, RECORDING = 1, 2
HERE = Path(__file__).parent

_memory: mmap.mmap | None = None
_path = ""
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
    armed, left, action, roles, fired, _, wanted = BLOCK.unpack_from(memory)
    if not armed or not roles & _role:
        return 0
    if armed == RECORDING:
        _note(name)
        return 0
    wanted = wanted.rstrip(b"\0").decode()
    if wanted != name if wanted else " of " in name:
        return 0
    if action == errno.EINTR and not name.startswith("libc."):
        return 0  # Python itself calls again (PEP 475)
    if left > 1:
        struct.pack_into("<i", memory, 4, left - 1)
        return 0
    BLOCK.pack_into(memory, 0, 0, int(action == HOLD), action, roles, fired + 1, name.encode()[:64], b"")
    if action == HOLD:
        # Where SIGSTOP does nothing: PID 1 of a namespace cannot stop itself.
        while struct.unpack_from("<i", memory, 4)[0]:
            time.sleep(0.001)
        return 0
    if action == STOP:
        _kill(os.getpid(), signal.SIGSTOP)
        return 0
    if action == KILL:
        _kill(os.getpid(), signal.SIGKILL)
        os._exit(128 + signal.SIGKILL)  # PID 1 of a namespace cannot kill itself
    return int(action)


def _note(name: str) -> None:
    role = next(role for role, number in ROLES.items() if number == _role)
    descriptor = _open(f"{_path}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    _write(descriptor, f"{role}\t{name}\n".encode())
    os.close(descriptor)


_kill, _open, _write = os.kill, os.open, os.write


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
    global _memory, _path, _role
    _role, _path = ROLES[role], path
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    _memory = mmap.mmap(descriptor, BLOCK.size)
    os.close(descriptor)
    import builtins
    import io

    from stackpy_runtime.linux import libc

    if role == "apply":
        _arm_client()
        return
    libc.libc = _Library(libc.libc)  # type: ignore[assignment]
    if role == "keeper":
        from stackpy_runtime.host import keeper

        # It would wait ever longer for the next supervisor, and with it each of many kills that follow one another.
        keeper.RESTART_PAUSES = keeper.RESTART_PAUSES[:2]
    if role == "supervisor":
        _arm_launches(path)
        _steps_of_requests()
        from stackpy_runtime.linux import netlink, nfnetlink

        netlink.Netlink.send = _wrapped("netlink", netlink.Netlink.send)  # type: ignore[method-assign]
        nfnetlink.transact = _wrapped("nftables", nfnetlink.transact)
        _arm_index()
    opened = builtins.open

    def open_(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if not isinstance(file, int) and (code := _check("open")):
            raise OSError(code, os.strerror(code), str(file))
        return opened(file, mode, *arguments, **named)

    builtins.open = io.open = open_  # type: ignore[assignment]
    for name in _CALLS:
        setattr(os, name, _wrapped(name, getattr(os, name)))


def _arm_launches(path: str) -> None:
    """Keepers and supervisors that this process starts are armed; a supervisor starts both when its keeper dies."""
    from stackpy_runtime.host import launch

    def armed(code: str, role: str) -> str:
        importing = f"sys.path.insert(0, {str(HERE.parent)!r}); from tests import faults; "
        *before, rest = code.split("; ", 2)
        return "; ".join(before) + f"; {importing}faults.arm_process({path!r}, {role!r}); {rest}"

    launch.KEEPER, launch.SUPERVISOR = armed(launch.KEEPER, "keeper"), armed(launch.SUPERVISOR, "supervisor")


def _arm_index() -> None:
    import _sqlite3

    from stackpy_runtime.store import database

    transaction = database.Database.transaction

    def faulty(self: Any, work: Any) -> Any:
        def inner(connection: Any) -> Any:
            result = work(connection)
            if code := _check("sqlite commit"):
                raise _sqlite3.OperationalError(os.strerror(code).lower())
            return result

        return transaction(self, inner)

    database.Database.transaction = faulty  # type: ignore[method-assign, assignment]


def _steps_of_requests() -> None:
    from stackpy_runtime.host import service

    carry_out = service.Service.carry_out

    def faulty(self: Any, connection: Any, request: Any, *rest: Any) -> Any:
        _check(f"begin of {request['op']}")
        result = carry_out(self, connection, request, *rest)
        _check(f"end of {request['op']}")
        return result

    service.Service.carry_out = faulty  # type: ignore[method-assign]


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _arm_client() -> None:
    """A fork that runs a command: what it asks for, and what it writes itself."""
    from stackpy_runtime.host import client

    request, result = client.Client.request, client.Client.result

    def asking(self: Any, operation: str, *rest: Any) -> Any:
        _check(f"ask of {operation}")
        connection = request(self, operation, *rest)
        _check(f"begun of {operation}")
        connection.operation = operation
        return connection

    def answered(self: Any, connection: Any) -> Any:
        value = result(self, connection)
        _check(f"done of {connection.operation}")
        return value

    client.Client.request, client.Client.result = asking, answered  # type: ignore[method-assign]
    _arm_index()
    for name in ("mkdir", "rename", "unlink", "link", "symlink", "ftruncate", "fsync", "rmdir", "utime"):
        setattr(os, name, _named(name, getattr(os, name)))
    from stackpy_runtime import volume_snapshots

    for name in ("exchange", "sync_file_system"):
        setattr(volume_snapshots, name, _wrapped(f"{name} of", getattr(volume_snapshots, name)))
    opened = os.open

    def open_(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & WRITING:
            _check(_shown("open", path))
        return opened(path, flags, *arguments, **named)

    os.open = open_


def _named(name: str, call: Any) -> Any:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        _check(_shown(name, *arguments[:2]))
        return call(*arguments, **named)

    return wrapper


def _shown(name: str, *paths: Any) -> str:
    """A call on files by the kind of file: numbers and IDs in names are left out."""
    import re

    texts = [re.sub(r"[0-9a-f]{8,}", "ID", os.path.basename(each)) for each in paths if isinstance(each, str)]
    return re.sub(r"\d+", "#", f"{name} of {' '.join(texts)}")[:60]


class Faults:
    """The test's side."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(BLOCK.size))
        self.path = path
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), BLOCK.size)

    def arm(self, number: int, action: int, role: str, name: str = "") -> None:
        """The `number`-th call of `role` from now on fails with errno `action`, or kills, stops or holds its process.

        One that is held goes on when this is disarmed.

        name: only calls of this name count
        """
        BLOCK.pack_into(self.memory, 0, ARMED, number, action, ROLES[role], 0, b"", name.encode())

    @contextmanager
    def recording(self) -> Iterator[list[tuple[str, str]]]:
        """Has role and name of each call that is made meanwhile in a list, once this ends; stages can write no log."""
        log, found = Path(f"{self.path}.log"), list[tuple[str, str]]()
        log.unlink(missing_ok=True)
        BLOCK.pack_into(self.memory, 0, RECORDING, 0, 0, sum(ROLES.values()) - ROLES["stage"], 0, b"", b"")
        yield found
        self.disarm()
        for line in log.read_text().splitlines():
            role, _, name = line.partition("\t")
            found.append((role, name))

    def fired(self) -> str:
        """The call that has failed, or ""."""
        *_, fired, which, _ = BLOCK.unpack_from(self.memory)
        return which.rstrip(b"\0").decode() if fired else ""

    def disarm(self) -> str:
        """Nothing fails any more; the call that did, or ""."""
        fired = self.fired()
        struct.pack_into("<ii", self.memory, 0, 0, 0)
        return fired

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Processes of the engine that are started meanwhile are armed."""
        from stackpy_runtime.host import launch

        before = launch.KEEPER, launch.SUPERVISOR
        _arm_launches(str(self.path))
        try:
            yield
        finally:
            launch.KEEPER, launch.SUPERVISOR = before


ERRORS = (errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EIO)

if __name__ == "__main__":
    sys.exit("a module of the tests")
