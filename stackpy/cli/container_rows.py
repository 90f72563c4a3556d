"""The fields of `ps --format`, under docker's names and as docker writes them, with ours beside them."""

from __future__ import annotations

from stackpy.cli.terminal import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SHORT_ID = 12
_SHORT_COMMAND, _SHORT_MOUNT = 20, 15
HEADS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Stack": "STACK",
    "Resource": "RESOURCE",
    "Replica": "REPLICA",
    "Health": "HEALTH",
    "ExitCode": "EXIT CODE",
    "Reason": "REASON",
}


def heads() -> dict[str, Any]:
    """What stands above each field in a table."""
    from stackpy.render.go_templates.values import Method

    return {**HEADS, "Label": Method(lambda name: str(name))}


def fields(row: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    """The fields of one row. whole: nothing is cut off (`--no-trunc`)"""
    from stackpy.cli.commands.image import age
    from stackpy.cli.commands.ps import image_name
    from stackpy.cli.listing_rows import moment
    from stackpy.render.go_templates.values import Method

    labels = row["labels"]
    return {
        "ID": row["id"] if whole else row["id"][:SHORT_ID],
        "Names": row["name"],
        "Image": image_name(row["image"], whole=whole),
        "Command": command(row["command"], whole=whole),
        "CreatedAt": moment(row["created"]),
        "RunningFor": age(row["created"]),
        "Ports": ports(row),
        "State": row["state"],
        "Status": row["status"],
        "Size": sizes(row),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": Method(lambda name: labels.get(name, "")),
        "Mounts": ",".join(name if whole else cut(name, _SHORT_MOUNT) for name in row["mounts"]),
        "LocalVolumes": str(row["volumes"]),
        "Networks": ",".join(row["networks"]),
        "Stack": row["stack"] or "",
        "Resource": row["resource"] or "",
        "Replica": "" if row["replica"] is None else str(row["replica"]),
        "Health": row["health"],
        "ExitCode": "" if row["exit_code"] is None else str(row["exit_code"]),
        "Reason": row["reason"],
    }


def command(words: list[str], *, whole: bool) -> str:
    """A command line in docker's quotation marks."""
    text = " ".join(f"'{word}'" if " " in word else word for word in words)
    return f'"{text if whole else cut(text, _SHORT_COMMAND)}"'


def cut(text: str, most: int) -> str:
    """A text of at most so many characters, the last of which says that there were more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def ports(row: Mapping[str, Any]) -> str:
    """The published ports, of containers that run."""
    if row["state"] not in ("running", "paused", "restarting"):
        return ""
    return ", ".join(port(each) for each in row["ports"])


def port(binding: Mapping[str, Any]) -> str:
    """`127.0.0.1:8080->80/tcp`."""
    host = binding["host_ip"]
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{binding['published']}->{binding['target']}/{binding['protocol']}"


def sizes(row: Mapping[str, Any]) -> str:
    """What it has written, and that with its image: "2B (virtual 5.6MB)"; "" where it was not measured."""
    if "size_rw" not in row:
        return ""
    return f"{size(row['size_rw'])} (virtual {size(row['size_root_fs'])})"
