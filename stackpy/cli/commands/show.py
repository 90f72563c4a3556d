"""stackpy show."""

from __future__ import annotations

from stackpy.cli.commands.plan import FORMAT, show
from stackpy.cli.grammar import Argument, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints a saved plan; asks no engine and needs no stack file."""
    from stackpy.cli import saved_plans, stacks

    saved = saved_plans.read(arguments.file)
    show(saved.plan, arguments.format or context.globals.format)
    stacks.say(context, f"made by stackpy {saved.version} at {saved.time}, {saved.digest[:19]}")
    return 0


COMMAND = Command(
    "show",
    "Show a plan that was kept in a file; asks no engine",
    run,
    options=[FORMAT],
    arguments=[Argument("FILE", help="what `stackpy plan --out FILE` wrote", words="file")],
    examples=[
        ("stackpy show shop.plan", "as `stackpy plan` has shown it"),
        ("stackpy show shop.plan --format markdown", "for who reviews it"),
    ],
)
