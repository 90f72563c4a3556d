"""stackpy rollback."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from stackpy.cli import stacks, terminal
from stackpy.cli.changing_options import LOCK_TIMEOUT, YES
from stackpy.cli.commands.history import GENERATION, STACK, number, stack
from stackpy.cli.grammar import Command, Option
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from stackpy.cli.context import Context, Engine
    from stackpy.dsl.specs import StackSpec
    from stackpy.planning.plan import Desired, Observation, Plan
    from stackpy.planning.snapshots import Snapshot


def run(context: Context, arguments: Any) -> int:
    """Shows what would become as it was, asks, and makes it so."""
    from stackpy.applying import reviving
    from stackpy.cli.context import Planned
    from stackpy.planning import refusals, snapshots
    from stackpy.planning.weighing import weighed

    wanted = None if arguments.generation is None else number(arguments.generation)
    context.read_only = arguments.dry_run
    name, engine = stack(context, arguments, changes=True), context.engine()
    if arguments.dry_run:
        stacks.say_who_changes(context, name)
    with nullcontext() if arguments.dry_run else stacks.locked(context, name, "rollback", arguments.lock_timeout):
        document = reviving.choose(engine.history(name), wanted)
        desired = reviving.revived(document)
        try:
            engine.revive(desired, document.get("image_ids", {}))
        except StackpyError as error:
            raise _not_there(document, error) from error
        found = engine.observe(desired.stack.name)
        number_then = int(document["generation"])
        desired, unknown = reviving.completed(desired, found, lambda: _declared(context, name), number_then)
        stacks.say(context, f"to generation {document['generation']}, of {document['time']}")
        kept = {
            address: one
            for address, one in snapshots.restorable(engine.snapshots(name), int(document["generation"])).items()
            if address in desired.stack.resources and address in found.resources
        }
        asks = sys.stdin.isatty() and not (arguments.yes or arguments.dry_run)
        restored = chosen(kept, arguments.restore_volume, int(document["generation"]), asks=asks)
        plan = _plan(engine, desired, found, document, restored)
        left = [_left(one) for one in kept.values() if one not in restored]
        plan = plan._replace(notes=(*plan.notes, *left, *(unknown if plan.changes else ())))
        judging = desired.stack._replace(policies=context.policies())
        observation = reviving.as_built(found, desired)
        plan = weighed(plan, judging, observation, engine.took)
        stacks.show_before(plan, context, yes=arguments.yes)
        if arguments.dry_run or not (plan.changes or plan.outputs):
            return 0
        refusals.check(plan)
        if plan.denials:
            from stackpy.planning.judging import refuse_denied

            refuse_denied(plan)
        if plan.changes:  # of outputs alone nothing on the host becomes otherwise
            stacks.agree("apply this plan?", arguments.yes)
        # What is asked of a project here are values of secrets.
        planned = Planned(plan, desired, _Sources(desired), observation)  # type: ignore[arg-type]
        code = stacks.execute(context, planned, rolled_back_to=int(document["generation"]))
    if code == 0:
        stacks.say(context, "where the stack file says something else, the next apply goes there again")
    return code


def _not_there(document: Mapping[str, Any], error: StackpyError) -> StackpyError:
    """What is said where an image of a generation is missing: where it can be made again."""
    revision = str(document.get("revision", ""))
    hint = f"check out revision {revision[:12]}, and apply that" if revision else "apply what the stack file said then"
    return StackpyError(f"generation {document['generation']} cannot be brought back: {error.message}", hint=hint)


def _declared(context: Context, name: str) -> StackSpec | None:
    """What the stack file here says, where it is this stack's and can be read."""
    try:
        found = context.load().stack
    except StackpyError:
        return None
    return found if found.name == name else None


def _plan(
    engine: Engine,
    desired: Desired,
    found: Observation,
    document: Mapping[str, Any],
    restored: list[Snapshot],
) -> Plan:
    from stackpy.applying import reviving
    from stackpy.engines.completing import completed, with_outputs
    from stackpy.planning import snapshots
    from stackpy.planning.comparison import diff

    plan = diff(desired, reviving.as_built(found, desired))
    plan = reviving.renamed(plan, desired, found, document.get("image_ids", {}))
    plan = snapshots.with_restores(plan, restored, found.resources)
    plan = completed(plan, desired.stack.resources, engine) if plan.changes else plan
    return with_outputs(plan, desired.stack, engine, found.generation)


def chosen(kept: Mapping[str, Snapshot], named: Iterable[str], generation: int, *, asks: bool) -> list[Snapshot]:
    """The snapshots to restore: those of volumes that are named, or whose addresses somebody types.

    kept: by the address of the volume; asks: there is somebody to ask
    Raises StackpyError for a name of which there is none.
    """
    from stackpy.planning import data_loss

    words = [word for several in named for word in several.split(",")]
    for word in words:
        if not any(data_loss.names(word, address) for address in kept):
            known = f"there are some of {', '.join(kept)}" if kept else "a volume with `snapshot=True` has them"
            raise StackpyError(
                f"there is no snapshot of `{word}` from when generation {generation} was left, and nothing was changed",
                hint=known,
            )
    chosen = [one for address, one in kept.items() if any(data_loss.names(word, address) for word in words)]
    for one in kept.values():
        if asks and one not in chosen and _asked(one, generation):
            chosen.append(one)
    return chosen


def _asked(one: Snapshot, generation: int) -> bool:
    question = (
        f"{one.address}: shall it have what it held when generation {generation} was left ({_told(one)})?\n"
        "What it holds now is kept as a snapshot."
    )
    sys.stderr.write(f"\n{terminal.paint(question, '1', sys.stderr)}\ntype its address to restore it, or nothing: ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        terminal.note("")
    if answer.strip() not in ("", one.address):
        raise StackpyError("not confirmed, and nothing was changed")
    return answer.strip() == one.address


def _left(one: Snapshot) -> str:
    return (
        f"{one.address} keeps what it holds now: `--restore-volume {one.address}` brings back what it held before "
        f"generation {one.generation} ({_told(one)})"
    )


def _told(one: Snapshot) -> str:
    from stackpy.planning.data_loss import amount

    return f"{amount(one.bytes)}, snapshot of {one.created}"


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
        Option(
            "--restore-volume",
            metavar="ADDRESS",
            many=True,
            help="give this volume what it held then, without asking (volume.*: all that have a snapshot)",
            words="resource",
        ),
        STACK,
        LOCK_TIMEOUT,
    ],
    details=(
        "Without a number to the last apply that succeeded before the one that is there. Shows the plan and asks.\n"
        "Images are those that ran then, and are not built again; their names mean them again. Secrets have the value\n"
        "that they have now. Data in volumes stays as it is, unless the volume has `snapshot=True` and its address is\n"
        "typed or named: then it gets what it held when that generation was left, and what it holds now is kept."
    ),
    examples=[
        ("stackpy rollback", "to what was there before the last apply"),
        ("stackpy rollback 4 --dry-run", "what would change to be generation 4 again"),
        ("stackpy rollback 4 --restore-volume volume.data", "with the data of then"),
    ],
)
