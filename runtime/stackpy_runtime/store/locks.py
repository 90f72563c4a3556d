"""Named locks between processes, with the holder's name in them.

flock(2) and not a row in the index: the kernel gives the lock back when its holder dies, however it dies. The holder's
name in the file is for people only and decides nothing.
"""

from __future__ import annotations

import fcntl
import os
import time

from stackpy_runtime import json_text
from stackpy_runtime.errors import Conflict, Denied, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from stackpy_runtime.store.root import Root

# Only where a time limit is given; without one the kernel wakes us.
_POLL_SECONDS = 0.02


def named(
    root: Root,
    name: str,
    timeout: float | None = None,
    waiting: Callable[[str], None] | None = None,
    command: str = "",
) -> Lock:
    """A context manager that holds ROOT/locks/NAME; the root must exist.

    timeout: seconds to wait at most; None waits for ever, 0 not at all
    waiting: told once, when there is something to wait for, who holds the lock: "pid 12 (`stackpy apply`) since …"
    command: what others are told of this holder

    Entering raises Conflict, naming the holder, when the time is over. A thread must not take a lock that it holds.
    """
    return Lock(f"{root.locks}/{_file_name(name)}", name, timeout, waiting, command)


class Lock:
    """A lock file, held between __enter__ and __exit__."""

    def __init__(
        self, path: str, name: str, timeout: float | None, waiting: Callable[[str], None] | None, command: str
    ) -> None:
        self._path, self._name = path, name
        self._timeout, self._waiting, self._command = timeout, waiting, command
        self._descriptor = -1

    def __enter__(self) -> Lock:
        descriptor = self._open()
        try:
            if not _take(descriptor):
                self._wait(descriptor)
            self._sign(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.ftruncate(descriptor, 0)
        finally:
            # Not close alone: a child forked meanwhile has the same open file, and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except PermissionError:
            raise Denied(f"cannot open `{self._path}`: permission denied", hint="run it with sudo") from None
        except OSError as error:
            raise EngineError(f"cannot open `{self._path}`: {(error.strerror or '').lower()}") from None

    def _wait(self, descriptor: int) -> None:
        if self._timeout is None or self._timeout > 0:
            if self._waiting is not None:
                self._waiting(_holder(descriptor))
            if self._timeout is None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                return
            deadline = time.monotonic() + self._timeout
            while (left := deadline - time.monotonic()) > 0:
                time.sleep(min(_POLL_SECONDS, left))
                if _take(descriptor):
                    return
        raise Conflict(
            f"`{self._name}` is locked by {_holder(descriptor)}", hint="wait until it has finished, then try again"
        )

    def _sign(self, descriptor: int) -> None:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = json_text.dumps({"pid": os.getpid(), "command": self._command, "since": since})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    """Who holds the lock, for people; it may be signing just now, or on its way out."""
    try:
        document = json_text.loads(os.pread(descriptor, 4096, 0))
        pid, command, since = int(document["pid"]), str(document["command"]), str(document["since"])
    except (ValueError, KeyError, TypeError):
        return "another process"
    return f"pid {pid}{f' (`{command}`)' if command else ''} since {since}"


def _file_name(name: str) -> str:
    """The lock's file: a name never leaves the folder, and two names never share a file."""
    quoted = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else f"%{ord(c):02x}" for c in name)
    if len(quoted) <= 200:
        return quoted
    import hashlib  # only for names that no file could have

    return quoted[:100] + "%" + hashlib.sha256(quoted.encode()).hexdigest()
