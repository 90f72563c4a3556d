"""stackpy ps."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

SHORT_ID = 12  # docker's


def run(context: Context, arguments: Any) -> int:
    """Lists containers."""
    rows = context.engine().ps(arguments.stack, not arguments.running)
    if context.json:
        terminal.print_json(rows)
    elif arguments.quiet:
        for row in rows:
            print(row["id"][:SHORT_ID])
    else:
        heads = ("NAME", "IMAGE", "STATUS", "PORTS", "STACK", "RESOURCE", "ID")
        terminal.print_table(heads, [_cells(row) for row in rows])
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ports = row["ports"]
    shown = (
        ports if isinstance(ports, str) else ", ".join(port if isinstance(port, str) else _port(port) for port in ports)
    )
    return (
        row["name"],
        row["image"],
        row["status"],
        shown,
        row["stack"] or "",
        row["resource"] or "",
        row["id"][:SHORT_ID],
    )


def _port(port: dict[str, Any]) -> str:
    return f"{port['host_ip']}:{port['published']}->{port['target']}/{port['protocol']}"


COMMAND = Command(
    "ps",
    "List the containers of the engine, those that have ended too",
    run,
    options=[
        Option("-a", "--all", help="all of them (the default)"),
        Option("--running", help="only those that run"),
        Option("--stack", metavar="NAME", help="only those of a stack", words="stack"),
        Option("-q", "--quiet", help="only their IDs"),
    ],
    examples=[
        ("stackpy ps", "every container"),
        ("stackpy ps --stack shop --format json", "those of one stack, as JSON"),
    ],
)
