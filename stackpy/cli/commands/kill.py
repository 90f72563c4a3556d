"""stackpy kill."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def signal_name(text: str) -> str:
    """A signal as the engine takes it: `SIGTERM`, `term` and `15` are TERM, TERM and 15.

    Raises ValueError for what is no signal.
    """
    from stackpy.dsl.kernel_names import signal

    return signal(text).removeprefix("SIG")


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
