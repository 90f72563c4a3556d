"""stackpy logs."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import moment, tail
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints what containers wrote."""
    from stackpy.cli.log_lines import follow, merged, show

    names = _names(context, arguments.container)
    engine = context.engine()
    options = {"tail": arguments.tail, "since": arguments.since, "until": arguments.until}
    sources = {name: engine.logs(name, follow=arguments.follow, **options) for name in names}
    lines = follow(sources) if arguments.follow and len(sources) > 1 else merged(sources)
    show(lines, names if len(names) > 1 else [], timestamps=arguments.timestamps)
    return 0


def _names(context: Context, wanted: list[str]) -> list[str]:
    if wanted:
        return list(dict.fromkeys(container for name in wanted for container in naming.containers(context, name)))
    stack = context.stack_name()
    if not stack:
        raise UsageError(
            "`stackpy logs` needs a CONTAINER outside of a stack's folder", hint="`stackpy ps` lists the containers"
        )
    return [row["name"] for row in context.engine().ps(stack, True)]


COMMAND = Command(
    "logs",
    "Show what containers wrote",
    run,
    details="Without a name: all containers of the stack in this folder.",
    options=[
        Option("-f", "--follow", help="go on as they write"),
        Option("-n", "--tail", metavar="LINES", convert=tail, help="only the last lines of each (or all)"),
        Option("--since", metavar="TIME", convert=moment, help='only what is newer: "10m", "2026-01-31T12:00:00Z"'),
        Option("--until", metavar="TIME", convert=moment, help="only what is older"),
        Option("-t", "--timestamps", help="the time before each line"),
    ],
    arguments=[
        Argument("CONTAINER", help="a resource, name or ID", many=True, optional=True, words="container"),
    ],
    examples=[
        ("stackpy logs -f web", "every replica of `web`, as it goes on"),
        ("stackpy logs --since 10m --tail 20", "of each container of this stack"),
    ],
)
