"""stackpy ls."""

from __future__ import annotations

from stackpy.cli.grammar import Command, Option
from stackpy.cli.rows import column, print_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


_COLUMNS = (
    column("NAME", "name"),
    column("ENGINE", "engine"),
    column("GENERATION", "generation"),
    column("RESOURCES", "resources"),
    column("RUNNING", "running"),
)


def run(context: Context, arguments: Any) -> int:
    """Lists the stacks of this engine."""
    context.read_only = True
    return print_rows(context, context.engine().stacks(), _COLUMNS, quiet=arguments.quiet)


COMMAND = Command(
    "ls",
    "List the stacks of the engine",
    run,
    options=[Option("-q", "--quiet", help="only their names")],
    examples=[("stackpy ls", "what has been applied here and not been destroyed")],
)
