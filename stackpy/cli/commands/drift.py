"""stackpy drift."""

from __future__ import annotations

from stackpy.cli import stacks, terminal
from stackpy.cli.commands.plan import CHANGES
from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints what is otherwise than the last apply left it; touches nothing."""
    from stackpy.render import drift

    context.read_only = True

    planned = context.refreshed()
    plan = planned.plan
    stacks.say_who_changes(context, planned.stack.name)
    if context.json:
        terminal.print_json(drift.drift_document(plan))
    else:
        print(drift.drift_text(plan))
    return CHANGES if arguments.detailed_exitcode and plan.changes else 0


COMMAND = Command(
    "drift",
    "Show what somebody has changed since the last apply",
    run,
    details=(
        "Compares what the engine has with what was applied, whatever the stack file says by now. Nothing is changed:\n"
        "`stackpy apply` brings back what the stack file says."
    ),
    stack=True,
    options=[Option("--detailed-exitcode", help="exit with 2 when there is drift")],
    examples=[
        ("stackpy drift", "after somebody was on the host"),
        ("stackpy drift --detailed-exitcode", "in a nightly job"),
    ],
)
