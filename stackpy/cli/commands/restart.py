"""stackpy restart."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.commands.stop import TIME
from stackpy.cli.grammar import Argument, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Restarts each container."""
    engine = context.engine()
    return naming.for_each(context, arguments.container, lambda name: engine.restart(name, arguments.time))


COMMAND = Command(
    "restart",
    "Stop containers and start them again",
    run,
    options=[TIME],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy restart web.2", "the second replica of `web`")],
)
