"""stackpy image prune, builder prune, network prune, volume prune, system prune."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Command, Option
from stackpy.cli.quantities import moment
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from stackpy.cli.context import Context

    Row = dict[str, Any]


def images(context: Context, arguments: Any) -> int:
    """Removes images that nothing names, or with -a all that no container uses."""
    what = "all images that no container uses" if arguments.all else "all images without a name"
    _confirm(arguments.force, [what])
    until, labels = _filters(arguments.filter)
    pruned = context.engine().images_prune(arguments.all, until, labels)
    if context.json:
        terminal.print_json(pruned)
        return 0
    _print("Deleted Images", _image_lines(pruned["images"]))
    print(f"Total reclaimed space: {terminal.size(pruned['freed'])}")
    return 0


def builder(context: Context, arguments: Any) -> int:
    """Removes what builds have left for the next one."""
    _confirm(
        arguments.force, ["all build cache" if arguments.all else "all build cache but folders that RUN steps keep"]
    )
    until, labels = _filters(arguments.filter)
    if labels:
        raise UsageError("`--filter label=…`: the build cache has no labels", hint="`until=24h` is a filter of it")
    gone = context.engine().cache_prune(arguments.keep_storage or 0, until, arguments.all)
    freed = sum(row["size"] for row in gone)
    if context.json:
        terminal.print_json({"cache": gone, "freed": freed})
        return 0
    if gone:
        rows = [(row["id"][:25], row["kind"], terminal.size(row["size"])) for row in gone]
        terminal.print_table(("ID", "KIND", "SIZE"), rows)
    print(f"Total reclaimed space: {terminal.size(freed)}")
    return 0


def system(context: Context, arguments: Any) -> int:
    """Removes what no stack and no running container needs."""
    until, labels = _filters(arguments.filter)
    if arguments.volumes and until:
        raise UsageError("`--filter until=…` and `--volumes` exclude each other", hint="volumes go whatever their age")
    _confirm(
        arguments.force,
        [
            "all stopped containers that belong to no stack",
            "all networks that no container and no stack uses",
            *(["all anonymous volumes that no container uses, with their data"] if arguments.volumes else []),
            "all images that no container uses" if arguments.all else "all images without a name",
            "all build cache" if arguments.all else "all build cache but folders that RUN steps keep",
        ],
    )
    gone = context.engine().system_prune(arguments.all, arguments.volumes, until, labels)
    if context.json:
        terminal.print_json(gone)
        return 0
    _print("Deleted Containers", gone["containers"])
    _print("Deleted Networks", gone["networks"])
    _print("Deleted Volumes", gone["volumes"])
    _print("Deleted Images", _image_lines(gone["images"]))
    _print("Deleted build cache objects", [row["id"] for row in gone["cache"]])
    print(f"Total reclaimed space: {terminal.size(gone['freed'])}")
    return 0


def networks(context: Context, arguments: Any) -> int:
    """Removes networks that no container and no stack uses."""
    _confirm(arguments.force, ["all networks that no container and no stack uses"])
    until, labels = _filters(arguments.filter)
    gone = context.engine().networks_prune(until, labels)
    if context.json:
        terminal.print_json({"networks": gone})
        return 0
    _print("Deleted Networks", gone)
    return 0


def volumes(context: Context, arguments: Any) -> int:
    """Removes volumes that no container and no stack uses: anonymous ones, or with -a all."""
    which = "all" if arguments.all else "all anonymous"
    _confirm(arguments.force, [f"{which} volumes that no container and no stack uses, with their data"])
    until, labels = _filters(arguments.filter)
    if until:
        raise UsageError("`--filter until=…`: volumes go whatever their age", hint="`label=KEY` is a filter of them")
    gone = context.engine().volumes_prune(arguments.all, labels)
    if context.json:
        terminal.print_json(gone)
        return 0
    _print("Deleted Volumes", gone["volumes"])
    print(f"Total reclaimed space: {terminal.size(gone['freed'])}")
    return 0


def _image_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        lines += [f"untagged: {reference}" for reference in row["references"]]
        lines.append(f"deleted: {row['id']}")
    return lines


def _print(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"{title}:", *lines, "", sep="\n")


def _confirm(force: bool, what: Sequence[str]) -> None:
    """Asks on a terminal; elsewhere nothing is removed without --force."""
    if force:
        return
    if not sys.stdin.isatty():
        raise StackpyError("nothing is pruned without being asked for", hint="add --force, or use a terminal")
    print("This will remove:", *(f"  - {line}" for line in what), "", sep="\n", file=sys.stderr)
    print("Are you sure you want to continue? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise StackpyError("nothing was pruned")


def _filters(texts: Sequence[str]) -> tuple[str, list[tuple[str, str | None, bool]]]:
    """--filter until=…, label=KEY[=VALUE] and label!=KEY[=VALUE]; raises UsageError for others."""
    until, labels = "", []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value or key not in ("until", "label", "label!"):
            raise UsageError(
                f"`--filter {text}`: unknown filter", hint="until=24h, label=KEY, label=KEY=VALUE or label!=KEY"
            )
        if key == "until":
            if until:
                raise UsageError("`--filter until=…` is given twice", hint="leave one of them away")
            try:
                until = moment(value)
            except ValueError as error:
                raise UsageError(f"`--filter {text}`: {error}", hint="a date, or how long ago: 24h") from None
        else:
            name, has_value, wanted = value.partition("=")
            labels.append((name, wanted if has_value else None, key == "label"))
    return until, labels


def _bytes(text: str) -> int:
    from stackpy.dsl.quantities import size
    from stackpy.dsl.values import Invalid

    try:
        return int(size(text))
    except Invalid as error:
        raise ValueError(error.message) from None


_FORCE = Option("-f", "--force", help="do not ask")
_FILTER = Option(
    "--filter", metavar="FILTER", many=True, help="only what is older (until=24h), or has a label (label=KEY[=VALUE])"
)
_ALL_IMAGES = Option("-a", "--all", help="all images that no container uses, not only those without a name")
_KEPT = "Images that a kept generation of a stack may be rolled back to stay; so does what a running build uses."

IMAGES = Command(
    "image prune",
    "Remove images that nothing names, or that no container uses",
    images,
    details=_KEPT,
    options=[_ALL_IMAGES, _FILTER, _FORCE],
    examples=[("stackpy image prune -a --filter until=720h", "of those, only what was made more than a month ago")],
)
BUILDER = Command(
    "builder prune",
    "Remove what builds have left for the next one",
    builder,
    details="Without --all the folders stay that RUN steps keep (downloads of package managers, compilers' caches).",
    options=[
        Option("-a", "--all", help="also folders that RUN steps keep"),
        Option(
            "--keep-storage",
            metavar="BYTES",
            convert=_bytes,
            help="leave so much of it, what was used last: 10GB",
        ),
        _FILTER,
        _FORCE,
    ],
    examples=[("stackpy builder prune -f --keep-storage 5GB", "the oldest, until 5 GB are left")],
)
_STACKS = "What belongs to a stack stays: `stackpy destroy` removes it."
NETWORKS = Command(
    "network prune",
    "Remove networks that no container uses",
    networks,
    details=_STACKS,
    options=[_FILTER, _FORCE],
    examples=[("stackpy network prune -f --filter until=24h", "only what is older than a day, without asking")],
)
VOLUMES = Command(
    "volume prune",
    "Remove volumes that no container uses, with their data",
    volumes,
    details=_STACKS,
    options=[
        Option("-a", "--all", help="also those that have a name"),
        Option("--filter", metavar="FILTER", many=True, help="only what has a label (label=KEY[=VALUE])"),
        _FORCE,
    ],
    examples=[("stackpy volume prune", "those that `run` has made for one container, and that it has left")],
)
SYSTEM = Command(
    "system prune",
    "Remove what no stack and no container needs",
    system,
    details=f"{_KEPT}\n{_STACKS}",
    options=[
        Option("-a", "--all", help="all images that no container uses, and all build cache"),
        Option("--volumes", help="also anonymous volumes that no container uses, with their data"),
        _FILTER,
        _FORCE,
    ],
    examples=[("stackpy system prune -a", "everything that can be pulled or built again")],
)
