"""stackpy rm."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Removes each container."""
    engine = context.engine()
    return naming.for_each(
        context,
        arguments.container,
        lambda name: engine.remove(name, arguments.force, arguments.volumes),
        # Docker's rule: what is not there cannot be in the way of whoever forces.
        missing_fails=not arguments.force,
    )


COMMAND = Command(
    "rm",
    "Remove containers",
    run,
    options=[
        Option("-f", "--force", help="kill those that run; one that is not there is no failure"),
        Option("-v", "--volumes", help="remove their anonymous volumes too"),
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy rm -f trial", "remove it whether it runs or not")],
    refused=dict.fromkeys(("-l", "--link"), ("containers have no links", "leave it out")),
)
