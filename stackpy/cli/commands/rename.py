"""stackpy rename."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Gives one container another name."""
    found = naming.containers(context, arguments.container)
    if len(found) > 1:
        raise StackpyError(
            f"`{arguments.container}` means {len(found)} containers", hint=f"name one of them: {', '.join(found)}"
        )
    context.engine().rename(found[0], arguments.name)
    return 0


COMMAND = Command(
    "rename",
    "Give a container another name",
    run,
    details=(
        "Other containers find it under its new name at once. A replica of a stack is known by its labels: it stays\n"
        "one, under whatever name."
    ),
    arguments=[
        Argument("CONTAINER", help="a resource, name or ID", words="container"),
        Argument("NAME", help="the new name"),
    ],
    examples=[("stackpy rename glad_owl_12 trial", "a name that can be remembered")],
)
