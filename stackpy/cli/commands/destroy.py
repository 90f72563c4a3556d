"""stackpy destroy."""

from __future__ import annotations

from stackpy.cli import stacks
from stackpy.cli.changing_options import ALLOW_DATA_LOSS, LOCK_TIMEOUT, YES
from stackpy.cli.grammar import Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from stackpy.cli.context import Context
    from stackpy.planning.snapshots import Snapshot


def run(context: Context, arguments: Any) -> int:
    """Shows what would go and what is kept, asks, and removes it."""
    from stackpy.engines.completing import completed
    from stackpy.planning import destroy_plan, refusals

    name = arguments.stack or context.known_name()
    if not name:
        raise UsageError("there is no stack file here", hint="name the stack: `stackpy destroy --stack NAME`")
    if not arguments.stack and (guess := context.guess_text()):
        stacks.say(context, guess)
    engine = context.engine()
    with stacks.locked(context, name, "destroy", arguments.lock_timeout):
        observation = engine.observe(name)
        plan = destroy_plan(observation, volumes=arguments.volumes, images=arguments.images)
        plan = completed(plan, {}, engine)
        if arguments.images and not arguments.volumes:
            plan = plan._replace(notes=(*plan.notes, *_snapshots(engine.snapshots(name))))
        if arguments.stack and not observation.generation and not observation.resources:
            _say_unknown(context, name)
        policies = () if arguments.stack else context.policies()
        if policies:
            from stackpy.dsl.specs import StackSpec
            from stackpy.planning.judging import judged, refuse_denied

            plan = judged(plan, StackSpec(name, {}, {}, "", policies=policies), observation)
        stacks.show_before(plan, context, yes=arguments.yes)
        refusals.check(plan)
        if policies:
            refuse_denied(plan)
        stacks.agree_to_loss(plan, arguments.allow_data_loss)
        if plan.changes or arguments.images:
            stacks.agree("destroy all of this?", arguments.yes)
        code = stacks.destroy(context, plan)
        if code == 0 and arguments.images:
            for line in engine.remove_images(name):
                stacks.say(context, f"removed {line}")
        if plan.changes:
            engine.tidy()
    return code


def _snapshots(kept: Iterable[Snapshot]) -> list[str]:
    """The notes on what goes with the history, though its volume stays."""
    from stackpy.planning.data_loss import amount
    from stackpy.planning.quantities import plural

    sizes: dict[str, list[int]] = {}
    for one in kept:
        sizes.setdefault(one.address, []).append(one.bytes)
    return [
        f"{address}: {plural(len(each), 'snapshot')} of it ({amount(sum(each))}) "
        f"{'goes' if len(each) == 1 else 'go'} with the history"
        for address, each in sizes.items()
    ]


def _say_unknown(context: Context, name: str) -> None:
    """A name that means nothing is not an error, so that a script may destroy twice; but it may be a slip."""
    from stackpy.dsl.values import meant

    known = [row["name"] for row in context.engine().stacks()]
    stacks.say(context, f"there is no stack `{name}`: {meant(name, known, '`stackpy ls` lists them')}")


COMMAND = Command(
    "destroy",
    "Remove what the stack has made; volumes, images and history are kept unless told otherwise",
    run,
    stack=True,
    options=[
        YES,
        Option("--volumes", help="its volumes and the data in them too"),
        Option("--images", help="its images, build cache and history too"),
        Option("--stack", metavar="NAME", help="a stack by name; no stack file is needed", words="stack"),
        ALLOW_DATA_LOSS,
        LOCK_TIMEOUT,
    ],
    examples=[
        ("stackpy destroy", "the data stays: the next apply finds it"),
        ("stackpy destroy --stack shop --volumes --images", "everything of it, from anywhere"),
    ],
)
