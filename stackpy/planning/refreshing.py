"""`--refresh-only`: what is otherwise on the engine than the last apply left it, whatever the stack file says by now.

There is no state file to be refreshed: what is, is read each time. So this is the plan that would bring back what was
applied, of which nothing is to be made true. Pure.
"""

from __future__ import annotations

from stackpy.dsl.specs import Spec, StackSpec
from stackpy.planning.comparison import diff
from stackpy.planning.plan import Action, Desired, Recipe
from stackpy.problems import Location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from stackpy.planning.plan import Observation, Plan

NOTE = "differences from the last apply alone (--refresh-only): nothing of this is made true"


def since_last_apply(observation: Observation, stack: StackSpec, applied_before: Collection[str] = ()) -> Plan:
    """What has changed on the engine since the last apply, as changes that would undo it.

    stack: says where resources are declared, and what those were that have gone
    applied_before: the addresses of all that the last apply left
    """
    specs: dict[str, Spec] = {}
    for address in observation.images:
        declared = stack.resources.get(address)
        source = {"base": {"kind": "scratch"}, "steps": []} if declared is None else declared.fields["source"]
        specs[address] = Spec("image", address.partition(".")[2], {"source": source}, (), _place(stack, address))
    for address, observed in observation.resources.items():
        fields = {**observed.applied}
        if observed.kind == "secret":
            fields.setdefault("source", {})
        specs[address] = Spec(observed.kind, observed.name, fields, observed.dependencies, _place(stack, address))
    fingerprints = {
        address: observed.live["fingerprint"]
        for address, observed in observation.resources.items()
        if observed.kind == "secret"
    }
    applied = StackSpec(observation.stack, specs, {}, stack.folder, hidden=stack.hidden)
    # what is used as a registry has it was never built, so that its containers alone tell what it was
    recipes = {
        str(observed.applied["image"]): Recipe(replica.image, ())
        for observed in observation.resources.values()
        for replica in observed.replicas
        if "image" in observed.applied
    }
    for address in applied_before:
        declared = stack.resources.get(address)
        if address not in specs and declared is not None and declared.kind != "image":
            specs[address] = declared
            if "image" in declared.fields:
                recipes.setdefault(str(declared.fields["image"]), Recipe("", ()))
    plan = diff(Desired(applied, {**recipes, **observation.images}, fingerprints), observation)
    # No snapshot would be taken of anything: nothing of this is made true.
    differing = tuple(each._replace(snapshots=()) for each in plan.changes if each.action is not Action.SNAPSHOT)
    return plan._replace(changes=differing, notes=(NOTE,)) if plan.changes else plan


def _place(stack: StackSpec, address: str) -> Location:
    spec = stack.resources.get(address)
    return Location("", 0) if spec is None else spec.location
