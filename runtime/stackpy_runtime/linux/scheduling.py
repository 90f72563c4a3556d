"""How a process is scheduled, and its personality: sched_setattr(2), ioprio_set(2), personality(2)."""

from __future__ import annotations

import ctypes

from stackpy_runtime.linux.libc import failure, libc, number, syscall

_IOPRIO_WHO_PROCESS = 1


class sched_attr(ctypes.Structure):
    """struct sched_attr (include/uapi/linux/sched/types.h)."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    ]


def set_scheduler(pid: int, fields: dict[str, int]) -> None:
    """sched_setattr(2) of a process; `fields`: those of struct sched_attr but its size."""
    attributes = sched_attr(size=ctypes.sizeof(sched_attr), **fields)
    if syscall(number("sched_setattr"), pid, attributes, 0) < 0:
        raise failure(f"sched_setattr policy={fields['policy']}")


def set_io_priority(pid: int, value: int) -> None:
    """ioprio_set(2) of a process; `value`: class << 13 | priority."""
    if syscall(number("ioprio_set"), _IOPRIO_WHO_PROCESS, pid, value) < 0:
        raise failure(f"ioprio_set {value >> 13}:{value & 0x1FFF}")


def set_personality(domain: int) -> None:
    """personality(2) of the calling process."""
    if libc.personality(ctypes.c_ulong(domain)) < 0:
        raise failure(f"personality {domain:#x}")
