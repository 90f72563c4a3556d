"""The fields of `--format` of listings other than `ps`, under docker's names and as docker writes them."""

from __future__ import annotations

from stackpy.cli.commands.image import age, short
from stackpy.cli.terminal import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Row = Mapping[str, Any]

_SHORT_ID = 12
IMAGE_HEADS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
HISTORY_HEADS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
NETWORK_HEADS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "CreatedAt": "CREATED AT",
    "Stack": "STACK",
    "Resource": "RESOURCE",
}
VOLUME_HEADS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Stack": "STACK",
    "Resource": "RESOURCE",
}
DISK_HEADS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def image(row: Row, *, whole: bool = False) -> dict[str, str]:
    """Of `image ls`. whole: nothing is cut off (`--no-trunc`)"""
    name, _, _ = (row["reference"] or "").partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    return {
        "ID": row["id"] if whole else short(row["id"]),
        "Repository": repository or "<none>",
        "Tag": tag or "<none>",
        "Digest": row["digest"] or "<none>",
        "CreatedSince": age(row["created"]),
        "CreatedAt": moment(row["created"]),
        "Size": size(row["size"]),
    }


def step(row: Row, line: str, *, whole: bool, human: bool) -> dict[str, str]:
    """Of `image history`. line: how it was made, as long as it is shown"""
    return {
        "ID": (row["id"] if whole else short(row["id"])) or "<missing>",
        "CreatedSince": age(row["created"]) if human else row["created"],
        "CreatedAt": moment(row["created"]),
        "CreatedBy": line,
        "Size": size(row["size"]) if human else str(row["size"]),
        "Comment": row["comment"],
    }


def network(row: Row) -> dict[str, str]:
    """Of `network ls`."""
    return {
        "ID": row["id"][:_SHORT_ID],
        "Name": row["name"],
        "Driver": row["driver"],
        "Scope": "local",
        "IPv6": "false",
        "Internal": "true" if row["internal"] else "false",
        "CreatedAt": moment(row["created"]),
        **_owner(row),
    }


def volume(row: Row) -> dict[str, str]:
    """Of `volume ls`."""
    return {"Name": row["name"], "Driver": row["driver"], "Scope": "local", **_owner(row)}


def disk(row: Row) -> dict[str, str]:
    """Of `system df`."""
    from stackpy.engines.disk import percentage

    return {
        "Type": row["type"],
        "TotalCount": str(row["total"]),
        "Active": str(row["active"]),
        "Size": size(row["size"]),
        "Reclaimable": size(row["reclaimable"]) + percentage(row),
    }


def _owner(row: Row) -> dict[str, str]:
    return {"Stack": row["stack"] or "", "Resource": row["resource"] or ""}


def moment(date: str) -> str:
    """Docker's form of a date: "2026-01-31 13:00:00 +0100 CET"; `N/A` for none."""
    from datetime import datetime

    try:
        found = datetime.fromisoformat(date)
    except ValueError:
        return "N/A"  # an archive may hold any text
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")
