"""stackpy stop."""

from __future__ import annotations

from stackpy.cli import naming, terminal
from stackpy.cli.commands.kill import signal_name
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def grace(text: str) -> float:
    """Seconds; docker's -1 is as long as it takes."""
    return -1.0 if text == "-1" else seconds(text)


TIME = Option(
    "-t",
    "--time",
    "--timeout",
    metavar="SECONDS",
    convert=grace,
    help="grace period before SIGKILL, -1 without one (default: the container's)",
)
SIGNAL = Option(
    "-s", "--signal", metavar="SIGNAL", convert=signal_name, default="", help="another than its stop signal"
)


def run(context: Context, arguments: Any) -> int:
    """Stops each container."""
    engine = context.engine()

    def stop(name: str) -> None:
        tell(name, engine.stop(name, arguments.timeout, arguments.signal))

    return naming.for_each(context, arguments.container, stop)


def tell(name: str, how: str) -> None:
    """Says of a container why it had to be killed, if it had."""
    if how:
        terminal.note(f"{name}: {how}")


COMMAND = Command(
    "stop",
    "Stop containers: their stop signal, then SIGKILL",
    run,
    options=[TIME, SIGNAL],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[
        ("stackpy stop web", "every replica of `web`"),
        ("stackpy stop -t 1 shop-web-1", "with one second's grace"),
    ],
)
