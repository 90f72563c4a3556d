"""stackpy wait."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints the exit code of each container once it has one, in the order asked for."""
    engine = context.engine()
    targets = [container for name in arguments.container for container in naming.containers(context, name)]
    for container in targets:
        print(engine.wait_exit(container), flush=True)
    return 0


COMMAND = Command(
    "wait",
    "Wait until containers have exited, and print their exit codes",
    run,
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy wait migrate", "0 when the job has gone well")],
)
