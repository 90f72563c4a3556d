"""What `stats` shows: two looks at what containers use → docker's figures. Pure."""

from __future__ import annotations

from stackpy.cli.terminal import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Used = Mapping[str, Any]

UNKNOWN = "--"  # docker's, for what does not run
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
HEADS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_SHORT_ID = 12
_COUNTED = ("network_rx", "network_tx", "block_read", "block_write")


def row(container: Mapping[str, Any], before: Used | None, now: Used | None) -> dict[str, Any]:
    """The figures of one container, None for what is not known.

    container: a row of ps; before, now: what it used at two moments, None where it did not run
    """
    known = now or {}
    memory, limit = known.get("memory"), known.get("memory_limit")
    return {
        "id": container["id"],
        "name": container["name"],
        "stack": container["stack"],
        "resource": container["resource"],
        "cpu_percent": processor(before, now),
        "memory": memory,
        "memory_limit": limit,
        "memory_percent": round(memory / limit * 100, 2) if memory is not None and limit else None,
        **{key: known.get(key) for key in _COUNTED},
        "pids": known.get("pids"),
    }


def processor(before: Used | None, now: Used | None) -> float | None:
    """Per cent of one processor; of a container that was started meanwhile since then."""
    if before is None or now is None or now["time"] <= before["time"]:
        return None
    used: int = now["cpu"] - before["cpu"]
    passed: int = now["time"] - before["time"]
    return round((used if used >= 0 else now["cpu"]) / passed * 100, 2)


def fields(figures: Mapping[str, Any], *, whole: bool = False) -> dict[str, str]:
    """Docker's fields. whole: with the whole ID"""
    running = figures["pids"] is not None
    identity = str(figures["id"])
    return {
        "Container": str(figures["name"]),
        "ID": identity if whole else identity[:_SHORT_ID],
        "Name": str(figures["name"]),
        "CPUPerc": _percent(figures["cpu_percent"]),
        "MemUsage": f"{binary(figures['memory'])} / {binary(figures['memory_limit'])}" if running else "-- / --",
        "MemPerc": _percent(figures["memory_percent"]),
        "NetIO": _pair(figures, "network_rx", "network_tx"),
        "BlockIO": _pair(figures, "block_read", "block_write"),
        "PIDs": str(figures["pids"]) if running else UNKNOWN,
    }


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}%"


def _pair(figures: Mapping[str, Any], first: str, second: str) -> str:
    if figures[first] is None:
        return "-- / --"
    return f"{size(figures[first])} / {size(figures[second])}"


def binary(count: int) -> str:
    """A number of bytes in powers of 1024, as docker writes memory: "1.5GiB"."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g}{unit}"
        amount /= 1024
    return f"{amount:.4g}TiB"
