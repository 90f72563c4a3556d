"""stackpy stop."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

TIME = Option(
    "-t", "--time", metavar="SECONDS", convert=seconds, help="grace period before SIGKILL (default: the container's)"
)


def run(context: Context, arguments: Any) -> int:
    """Stops each container."""
    engine = context.engine()
    return naming.for_each(context, arguments.container, lambda name: engine.stop(name, arguments.time))


COMMAND = Command(
    "stop",
    "Stop containers: their stop signal, then SIGKILL",
    run,
    options=[TIME],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[
        ("stackpy stop web", "every replica of `web`"),
        ("stackpy stop -t 1 shop-web-1", "with one second's grace"),
    ],
)
