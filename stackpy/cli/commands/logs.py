"""stackpy logs."""

from __future__ import annotations

from stackpy.cli import naming, terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import moment, tail
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints what containers wrote."""
    from stackpy.cli.log_lines import follow, merged, pass_through, show

    names = _names(context, arguments.container)
    engine = context.engine()
    options = {"tail": arguments.tail, "since": arguments.since, "until": arguments.until, "follow": arguments.follow}
    if len(names) == 1 and not arguments.timestamps and not arguments.details:
        pass_through(engine.output(names[0], **options))
        return 0
    sources = {name: engine.logs(name, **options) for name in names}
    if arguments.details:
        sources = {name: _detailed(lines, engine.log_attributes(name)) for name, lines in sources.items()}
    lines = follow(sources) if arguments.follow and len(sources) > 1 else merged(sources)
    heads = names if len(names) > 1 and not arguments.no_log_prefix else []
    show(lines, heads, timestamps=arguments.timestamps, live=arguments.follow, colour=not arguments.no_color)
    return 0


def _detailed(lines: Iterator[dict[str, Any]], attributes: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Lines with `tag` and labels in front, as docker shows them: sorted, `key=value` with commas between."""
    from urllib.parse import quote

    head = ",".join(f"{quote(key)}={quote(value)}" for key, value in sorted(attributes.items()))
    for line in lines:
        yield {**line, "text": f"{head} {line['text']}"}


def _names(context: Context, wanted: list[str]) -> list[str]:
    if wanted:
        return list(dict.fromkeys(container for name in wanted for container in naming.containers(context, name)))
    stack = context.stack_name()
    if not stack:
        raise UsageError(
            "`stackpy logs` needs a CONTAINER outside of a stack's folder", hint="`stackpy ps` lists the containers"
        )
    if guess := context.guess_text():
        terminal.note(guess)
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
        Option("--details", help="before each line what `logging` adds to it: tag and labels"),
        Option("--no-log-prefix", help="without the names of several containers in front"),
        Option("--no-color", help="the names without colour"),
    ],
    arguments=[
        Argument("CONTAINER", help="a resource, name or ID", many=True, optional=True, words="container"),
    ],
    examples=[
        ("stackpy logs -f web", "every replica of `web`, as it goes on"),
        ("stackpy logs --since 10m --tail 20", "of each container of this stack"),
    ],
)
