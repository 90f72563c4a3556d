"""Standard streams on the client's side."""

from __future__ import annotations

import os

CHUNK = 65536


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
