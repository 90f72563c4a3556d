"""What of a plan only a second look at the engine tells: whose names are taken, and which data would go."""

from __future__ import annotations

from stackpy.planning import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.engines.base import StackEngine
    from stackpy.planning.plan import Plan


def completed(plan: Plan, specs: Mapping[str, Spec], engine: StackEngine) -> Plan:
    """The plan with refusals for names that others have, and with what its deletions take along. Changes nothing."""
    names = foreign.wanted_names(plan, specs)
    if names and (found := engine.foreign(plan.stack, list(names))):
        plan = foreign.refused(plan, found, names)
    from stackpy.planning import data_loss

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
