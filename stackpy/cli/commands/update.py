"""stackpy update."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.resource_options import LIMITS, asked
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Changes each container while it runs."""
    wanted = changes(arguments)
    engine = context.engine()
    return naming.for_each(context, arguments.container, lambda name: engine.update(name, wanted))


def changes(arguments: Any) -> dict[str, Any]:
    """What is to change: field → value, None to take it away. Raises UsageError where nothing is."""
    found = asked(arguments)
    if arguments.restart is not None:
        from stackpy.cli.run_config import restart_policy

        found["restart"] = restart_policy(arguments.restart)
    if not found:
        raise UsageError("`stackpy update` was told nothing to change", hint="as in `stackpy update --memory 1g web`")
    return found


COMMAND = Command(
    "update",
    "Change the limits and the restart policy of containers while they run",
    run,
    details=(
        "0 takes a limit away (of --pids-limit also -1; of --memory-swap -1 is as much swap as there is). Where the\n"
        "kernel refuses one, nothing has changed. What a stack file says of its containers is what the next apply\n"
        "makes of them again."
    ),
    options=[
        *LIMITS,
        Option("--restart", metavar="POLICY", help="no, on-failure[:N], always or unless-stopped"),
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[
        ("stackpy update --memory 1g --cpus 2 web", "every replica of `web`, at once and without a restart"),
        ("stackpy update --restart unless-stopped trial", "from its next end on"),
    ],
)
