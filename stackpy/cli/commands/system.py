"""stackpy system check, df, info."""

from __future__ import annotations

import sys

from stackpy.cli import formats, terminal
from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def check(context: Context, arguments: Any) -> int:
    """Says what this host can and cannot do; exit code 1 when the engine cannot work on it."""
    from stackpy.cli import systemd_units

    findings = [*context.engine().check(), systemd_units.finding(context.engine().root)]
    missing = [finding for finding in findings if finding["required"] and not finding["ok"]]
    if context.json:
        terminal.print_json(findings)
        return int(bool(missing))
    width = max((len(finding["name"]) for finding in findings), default=0)
    for finding in findings:
        word, colour = ("ok", "32") if finding["ok"] else ("no", "31") if finding["required"] else ("--", "33")
        print(f"{terminal.paint(word, colour, sys.stdout)}  {finding['name']:<{width}}  {finding['detail']}".rstrip())
        if not finding["ok"] and finding["remedy"]:
            print(f"    {'':<{width}}  → {finding['remedy']}")
    if missing:
        terminal.note(f"\nthis host lacks {len(missing)} of what the engine needs; → shows what mends it")
    else:
        terminal.note("\nthe engine can work on this host")
    return int(bool(missing))


def df(context: Context, arguments: Any) -> int:
    """Says what takes how much of the disk, in docker's columns."""
    template = formats.chosen(context, arguments.format)
    usage = context.engine().system_df()
    if context.json:
        terminal.print_json(usage)
        return 0
    if arguments.verbose:
        _print_all(usage)
        return 0
    from stackpy.cli import listing_rows

    fields = [listing_rows.disk(row) for row in usage["summary"]]
    if template:
        return formats.print_templated(template, fields, listing_rows.DISK_HEADS)
    terminal.print_table(list(listing_rows.DISK_HEADS.values()), [list(each.values()) for each in fields])
    return 0


def _print_all(usage: dict[str, Any]) -> None:
    import time

    from stackpy.cli.commands.image import age, short
    from stackpy.engines.listings import period, status

    size, now = terminal.size, time.time()
    print("Images space usage:\n")
    terminal.print_table(
        ("REFERENCE", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"),
        [
            (
                ", ".join(row["references"]) or "<none>",
                short(row["id"]),
                age(row["created"]),
                size(row["size"]),
                size(row["shared"]),
                size(row["unique"]),
                str(row["containers"]),
            )
            for row in usage["images"]
        ],
    )
    print("\nContainers space usage:\n")
    terminal.print_table(
        ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"),
        [
            (
                short(row["id"]),
                short(row["image"]) if row["image"].startswith("sha256:") else row["image"],
                " ".join(row["command"])[:20],
                str(row["volumes"]),
                size(row["size"]),
                age(row["created"]),
                status(row["state"], now),
                row["name"],
            )
            for row in usage["containers"]
        ],
    )
    print("\nLocal Volumes space usage:\n")
    terminal.print_table(
        ("VOLUME NAME", "LINKS", "SIZE", "SNAPSHOTS"),
        [
            (row["name"], str(row["links"]), size(row["size"]), size(row["snapshots"]) if row["snapshots"] else "")
            for row in usage["volumes"]
        ],
    )
    cached = next(row["size"] for row in usage["summary"] if row["type"] == "Build Cache")
    print(f"\nBuild cache usage: {size(cached)}\n")
    terminal.print_table(
        ("CACHE ID", "CACHE TYPE", "SIZE", "LAST USED"),
        [
            (row["id"][:25], row["kind"], size(row["size"]), f"{period(now - row['used'])} ago")
            for row in usage["cache"]
        ],
    )


CHECK = Command(
    "system check",
    "Say what this host can and cannot do, and the command that mends it",
    check,
    examples=[("sudo stackpy system check", "before the first apply, or when something does not work")],
)


def info(context: Context, arguments: Any) -> int:
    """Says what the engine is, holds and runs on."""
    found = context.engine().system_info()
    if context.json:
        terminal.print_json(found)
        return 0
    rows = [
        ("Containers", found["Containers"]),
        (" Running", found["ContainersRunning"]),
        (" Stopped", found["ContainersStopped"]),
        ("Images", found["Images"]),
        ("Storage Driver", found["Driver"]),
        *((f" {name}", text) for name, text in found["DriverStatus"]),
        ("Cgroup Version", found["CgroupVersion"]),
        ("Kernel Version", found["KernelVersion"]),
        ("Operating System", found["OperatingSystem"]),
        ("Architecture", found["Architecture"]),
        ("CPUs", found["NCPU"]),
        ("Total Memory", terminal.size(found["MemTotal"])),
        ("Name", found["Name"]),
        ("Root Dir", found["DockerRootDir"]),
    ]
    for name, value in rows:
        print(f"{name}: {value}")
    return 0


INFO = Command(
    "system info",
    "Show what the engine is, holds and runs on",
    info,
    examples=[("stackpy system info", "how many containers and images, and where everything is stored")],
)
DF = Command(
    "system df",
    "Show what takes how much of the disk",
    df,
    details="Sizes are those on disk, as `du` counts them; what images share is counted once.",
    options=[
        formats.option(),
        Option("-v", "--verbose", help="every image, container, volume and entry of the build cache"),
    ],
    examples=[("stackpy system df -v", "before a prune")],
)
