"""stackpy validate."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Loads the stack file: whatever is wrong with it is raised, all at once."""
    stack = context.load().stack
    if context.json:
        terminal.print_json({"stack": stack.name, "resources": list(stack.resources), "outputs": list(stack.outputs)})
    else:
        from stackpy.planning.quantities import plural

        print(f"{stack.name}: {plural(len(stack.resources), 'resource')}, nothing wrong")
    return 0


COMMAND = Command(
    "validate",
    "Check the stack file and everything that it names; asks no engine",
    run,
    stack=True,
    examples=[("stackpy validate -e production", "with the variables of an environment")],
)
