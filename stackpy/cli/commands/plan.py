"""stackpy plan."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

CHANGES = 2  # the exit code of --detailed-exitcode when there are any
TARGET = Option(
    "--target", metavar="ADDRESS", many=True, help="only this resource and what it depends on", words="resource"
)


def run(context: Context, arguments: Any) -> int:
    """Prints the plan; touches nothing."""
    planned = context.plan(arguments.target)
    show(planned.plan, as_json=context.json)
    return CHANGES if arguments.detailed_exitcode and planned.plan.changes else 0


def show(plan: Any, *, as_json: bool) -> None:
    """The plan on stdout."""
    if as_json:
        from stackpy.render.plan_json import plan_json

        print(plan_json(plan))
    else:
        from stackpy.render.plan_text import plan_text

        print(plan_text(plan, terminal.width(sys.stdout), colour=terminal.has_colour(sys.stdout)))


COMMAND = Command(
    "plan",
    "Show what apply would change, and why",
    run,
    stack=True,
    options=[TARGET, Option("--detailed-exitcode", help="exit with 2 when there are changes")],
    examples=[
        ("stackpy plan", "compares stack.py with what really runs"),
        ("stackpy plan -e production --format json", "for programs"),
    ],
)
