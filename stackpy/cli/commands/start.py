"""stackpy start."""

from __future__ import annotations

from stackpy.cli import naming, terminal
from stackpy.cli.grammar import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Starts each container, and before it what it depends on."""
    engine = context.engine()

    def start(name: str) -> None:
        if not arguments.no_deps:
            engine.meet(name, terminal.note)
        engine.start(name)

    return naming.for_each(context, arguments.container, start)


NO_DEPS = Option("--no-deps", help="neither start nor wait for what it depends on")


COMMAND = Command(
    "start",
    "Start stopped containers",
    run,
    details="What a container of a stack depends on is started first, and its conditions waited for, as in an apply.",
    options=[NO_DEPS],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy start web", "every replica of the stack's `web`"), ("stackpy start shop-web-2", "one of them")],
)
