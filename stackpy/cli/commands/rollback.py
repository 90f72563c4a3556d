"""stackpy rollback."""

from __future__ import annotations

from stackpy.cli import stacks
from stackpy.cli.commands.apply import LOCK_TIMEOUT, YES
from stackpy.cli.commands.history import GENERATION, STACK, number, stack
from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Shows what would become as it was, asks, and makes it so."""
    from stackpy.applying import reviving
    from stackpy.cli.context import Planned
    from stackpy.planning import refusals
    from stackpy.planning.comparison import diff
    from stackpy.planning.weighing import weighed

    wanted = None if arguments.generation is None else number(arguments.generation)
    name, engine = stack(context, arguments), context.engine()
    with stacks.locked(context, name, "rollback", arguments.lock_timeout):
        document = reviving.choose(engine.history(name), wanted)
        desired = reviving.revived(document)
        engine.revive(desired, document.get("image_ids", {}))
        observation = reviving.as_built(engine.observe(desired.stack.name), desired)
        judging = desired.stack._replace(policies=context.policies())
        plan = weighed(diff(desired, observation), judging, observation, engine.took)
        stacks.say(context, f"to generation {document['generation']}, of {document['time']}")
        stacks.show_before(plan, context, yes=arguments.yes)
        if arguments.dry_run or not plan.changes:
            return 0
        refusals.check(plan)
        if plan.denials:
            from stackpy.planning.judging import refuse_denied

            refuse_denied(plan)
        stacks.agree("apply this plan?", arguments.yes)
        # What is asked of a project here are values of secrets.
        planned = Planned(plan, desired, _Sources(desired), observation)  # type: ignore[arg-type]
        code = stacks.execute(context, planned, rolled_back_to=int(document["generation"]))
    if code == 0:
        stacks.say(context, "the stack file still says something else: the next apply goes there again")
    return code


class _Sources:
    """What carrying out a plan asks of a project: the values of secrets that have gone, from where they came."""

    def __init__(self, desired: Any) -> None:
        from stackpy.project.secrets import SecretValues

        resources = desired.stack.resources.values()
        sources = {spec.name: spec.fields["source"] for spec in resources if spec.kind == "secret"}
        self.secrets = SecretValues(sources, desired.stack.folder)


COMMAND = Command(
    "rollback",
    "Make what runs what an earlier generation was",
    run,
    stack=True,
    arguments=[GENERATION],
    options=[
        YES,
        Option("--dry-run", help="show the plan alone"),
        STACK,
        LOCK_TIMEOUT,
    ],
    details=(
        "Without a number to the last apply that succeeded before the one that is there. Shows the plan and asks.\n"
        "Images are those that ran then, and are not built again; data in volumes stays as it is, and secrets have\n"
        "the value that they have now."
    ),
    examples=[
        ("stackpy rollback", "to what was there before the last apply"),
        ("stackpy rollback 4 --dry-run", "what would change to be generation 4 again"),
    ],
)
