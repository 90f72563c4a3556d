"""stackpy pause, unpause."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def pause(context: Context, arguments: Any) -> int:
    """Pauses each container."""
    return naming.for_each(context, arguments.container, context.engine().pause)


def unpause(context: Context, arguments: Any) -> int:
    """Has each container go on."""
    return naming.for_each(context, arguments.container, context.engine().unpause)


_CONTAINERS = Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")
PAUSE = Command(
    "pause",
    "Have all processes of containers stand still",
    pause,
    details="A signal that may end it (`stop`, `kill`, `rm -f`) has a paused container go on first.",
    arguments=[_CONTAINERS],
    examples=[("stackpy pause db", "until `stackpy unpause db`; it keeps its memory and its connections")],
)
UNPAUSE = Command(
    "unpause",
    "Have paused containers go on",
    unpause,
    arguments=[_CONTAINERS],
    examples=[("stackpy unpause db", "it goes on where it stood")],
)
