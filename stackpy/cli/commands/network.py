"""stackpy network ls, inspect."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def list_networks(context: Context, arguments: Any) -> int:
    """Lists the engine's networks."""
    rows = context.engine().networks()
    if context.json:
        terminal.print_json(rows)
    elif arguments.quiet:
        for row in rows:
            print(row["name"])
    else:
        cells = [
            (
                row["name"],
                row["driver"],
                row.get("subnet", ""),
                "internal" if row.get("internal") else "",
                row["stack"] or "",
                row["resource"] or "",
            )
            for row in rows
        ]
        terminal.print_table(("NAME", "DRIVER", "SUBNET", "SCOPE", "STACK", "RESOURCE"), cells)
    return 0


def inspect(context: Context, arguments: Any) -> int:
    """Prints an array of Docker's network documents."""
    terminal.print_json([context.engine().network_inspect(name) for name in arguments.network])
    return 0


LS = Command(
    "network ls",
    "List the networks of the engine",
    list_networks,
    options=[Option("-q", "--quiet", help="only their names")],
    examples=[("stackpy network ls --format json", "as one JSON document")],
)
INSPECT = Command(
    "network inspect",
    "Show everything about networks, as JSON in Docker's shape",
    inspect,
    arguments=[Argument("NETWORK", help="a name or ID", many=True, words="network")],
    examples=[("stackpy network inspect shop_default", "its subnet and who is on it")],
)
