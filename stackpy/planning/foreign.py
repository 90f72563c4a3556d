"""Objects of the engine that have the name of a resource of the stack, and are not the stack's: never overwritten."""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.planning.plan import Action, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Plan

_KINDS = ("container", "job", "network", "volume", "secret")


def wanted_names(plan: Plan, specs: Mapping[str, Spec]) -> dict[tuple[str, str], str]:
    """(kind, name on the engine) → address of all that the plan makes where nothing of the stack is."""
    found: dict[tuple[str, str], str] = {}
    for change in plan.changes:
        kind, _, name = change.address.partition(".")
        if kind not in _KINDS or change.address not in specs:
            continue
        if change.action not in (Action.CREATE, Action.RUN, Action.MOVE):
            continue
        replicas = change.replicas or range(1, int(specs[change.address].fields.get("replicas", 1)) + 1)
        for index in replicas if kind in ("container", "job") else (1,):
            found[kind, engine_name(plan.stack, kind, name, index)] = change.address
    return found


def refused(plan: Plan, found: Mapping[tuple[str, str], str], names: Mapping[tuple[str, str], str]) -> Plan:
    """The plan with a refusal for each name that something else has.

    found: (kind, name on the engine) → whose it is; names: as `wanted_names` gave them
    """
    refusals = []
    for (kind, name), owner in found.items():
        address = names[kind, name]
        noun = "container" if kind == "job" else kind
        hint = "give one of the two another name"
        if not owner and kind in ("container", "network", "volume"):
            hint = f"`stackpy adopt {address} {name}` takes it into the stack"
        what = f"it belongs to {owner}" if owner else "it is not the stack's"
        refusals.append(Refusal(address, f"there is a {noun} `{name}` already, and {what}", hint))
    return plan._replace(refusals=(*plan.refusals, *refusals)) if refusals else plan
