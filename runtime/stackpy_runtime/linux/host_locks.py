"""Locks that the engines of all roots share: one whose process is stopped must not stop all others for ever."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager

from stackpy_runtime.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0  # seconds: what is done under such a lock takes milliseconds
_POLL = 0.005  # seconds


@contextmanager
def held(path: str, what: str) -> Iterator[None]:
    """Holds the file `path`, which is made. what: it guards, for messages

    Raises Conflict, naming the process, when another engine does not give it back.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - began >= PATIENCE:
                    raise Conflict(
                        f"{_holder(descriptor)} has held {what} of this host for {PATIENCE:g} s",
                        hint="see what it does, and end it where it is stopped: `ps -o pid,stat,args`",
                    ) from None
                time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Which process has a lock on a file, in words, by the kernel's list of locks."""
    inode = f":{os.fstat(descriptor).st_ino}"
    with open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:16195592 0 EOF
            words = line.split()
            if words[1] == "FLOCK" and words[-3].endswith(inode):
                return f"another engine (pid {words[-4]})"
    return "another engine"
