"""Rows of `system df`, as docker has them, from the engine's account of the disk. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Document = Mapping[str, Any]
    Row = dict[str, Any]

_ACTIVE = ("running", "paused", "restarting")


def summary(usage: Document) -> list[Row]:
    """Images, containers, volumes and build cache: {type, total, active, size, reclaimable}, in bytes on disk.

    Reclaimable is what pruning could free: images that no container was made of, containers that do not run, volumes
    that no container mounts, the whole cache.
    """
    images, containers, volumes, cache = (usage[key] for key in ("images", "containers", "volumes", "cache"))
    # What images share is freed with the last of them, so it counts as reclaimable only when all are.
    used = [image for image in images if image["containers"]]
    spare = sum(image["unique"] for image in images if not image["containers"])
    stopped = sum(one["size"] for one in containers if one["state"]["status"] not in _ACTIVE)
    loose = sum(volume["size"] for volume in volumes if not volume["links"])
    cached = sum(entry["size"] for entry in cache)
    return [
        _row("Images", len(images), len(used), usage["layers"], spare if used else usage["layers"]),
        _row(
            "Containers",
            len(containers),
            sum(one["state"]["status"] in _ACTIVE for one in containers),
            sum(one["size"] for one in containers),
            stopped,
        ),
        _row(
            "Local Volumes",
            len(volumes),
            sum(volume["links"] > 0 for volume in volumes),
            sum(volume["size"] for volume in volumes),
            loose,
        ),
        _row("Build Cache", len(cache), 0, cached, cached),
    ]


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> Row:
    return {"type": kind, "total": total, "active": active, "size": size, "reclaimable": reclaimable}


def percentage(row: Document) -> str:
    """` (70%)` of a row's size is reclaimable; "" where there is no size."""
    return f" ({row['reclaimable'] * 100 // row['size']}%)" if row["size"] else ""
