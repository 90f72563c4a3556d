"""How a process is scheduled, its limits and its personality: sched_setattr(2), ioprio_set(2), personality(2)."""

from __future__ import annotations

import ctypes
import os
import resource

from stackpy_runtime.linux.libc import failure, libc, number, syscall

_IOPRIO_WHO_PROCESS = 1
_MOST_CPUS = 8192  # NR_CPUS of the largest kernels
_LIMITS = 16  # RLIM_NLIMITS (include/uapi/asm-generic/resource.h)


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


def use_every_cpu() -> None:
    """Lets the calling process run on each CPU that its control group has (sched_setaffinity(2))."""
    # The kernel takes away what there is not; their numbers may have gaps.
    os.sched_setaffinity(0, range(_MOST_CPUS))


def begin_as_init_did() -> None:
    """Leaves the CPUs, the policy, the priorities and the limits of whoever has started the calling process.

    Limits are those of PID 1, but for that of descriptors; where the hard one cannot be raised, up to that.
    """
    use_every_cpu()
    set_scheduler(0, {"policy": 0, "nice": 0})
    set_io_priority(0, 0)
    for kind in range(_LIMITS):
        if kind == resource.RLIMIT_NOFILE:
            continue
        soft, hard = resource.prlimit(1, kind)
        try:
            resource.setrlimit(kind, (soft, hard))
        except ValueError:
            # It takes CAP_SYS_RESOURCE, which root of a virtual machine may lack.
            most = resource.getrlimit(kind)[1]
            within = most == resource.RLIM_INFINITY or (soft != resource.RLIM_INFINITY and soft <= most)
            resource.setrlimit(kind, (soft if within else most, most))
