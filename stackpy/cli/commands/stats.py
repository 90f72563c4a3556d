"""stackpy stats."""

from __future__ import annotations

import sys
import time

from stackpy.cli import formats, naming, stats_rows, terminal
from stackpy.cli.grammar import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from stackpy.cli.context import Context

ROUND = 1.0  # seconds from one look to the next
FIRST = 0.5  # and to the second, so that the first figures are soon there
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def run(context: Context, arguments: Any) -> int:
    """Prints what containers use, again and again, or once."""
    template = formats.chosen(context, arguments.format)
    live = not arguments.no_stream
    # A template and JSON are for programs: they are not written over what was there before.
    over = live and not context.json and (not template or template.startswith("table ")) and _is_seen()
    if over:
        sys.stdout.write(f"{_HOME}{_REST_OF_SCREEN}")
    for figures in _looks(context, arguments, live=live):
        _show(context, template, figures, arguments, over=over, live=live)
        sys.stdout.flush()
    return 0


def _is_seen() -> bool:
    return terminal.is_terminal(sys.stdout)


def _looks(context: Context, arguments: Any, *, live: bool) -> Iterator[list[dict[str, Any]]]:
    """The figures of each look but the first, which has nothing to be compared with."""
    engine = context.engine()
    before: dict[str, Any] = {}
    for number in range(sys.maxsize if live else 2):
        if number:
            time.sleep(FIRST if number == 1 else ROUND)
        rows = _containers(context, arguments)
        used = dict(zip((row["id"] for row in rows), engine.stats([row["id"] for row in rows]), strict=True))
        if number:
            yield [stats_rows.row(row, before.get(row["id"]), used[row["id"]]) for row in rows]
        before = used


def _containers(context: Context, arguments: Any) -> list[dict[str, Any]]:
    """Those that were named, running or not; without names those that run, or all with -a."""
    every = context.engine().ps(None, bool(arguments.all or arguments.container))
    if not arguments.container:
        return every
    wanted = [name for word in arguments.container for name in naming.containers(context, word)]
    rows = {row["name"]: row for row in every}
    return [rows[name] for name in dict.fromkeys(wanted) if name in rows]


def _show(
    context: Context, template: str, figures: Sequence[dict[str, Any]], arguments: Any, *, over: bool, live: bool
) -> None:
    if context.json:
        import json

        print(json.dumps(figures, indent=None if live else 2))
        return
    fields = [stats_rows.fields(each, whole=arguments.no_trunc) for each in figures]
    if template:
        lines = formats.templated(template, fields, stats_rows.HEADS)
    else:
        heads = [stats_rows.HEADS[key] for key in stats_rows.COLUMNS]
        lines = formats.aligned([heads, *([each[key] for key in stats_rows.COLUMNS] for each in fields)])
    if over:
        sys.stdout.write(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN)
    else:
        print("\n".join(lines))


COMMAND = Command(
    "stats",
    "Show what containers use of processor, memory, network and disk, as it changes",
    run,
    details=(
        "100 % of CPU is one processor. Memory is what the kernel would not give up first.\n"
        "A template of --format sees docker's fields: .Container .Name .ID .CPUPerc .MemUsage .MemPerc .NetIO\n"
        ".BlockIO .PIDs."
    ),
    options=[
        Option("-a", "--all", help="also containers that do not run"),
        Option("--no-stream", help="once"),
        Option("--no-trunc", help="whole IDs"),
        formats.option(),
    ],
    arguments=[
        Argument(
            "CONTAINER",
            help="a resource, name or ID (default: all that run)",
            many=True,
            optional=True,
            words="container",
        )
    ],
    examples=[
        ("stackpy stats", "all that run, until Ctrl-C"),
        ("stackpy stats --no-stream --format json web", "the replicas of `web` now, for a program"),
    ],
)
