"""stackpy plan."""

from __future__ import annotations

import sys

from stackpy.cli import stacks, terminal
from stackpy.cli.grammar import Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context, Planned
    from stackpy.planning.plan import Plan
    from stackpy.planning.targeting import Selection

CHANGES = 2  # the exit code of --detailed-exitcode when there are any
FORMAT = Option(
    "--format",
    metavar="FORMAT",
    choices=("text", "json", "markdown", "html", "dot", "mermaid"),
    help="text, json, markdown (for a review), html (a page), dot or mermaid (the graph)",
)
SELECTING = (
    Option("--target", metavar="ADDRESS", many=True, help="only this and what it depends on", words="resource"),
    Option("--exclude", metavar="ADDRESS", many=True, help="all but this and what waits for it", words="resource"),
    Option("--replace", metavar="ADDRESS", many=True, help="make this anew although nothing differs", words="resource"),
    Option("--destroy", help="remove the stack, or the targets and what depends on them; volumes are kept"),
    Option("--refresh-only", help="only what is otherwise than the last apply left it; changes nothing"),
)


def run(context: Context, arguments: Any) -> int:
    """Prints the plan; touches nothing."""
    context.read_only = True
    chosen = selection(arguments)
    if arguments.refresh_only:
        planned = context.refreshed()
    else:
        planned = context.destruction(chosen) if arguments.destroy else context.plan(chosen)
    if arguments.check_updates:
        planned.plan = _with_news(context, planned)
    stacks.say_who_changes(context, planned.stack.name)
    form = arguments.format or context.globals.format
    with context.times("render"):
        if form != "text" or arguments.out:
            planned.plan = planned.attributed()
        show(planned.plan, form)
    if context.globals.verbose:
        terminal.note(context.times.text())
    if planned.plan.denials:
        from stackpy.planning.judging import refuse_denied

        refuse_denied(planned.plan)
    if planned.plan.refusals:
        return 1
    if arguments.out:
        from stackpy.cli import saved_plans

        digest = saved_plans.write(context, arguments.out, planned, chosen, destroy=arguments.destroy)
        stacks.say(context, f"saved as {arguments.out} ({digest[:19]}): `stackpy apply {arguments.out}` does just this")
    return CHANGES if arguments.detailed_exitcode and (planned.plan.changes or planned.plan.outputs) else 0


def selection(arguments: Any) -> Selection:
    """What --target, --exclude and --replace say; raises UsageError for what contradicts itself."""
    from stackpy.planning.targeting import Selection

    chosen = Selection(tuple(arguments.target), tuple(arguments.exclude), tuple(arguments.replace))
    if arguments.destroy and chosen.replaces:
        raise UsageError("`--destroy` makes nothing anew", hint="leave out `--replace`")
    if arguments.refresh_only and (any(chosen) or arguments.destroy):
        raise UsageError(
            "`--refresh-only` changes nothing, so that there is nothing to choose", hint="leave out one of them"
        )
    if arguments.refresh_only and getattr(arguments, "out", None):
        raise UsageError("`--refresh-only` changes nothing: there is nothing to keep", hint="leave out `--out`")
    return chosen


def _with_news(context: Context, planned: Planned) -> Plan:
    """The plan with a note for each image whose tag names another one in its registry by now."""
    from stackpy.cli import locking

    news = [
        f"{locking.moved_text(*one)} in its registry; `stackpy lock --update {one[0]}` takes it"
        for one in locking.moved(context, planned.desired)
    ]
    return planned.plan._replace(notes=(*planned.plan.notes, *news))


def show(plan: Plan, form: str) -> None:
    """The plan on stdout.

    form: as FORMAT has them
    """
    if form == "text":
        from stackpy.render.plan_text import plan_text

        print(plan_text(plan, terminal.width(sys.stdout), colour=terminal.has_colour(sys.stdout)))
    else:
        from stackpy.render.plan_forms import plan_as

        print(plan_as(form, plan))


COMMAND = Command(
    "plan",
    "Show what apply would change, and why",
    run,
    stack=True,
    options=[
        *SELECTING,
        FORMAT,
        Option("--out", metavar="FILE", help="keep the plan in a file that `apply FILE` carries out", words="file"),
        Option("--detailed-exitcode", help="exit with 2 when there are changes"),
        Option("--check-updates", help="ask the registries whether tags name other images by now"),
    ],
    examples=[
        ("stackpy plan", "compares stack.py with what really runs"),
        ("stackpy plan --out shop.plan", "to be read, agreed to and applied as it is: `stackpy apply shop.plan`"),
        ("stackpy plan --check-updates", "what `stackpy lock --update` would move"),
        ("stackpy plan -e production --format json", "for programs"),
        ("stackpy plan --format markdown | gh pr comment --body-file -", "for who reviews the change"),
        ("stackpy plan --format html > plan.html", "one page with graph, reasons and differences"),
    ],
)
