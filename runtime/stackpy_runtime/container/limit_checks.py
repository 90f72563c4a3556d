"""Whether this host can give the limits that a configuration asks for: found before anything is made, or planned.

Ranges are the kernel's and Docker's (daemon/daemon_unix.go, verifyPlatformContainerResources).
"""

from __future__ import annotations

import os

from stackpy_runtime.container.limit_refusals import block_device, not_offered
from stackpy_runtime.errors import InvalidConfig, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import Blkio, Limits

SMALLEST_MEMORY = 6 << 20
PERIODS = (1000, 1_000_000)  # µs
SHARES = (2, 262_144)
WEIGHTS = (10, 1000)
# Longer than any host needs, and short enough to be looked at.
_LONGEST_SET = 4096

Ranges = list[tuple[int, int]]


def check(limits: Limits) -> None:
    """Raises InvalidConfig for what makes no sense, or more than this host has, and Unsupported for what it lacks."""
    _check_memory(limits)
    _check_processors(limits)
    for key, kind in (("cpuset", "cpu"), ("cpuset_mems", "node")):
        if limits.get(key):
            _check_set(key, str(limits[key]), kind)  # type: ignore[literal-required]
    if limits.get("pids_limit", 0) < -1:
        raise InvalidConfig("pids_limit is negative", hint="leave it out for no limit")
    if blkio := limits.get("blkio_config"):
        _check_blkio(blkio)


def _check_memory(limits: Limits) -> None:
    memory, both = limits.get("mem_limit") or 0, limits.get("memswap_limit") or 0
    if memory and memory < SMALLEST_MEMORY:
        raise InvalidConfig(f"a memory limit of {memory} bytes is below 6 MiB", hint="no program starts in less")
    if both and not memory:
        raise InvalidConfig("memswap_limit counts memory and swap together, and there is no mem_limit", hint="set both")
    if both < -1 or 0 < both < memory:
        raise InvalidConfig(
            f"memswap_limit {both} is less than mem_limit {memory}",
            hint="it counts memory and swap together; -1 is no limit of swap",
        )
    reservation = limits.get("mem_reservation") or 0
    if reservation < 0 or (memory and reservation > memory):
        raise InvalidConfig(f"mem_reservation {reservation} is not between 0 and mem_limit {memory}")
    swappiness = limits.get("mem_swappiness")
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise InvalidConfig(f"mem_swappiness {swappiness} is not between 0 and 100")
    if swappiness is not None and _version() == 2:
        raise Unsupported(
            "mem_swappiness: control groups of version 2, which this host has, know no swappiness",
            hint="limit swap by memswap_limit instead",
        )
    if limits.get("oom_kill_disable"):
        if _version() == 2:
            raise Unsupported(
                "oom_kill_disable: control groups of version 2, which this host has, cannot switch the killer off",
                hint="set oom_score_adj, or a mem_reservation",
            )
        if not memory:
            raise InvalidConfig(
                "oom_kill_disable without mem_limit would let it use up the host's memory", hint="set a mem_limit"
            )


def _check_processors(limits: Limits) -> None:
    cpus = limits.get("cpus") or 0.0
    if not 0 <= cpus <= (os.cpu_count() or 1):
        raise InvalidConfig(f"cpus {cpus} is not between 0 and the {os.cpu_count()} of this host")
    period, quota = limits.get("cpu_period") or 0, limits.get("cpu_quota") or 0
    if cpus and (period or quota):
        other = "cpu_period" if period else "cpu_quota"
        raise InvalidConfig(f"cpus and {other} exclude each other", hint="cpus is cpu_quota / cpu_period")
    if period and not PERIODS[0] <= period <= PERIODS[1]:
        raise InvalidConfig(f"cpu_period {period} is not between {PERIODS[0]} and {PERIODS[1]} µs")
    if quota and quota != -1 and quota < PERIODS[0]:
        raise InvalidConfig(f"cpu_quota {quota} is less than {PERIODS[0]} µs", hint="-1 is no limit")
    shares = limits.get("cpu_shares") or 0
    if shares and not SHARES[0] <= shares <= SHARES[1]:
        raise InvalidConfig(f"cpu_shares {shares} is not between {SHARES[0]} and {SHARES[1]}")
    runtime, period = limits.get("cpu_rt_runtime") or 0, limits.get("cpu_rt_period") or 0
    if not runtime and not period:
        return
    if _version() == 2:
        raise Unsupported(
            "cpu_rt_runtime: control groups of version 2, which this host has, give out no real-time time",
            hint="leave it out",
        )
    from stackpy_runtime.container import cgroups

    if not os.path.exists(f"{cgroups.layout().mounts.get('cpu', '')}/cpu.rt_runtime_us"):
        raise not_offered("cpu.rt_runtime_us")
    if runtime < 0 or period < 0 or runtime > (period or 1_000_000):
        raise InvalidConfig(f"cpu_rt_runtime {runtime} is not between 0 and cpu_rt_period {period or 1_000_000}")


def parse_set(text: str) -> Ranges | None:
    """The ranges of a list such as `0-2,4` (cpuset(7)); None when it is none. Never the numbers themselves."""
    ranges: Ranges = []
    if len(text) > _LONGEST_SET:
        return None
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) <= 10 for end in ends):
            return None
        if int(ends[0]) > int(ends[1]):
            return None
        ranges.append((int(ends[0]), int(ends[1])))
    return ranges


def _version() -> int:
    from stackpy_runtime.container import cgroups  # with what it imports, for the few fields that ask

    return cgroups.layout().version


def _present(kind: str) -> str:
    try:
        with open(f"/sys/devices/system/{kind}/online", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "0"  # a kernel without NUMA has one node


def _check_set(key: str, text: str, kind: str) -> None:
    ranges, present = parse_set(text), _present(kind)
    what = "CPUs" if kind == "cpu" else "memory nodes"
    shown = text if len(text) <= 60 else f"{text[:57]}…"
    if ranges is None:
        raise InvalidConfig(f"{key} `{shown}` is no list of {what}", hint="such as 0-2,4")
    known = parse_set(present) or []
    if not all(any(low <= first and last <= high for low, high in known) for first, last in ranges):
        raise InvalidConfig(f"{key} `{shown}` names {what} that this host has not", hint=f"it has {present}")


def _check_blkio(blkio: Blkio) -> None:
    weights = [("weight", blkio.get("weight") or 0)]
    weights += [(f"weight of {one['path']}", one["weight"]) for one in blkio.get("weight_device", ())]
    for name, weight in weights:
        if weight and not WEIGHTS[0] <= weight <= WEIGHTS[1]:
            raise InvalidConfig(f"blkio_config: {name} {weight} is not between {WEIGHTS[0]} and {WEIGHTS[1]}")
    for key, entries in blkio.items():
        for entry in entries if isinstance(entries, list) else ():
            block_device(entry["path"])
            if entry.get("rate", 1) < 1:
                raise InvalidConfig(f"blkio_config: {key} of {entry['path']} is not above 0")
