"""state, list, ps and events: what is known of containers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.oci import groups, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.oci.groups import Group


def describe(root: str, identity: str) -> dict[str, Any]:
    """The state of a container: the specification's, and what runc adds."""
    folder = state.Folder(root, identity)
    record = folder.record()
    now = state.status(folder, record, frozen=groups.Group(record["cgroups_path"]).frozen())
    return {**state.shown(record, now), "rootfs": record["rootfs"], "created": record["created"], "owner": ""}


def describe_all(root: str) -> list[dict[str, Any]]:
    """The states of all containers under a root."""
    result = []
    for identity in state.identities(root):
        try:
            result.append(describe(root, identity))
        except (NotFound, EngineError, ValueError):
            # Deleted meanwhile, or being created.
            continue
    return result


def processes(root: str, identity: str) -> list[int]:
    """PIDs of all processes of a container, as this host counts them."""
    record = state.Folder(root, identity).record()
    return groups.Group(record["cgroups_path"]).processes()


def events(root: str, identity: str, interval: float, tell: Callable[[dict[str, Any]], None], *, once: bool) -> None:
    """Tells the statistics of a running container, again and again until it ends, and each time memory ran out."""
    folder = state.Folder(root, identity)
    record = folder.record()
    group = groups.Group(record["cgroups_path"])
    state.need(state.status(folder, record), ("running", "created"), identity)
    killed = out_of_memory(group)
    while True:
        tell({"type": "stats", "id": identity, "data": statistics(group)})
        if once:
            return
        deadline = time.monotonic() + interval
        while (left := deadline - time.monotonic()) > 0:
            if not state.lives(record):
                return
            now = out_of_memory(group)
            if now > killed:
                tell({"type": "oom", "id": identity})
            killed = now
            time.sleep(min(left, 0.5))


def _text(group: Group, controller: str, name: str) -> str:
    folder = group.folder(controller)
    try:
        with open(f"{folder}/{name}", encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(group: Group, controller: str, name: str) -> int:
    text = _text(group, controller, name).strip()
    return int(text) if text.isdigit() else 0


def _table(group: Group, controller: str, name: str) -> dict[str, int]:
    rows = (line.split() for line in _text(group, controller, name).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def out_of_memory(group: Group) -> int:
    """How often the kernel has killed a process of the group for want of memory."""
    controller, name = ("", "memory.events") if group.version == 2 else ("memory", "memory.oom_control")
    return _table(group, controller, name).get("oom_kill", 0)


def statistics(group: Group) -> dict[str, Any]:
    """Use of resources, in the names of `runc events`."""
    return _new(group) if group.version == 2 else _old(group)


def _old(group: Group) -> dict[str, Any]:
    def usage(prefix: str) -> dict[str, int]:
        return {
            "limit": _number(group, "memory", f"memory.{prefix}limit_in_bytes"),
            "usage": _number(group, "memory", f"memory.{prefix}usage_in_bytes"),
            "max": _number(group, "memory", f"memory.{prefix}max_usage_in_bytes"),
            "failcnt": _number(group, "memory", f"memory.{prefix}failcnt"),
        }

    raw = _table(group, "memory", "memory.stat")
    times = _table(group, "cpuacct", "cpuacct.stat")
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    throttling = _table(group, "cpu", "cpu.stat")
    each = _text(group, "cpuacct", "cpuacct.usage_percpu").split()
    return {
        "cpu": {
            "usage": {
                "total": _number(group, "cpuacct", "cpuacct.usage"),
                "percpu": [int(value) for value in each],
                "kernel": times.get("system", 0) * tick,
                "user": times.get("user", 0) * tick,
            },
            "throttling": _throttling(throttling),
        },
        "memory": {
            "cache": raw.get("total_cache", raw.get("cache", 0)),
            "usage": usage(""),
            "swap": usage("memsw."),
            "kernel": usage("kmem."),
            "kernelTCP": usage("kmem.tcp."),
            "raw": raw,
        },
        "pids": _pids(group, "pids"),
        "blkio": {"ioServiceBytesRecursive": _blocks(group), "ioServicedRecursive": _blocks(group, "io_serviced")},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _throttling(table: dict[str, int]) -> dict[str, int]:
    nanoseconds = table.get("throttled_time", table.get("throttled_usec", 0) * 1000)
    return {
        "periods": table.get("nr_periods", 0),
        "throttledPeriods": table.get("nr_throttled", 0),
        "throttledTime": nanoseconds,
    }


def _pids(group: Group, controller: str) -> dict[str, int]:
    return {"current": _number(group, controller, "pids.current"), "limit": _number(group, controller, "pids.max")}


def _blocks(group: Group, name: str = "io_service_bytes") -> list[dict[str, Any]]:
    result = []
    for line in _text(group, "blkio", f"blkio.throttle.{name}").splitlines():
        fields = line.split()
        if len(fields) == 3 and ":" in fields[0]:
            major, minor = fields[0].split(":")
            row = {"major": int(major), "minor": int(minor), "op": fields[1].lower(), "value": int(fields[2])}
            result.append(row)
    return result


def _new(group: Group) -> dict[str, Any]:
    times = _table(group, "", "cpu.stat")
    raw = _table(group, "", "memory.stat")
    blocks = []
    for line in _text(group, "", "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            name, _, value = pair.partition("=")
            if name in ("rbytes", "wbytes"):
                operation = "read" if name == "rbytes" else "write"
                blocks.append({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
    swap = {"usage": _number(group, "", "memory.swap.current"), "limit": _number(group, "", "memory.swap.max")}
    return {
        "cpu": {
            "usage": {
                "total": times.get("usage_usec", 0) * 1000,
                "percpu": [],
                "kernel": times.get("system_usec", 0) * 1000,
                "user": times.get("user_usec", 0) * 1000,
            },
            "throttling": _throttling(times),
        },
        "memory": {
            "cache": raw.get("file", 0),
            "usage": {
                "limit": _number(group, "", "memory.max"),
                "usage": _number(group, "", "memory.current"),
                "max": _number(group, "", "memory.peak"),
                "failcnt": _table(group, "", "memory.events").get("max", 0),
            },
            "swap": {**swap, "max": 0, "failcnt": 0},
            "kernel": {},
            "kernelTCP": {},
            "raw": raw,
        },
        "pids": _pids(group, ""),
        "blkio": {"ioServiceBytesRecursive": blocks},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }
