"""stackpy kill."""

from __future__ import annotations

from typing import Any

from stackpy.cli import naming
from stackpy.cli.context import Context
from stackpy.cli.grammar import Argument, Command, Option


def signal_name(text: str) -> str:
    """A signal as the engine takes it: `SIGTERM`, `term` and `15` are TERM.

    Raises ValueError for what is no signal.
    """
    import signal  # enum and functools come along: 5 ms

    name = text.upper().removeprefix("SIG")
    if name.isdigit() and int(name) in {int(each) for each in signal.Signals}:
        return signal.Signals(int(name)).name.removeprefix("SIG")
    if f"SIG{name}" not in signal.Signals.__members__:
        raise ValueError("no such signal")
    return name


def run(context: Context, arguments: Any) -> int:
    """Signals each container."""
    engine = context.engine()
    return naming.for_each(context, arguments.container, lambda name: engine.kill(name, arguments.signal))


COMMAND = Command(
    "kill",
    "Send a signal to containers",
    run,
    options=[
        Option(
            "-s",
            "--signal",
            metavar="SIGNAL",
            convert=signal_name,
            default="KILL",
            help="name or number (default: KILL)",
        )
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[("stackpy kill -s HUP web", "make every replica of `web` read its configuration again")],
)
