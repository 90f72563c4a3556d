"""stackpy ls."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Lists the stacks of this engine."""
    rows = context.engine().stacks()
    if context.json:
        terminal.print_json(rows)
    elif arguments.quiet:
        for row in rows:
            print(row["name"])
    else:
        cells = [
            (row["name"], row["engine"], str(row["generation"]), str(row["resources"]), str(row["running"]))
            for row in rows
        ]
        terminal.print_table(("NAME", "ENGINE", "GENERATION", "RESOURCES", "RUNNING"), cells)
    return 0


COMMAND = Command(
    "ls",
    "List the stacks of the engine",
    run,
    options=[Option("-q", "--quiet", help="only their names")],
    examples=[("stackpy ls", "what has been applied here and not been destroyed")],
)
