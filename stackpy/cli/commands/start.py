"""stackpy start."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Starts each container."""
    return naming.for_each(context, arguments.container, context.engine().start)


COMMAND = Command(
    "start",
    "Start stopped containers",
    run,
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy start web", "every replica of the stack's `web`"), ("stackpy start shop-web-2", "one of them")],
)
