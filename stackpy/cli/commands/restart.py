"""stackpy restart."""

from __future__ import annotations

from stackpy.cli import naming, terminal
from stackpy.cli.commands.start import NO_DEPS
from stackpy.cli.commands.stop import SIGNAL, TIME, tell
from stackpy.cli.grammar import Argument, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Restarts each container when what it depends on is there, then what asks to be restarted with it."""
    engine = context.engine()
    done: list[str] = []

    def restart(name: str) -> None:
        if not arguments.no_deps:
            engine.meet(name, terminal.note)
        tell(name, engine.restart(name, arguments.timeout, arguments.signal))
        done.append(name)

    failed = naming.for_each(context, arguments.container, restart)
    for name in [] if arguments.no_deps else engine.dependents(done):
        terminal.note(f"restarting {name}, which depends on what was restarted")
        engine.meet(name, terminal.note)
        tell(name, engine.restart(name, arguments.timeout, arguments.signal))
    return failed


COMMAND = Command(
    "restart",
    "Stop containers and start them again",
    run,
    details=(
        "What a container of a stack depends on is started first where it does not run. Afterwards those are\n"
        "restarted that depend on it with `restart`: True."
    ),
    options=[TIME, SIGNAL, NO_DEPS],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy restart web.2", "the second replica of `web`")],
)
