"""What of a plan only a second look at the engine tells: taken names, lost data, other outputs."""

from __future__ import annotations

from stackpy.dsl.specs import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy.dsl.specs import Spec, StackSpec
    from stackpy.engines.base import StackEngine
    from stackpy.planning.plan import Plan


def completed(plan: Plan, specs: Mapping[str, Spec], engine: StackEngine) -> Plan:
    """The plan with refusals for names that others have, and with what its deletions take along. Changes nothing."""
    from stackpy.planning import data_loss

    if specs:
        from stackpy.planning import foreign

        names = foreign.wanted_names(plan, specs)
        if names and (found := engine.foreign(plan.stack, list(names))):
            plan = foreign.refused(plan, found, names)
        if any(any(addresses(spec.fields)) for spec in specs.values()):
            from stackpy.planning import addresses as asked  # few have any

            takers = asked.wanted(plan, specs)
            if takers and (found := engine.foreign(plan.stack, list(takers))):
                plan = asked.refused(plan, found, takers)

    if losing := data_loss.losing(plan):
        plan = data_loss.measured(plan, engine.data(plan.stack, losing))
    if rewriting := data_loss.rewriting(plan):
        plan = data_loss.noted(plan, engine.data(plan.stack, rewriting))
    if any(spec.kind == "volume" and spec.fields.get("snapshot") for spec in specs.values()):
        from stackpy.planning import refusals, snapshots

        if not engine.keeps_volumes:
            plan = refusals.without_snapshots(plan, specs, engine.name)
        elif taken := snapshots.taken(plan):
            plan = snapshots.measured(plan, engine.data(plan.stack, taken))
    return plan


def with_outputs(plan: Plan, stack: StackSpec, engine: StackEngine, generation: int) -> Plan:
    """The plan with the outputs that differ from those of the last apply; `generation` is its number, 0: never."""
    recorded = engine.recorded(stack.name) if generation else None
    before = (recorded or {}).get("outputs") or {}
    if recorded is None or recorded.get("outcome") == "destroyed" or not (before or stack.outputs):
        return plan
    from functools import partial

    from stackpy.planning import outputs

    then = (recorded.get("desired") or {}).get("hidden_outputs", ())
    secret = {*stack.hidden_outputs, *then}
    touched = {change.address for change in plan.changes}
    found = partial(engine.found, stack.name)
    return plan._replace(outputs=outputs.changed(before, stack.outputs, touched, found, stack.hidden, secret))
