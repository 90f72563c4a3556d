"""What limits name of this host, and why it cannot give what they ask for: the kernel's errors in words."""

from __future__ import annotations

import errno
import os
import stat

from stackpy_runtime.errors import InvalidConfig, KernelError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.container.limits import Write
    from stackpy_runtime.model import Limits


def devices(limits: Limits) -> dict[str, str]:
    """The numbers of the block devices that limits name, by path; raises InvalidConfig for what is none."""
    blkio: Mapping[str, object] = limits.get("blkio_config") or {}
    found: dict[str, str] = {}
    for entries in blkio.values():
        for entry in entries if isinstance(entries, list) else ():
            found[entry["path"]] = block_device(entry["path"])
    return found


def block_device(path: str) -> str:
    """The number of a block device, `8:0`; raises InvalidConfig."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidConfig(f"blkio_config: device {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidConfig(f"blkio_config: {path} is not a block device", hint="`lsblk --paths` lists them")
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def not_offered(file: str) -> Unsupported:
    """What a limit lacks whose file is not there."""
    controller = file.split(".")[0]
    if ".memsw." in file or ".swap." in file:
        return Unsupported("this host's kernel does not count swap", hint="boot with swapaccount=1")
    if "rt_" in file:
        return Unsupported(
            "cpu_rt_runtime: this kernel gives control groups no real-time time", hint="it needs CONFIG_RT_GROUP_SCHED"
        )
    if file in ("io.weight", "blkio.weight", "io.weight_device", "blkio.weight_device"):
        return Unsupported("blkio_config: this kernel gives block devices no weights", hint="it needs BFQ or io.cost")
    what = {"io": "block devices", "blkio": "block devices"}.get(controller, controller)
    return Unsupported(f"this host's cgroups cannot limit {what}", hint="stackpy system check")


def explained(error: KernelError, write: Write, folder: str) -> KernelError:
    """A refusal of the kernel's with what it means for this file."""
    if error.errno == errno.EBUSY and "memory" in write.file:
        return KernelError(
            f"the limit of {write.value} bytes is below what its processes use, and nothing can be given back",
            errno=error.errno,
            hint="stop some of them, or choose a higher limit",
        )
    if error.errno in (errno.EOPNOTSUPP, errno.EINVAL) and ".bfq." in write.file and ":" in write.value:
        device = write.value.split()[0]
        return KernelError(
            f"blkio_config: the scheduler of device {device} knows no weights",
            errno=error.errno,
            hint=f"echo bfq > /sys/dev/block/{device}/queue/scheduler",
        )
    if error.errno in (errno.ENODEV, errno.ENXIO) and ":" in write.value:
        return KernelError(
            f"blkio_config: device {write.value.split()[0]} cannot be limited",
            errno=error.errno,
            hint="name the whole disk, not a partition of it",
        )
    if error.errno == errno.EINVAL and "rt_runtime" in write.file:
        return KernelError(
            f"cpu_rt_runtime: the group above has less than {write.value} µs of real-time time to give",
            errno=error.errno,
            hint=f"raise {os.path.dirname(folder)}/cpu.rt_runtime_us first",
        )
    return error
