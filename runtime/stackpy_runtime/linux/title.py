"""The command line that ps and /proc show: `stackpy keeper --root ROOT`, whatever the interpreter was started with.

The kernel shows the memory between arg_start and arg_end of /proc/PID/stat; when its last byte is not NUL it shows one
string up to the first NUL (fs/proc/base.c, get_mm_cmdline). So the new text is written there, and the area's end
filled. prctl(PR_SET_MM) would need CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import ctypes
import functools

from stackpy_runtime.linux.processes import set_name


@functools.cache
def _area() -> tuple[int, int]:
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # proc_pid_stat(5): arg_start and arg_end are fields 48 and 49; `fields` begins with the third.
    return int(fields[45]), int(fields[46])


def set_title(text: str) -> None:
    """Shows `text` as the command line of this process, and its first word (at most 15 bytes) as its name."""
    start, end = _area()
    room = end - start
    data = text.encode()[: room - 2]
    ctypes.memmove(start, data.ljust(room - 1, b"\0") + b" ", room)
    set_name(text.split(" ", 1)[0])
