"""stackpy start."""

from __future__ import annotations

from stackpy.cli import naming, terminal, terminal_options
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Starts each container, and before it what it depends on; one that is attached gives its exit code."""
    engine = context.engine()

    def start(name: str) -> None:
        if not arguments.no_deps:
            engine.meet(name, terminal.note)
        engine.start(name)

    if not (arguments.attach or arguments.interactive):
        return naming.for_each(context, arguments.container, start)
    name = _only(context, arguments.container)
    if not arguments.no_deps:
        engine.meet(name, terminal.note)
    code = engine.attach(name, terminal_options.attaching(arguments, stdin=arguments.interactive), start=True)
    return 0 if code is None else code  # None: left by its keys, and it goes on


def _only(context: Context, names: list[str]) -> str:
    """The one container that can be attached."""
    if len(names) > 1:
        raise UsageError("only one container can be started with `-a` or `-i`", hint="start the others before")
    found = naming.containers(context, names[0])
    if len(found) > 1:
        raise UsageError(
            f"`{names[0]}` has {len(found)} replicas, and only one can be started with `-a` or `-i`",
            hint=f"name one of them, as in `{found[0]}`",
        )
    return found[0]


NO_DEPS = Option("--no-deps", help="neither start nor wait for what it depends on")


COMMAND = Command(
    "start",
    "Start stopped containers",
    run,
    details="What a container of a stack depends on is started first, and its conditions waited for, as in an apply.",
    options=[
        Option("-a", "--attach", help="attach what it writes, and pass signals on; its exit code is ours"),
        Option("-i", "--interactive", help="pass standard input on, where it was made with -i"),
        terminal_options.DETACH_KEYS,
        NO_DEPS,
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[
        ("stackpy start web", "every replica of the stack's `web`"),
        ("stackpy start -ai trial", "on with a shell that had ended"),
    ],
    refused=dict.fromkeys(
        ("--checkpoint", "--checkpoint-dir"),
        ("containers are not frozen to disk", "`stackpy commit` keeps their files"),
    ),
)
