"""What a container may use, as files of its control group and the values to write there. Pure.

Names and ranges: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/, and how runc writes a Docker option on either
version (libcontainer/cgroups), so that one configuration means the same on both.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.model import Blkio, Limits

PERIOD = 100_000  # µs, the kernel's default
REALTIME_PERIOD = 1_000_000
_SHORTEST = 1000  # µs of a quota
INHERITED = "inherited"  # in place of a value: what the group above has
# version 1: Compose's name of a rate → its file; version 2: its key in io.max
_RATES = {
    "device_read_bps": ("blkio.throttle.read_bps_device", "rbps"),
    "device_write_bps": ("blkio.throttle.write_bps_device", "wbps"),
    "device_read_iops": ("blkio.throttle.read_iops_device", "riops"),
    "device_write_iops": ("blkio.throttle.write_iops_device", "wiops"),
}


class Write(NamedTuple):
    """A value for a file of the group. optional: nothing is amiss when this kernel has no such file."""

    file: str
    value: str
    optional: bool = False


class Setting(NamedTuple):
    """One thing that is limited.

    controller: "" on version 2, whose files are named by it
    writes: in order; undo: those that make it as if it had never been set
    instead: (writes, undo) where the first file of `writes` is not there
    """

    controller: str
    writes: tuple[Write, ...]
    undo: tuple[Write, ...]
    instead: tuple[tuple[Write, ...], tuple[Write, ...]] = ((), ())


Settings = dict[str, Setting]


def settings(version: int, limits: Limits, devices: Mapping[str, str]) -> Settings:
    """What is limited, by a name for each.

    devices: numbers of block devices (`8:0`) by path
    """
    return _version_2(limits, devices) if version == 2 else _version_1(limits, devices)


def quota(limits: Limits) -> tuple[int, int]:
    """Microseconds of CPU time in each period, 0 for no limit, and the period."""
    period = limits.get("cpu_period") or PERIOD
    if cpus := limits.get("cpus"):
        return max(_SHORTEST, round(cpus * period)), period
    return max(0, limits.get("cpu_quota") or 0), period


def weight_of_shares(shares: int) -> int:
    """cpu.weight for cpu_shares: 2…262144 mapped on 1…10000, as runc does it."""
    return 1 + ((max(2, min(shares, 262144)) - 2) * 9999) // 262142


def weight_of_blkio(weight: int) -> int:
    """io.weight for a weight of blkio: 10…1000 mapped on 1…10000, as runc does it."""
    return 1 + (weight - 10) * 9999 // 990


def _version_2(limits: Limits, devices: Mapping[str, str]) -> Settings:
    found: Settings = {}
    if memory := limits.get("mem_limit"):
        both = limits.get("memswap_limit") or memory
        found["memory"] = Setting(
            "",
            (
                Write("memory.max", str(memory)),
                Write("memory.swap.max", "max" if both < 0 else str(both - memory), "memswap_limit" not in limits),
            ),
            (Write("memory.max", "max"), Write("memory.swap.max", "max", True)),
        )
    if reservation := limits.get("mem_reservation"):
        found["memory reservation"] = _one("", "memory.low", str(reservation), "0")
    allowed, period = quota(limits)
    if allowed:
        found["cpu time"] = _one("", "cpu.max", f"{allowed} {period}", f"max {PERIOD}")
    if shares := limits.get("cpu_shares"):
        found["cpu shares"] = _one("", "cpu.weight", str(weight_of_shares(shares)), "100")
    for key, file in (("cpuset", "cpuset.cpus"), ("cpuset_mems", "cpuset.mems")):
        if chosen := limits.get(key):
            found[file] = _one("", file, str(chosen), "\n")
    if (pids := limits.get("pids_limit") or 0) > 0:
        found["pids"] = _one("", "pids.max", str(pids), "max")
    blkio: Blkio = limits.get("blkio_config") or {}
    if weight := blkio.get("weight"):
        found["io weight"] = _weight("default ", weight, "default 100")
    for device in blkio.get("weight_device", ()):
        number = devices[device["path"]]
        found[f"io weight {number}"] = _weight(f"{number} ", device["weight"], f"{number} default")
    for name, (_, word) in _RATES.items():
        for rate in blkio.get(name, ()):  # type: ignore[attr-defined]
            number = devices[rate["path"]]
            found[f"{name} {number}"] = _one("", "io.max", f"{number} {word}={rate['rate']}", f"{number} {word}=max")
    return found


def _version_1(limits: Limits, devices: Mapping[str, str]) -> Settings:
    found: Settings = {}
    if memory := limits.get("mem_limit"):
        both = limits.get("memswap_limit") or memory
        optional = "memswap_limit" not in limits
        # The limit with swap may not be below the one without: lift it first, then set both.
        lift = Write("memory.memsw.limit_in_bytes", "-1", True)
        found["memory"] = Setting(
            "memory",
            (
                lift,
                Write("memory.limit_in_bytes", str(memory)),
                Write("memory.memsw.limit_in_bytes", str(max(both, -1)), optional),
            ),
            (lift, Write("memory.limit_in_bytes", "-1")),
        )
    if reservation := limits.get("mem_reservation"):
        found["memory reservation"] = _one("memory", "memory.soft_limit_in_bytes", str(reservation), "-1")
    if (swappiness := limits.get("mem_swappiness")) is not None:
        found["swappiness"] = _one("memory", "memory.swappiness", str(swappiness), INHERITED)
    if limits.get("oom_kill_disable"):
        found["oom killer"] = _one("memory", "memory.oom_control", "1", "0")
    allowed, period = quota(limits)
    if allowed:
        free = Write("cpu.cfs_quota_us", "-1")  # a shorter period with the old quota may be more than there is
        found["cpu time"] = Setting(
            "cpu",
            (free, Write("cpu.cfs_period_us", str(period)), Write("cpu.cfs_quota_us", str(allowed))),
            (free, Write("cpu.cfs_period_us", str(PERIOD))),
        )
    if shares := limits.get("cpu_shares"):
        found["cpu shares"] = _one("cpu", "cpu.shares", str(shares), "1024")
    if runtime := limits.get("cpu_rt_runtime"):
        rest = Write("cpu.rt_runtime_us", "0")
        period = limits.get("cpu_rt_period") or REALTIME_PERIOD
        found["real-time"] = Setting(
            "cpu",
            (rest, Write("cpu.rt_period_us", str(period)), Write("cpu.rt_runtime_us", str(runtime))),
            (rest, Write("cpu.rt_period_us", str(REALTIME_PERIOD))),
        )
    for key, file in (("cpuset", "cpuset.cpus"), ("cpuset_mems", "cpuset.mems")):
        if chosen := limits.get(key):
            found[file] = _one("cpuset", file, str(chosen), INHERITED)
    if (pids := limits.get("pids_limit") or 0) > 0:
        found["pids"] = _one("pids", "pids.max", str(pids), "max")
    blkio: Blkio = limits.get("blkio_config") or {}
    if weight := blkio.get("weight"):
        found["io weight"] = _old_weight("weight", str(weight), "100")
    for device in blkio.get("weight_device", ()):
        number = devices[device["path"]]
        found[f"io weight {number}"] = _old_weight("weight_device", f"{number} {device['weight']}", f"{number} 0")
    for name, (file, _) in _RATES.items():
        for rate in blkio.get(name, ()):  # type: ignore[attr-defined]
            number = devices[rate["path"]]
            found[f"{name} {number}"] = _one("blkio", file, f"{number} {rate['rate']}", f"{number} 0")
    return found


def _one(controller: str, file: str, value: str, without: str) -> Setting:
    return Setting(controller, (Write(file, value),), (Write(file, without),))


def _weight(prefix: str, weight: int, without: str) -> Setting:
    """BFQ takes the weight as it is, the io.cost controller on its own scale: one of them is built in, or neither."""
    return Setting(
        "",
        (Write("io.bfq.weight", f"{prefix}{weight}"),),
        (Write("io.bfq.weight", without),),
        ((Write("io.weight", f"{prefix}{weight_of_blkio(weight)}"),), (Write("io.weight", without),)),
    )


def _old_weight(file: str, value: str, without: str) -> Setting:
    """CFQ, which had the files without `bfq`, left the kernel with 5.0."""
    return Setting(
        "blkio",
        (Write(f"blkio.bfq.{file}", value),),
        (Write(f"blkio.bfq.{file}", without),),
        ((Write(f"blkio.{file}", value),), (Write(f"blkio.{file}", without),)),
    )
