"""Addresses that containers of a stack ask for, and that others have now. Pure."""

from __future__ import annotations

from stackpy.dsl.specs import addresses
from stackpy.planning.plan import Action, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Change, Plan

_TAKING = (Action.CREATE, Action.REPLACE, Action.UPDATE, Action.RUN, Action.START, Action.RESTART)


def wanted(plan: Plan, specs: Mapping[str, Spec]) -> dict[tuple[str, str], str]:
    """("address", network on the engine and address) → the resource that will take it."""
    found: dict[tuple[str, str], str] = {}
    for change in plan.changes:
        spec = specs.get(change.address)
        if spec is None or change.action not in _TAKING:
            continue
        for network, address in addresses(spec.fields):
            found["address", f"{plan.stack}_{network} {address}"] = change.address
    return found


def refused(plan: Plan, found: Mapping[tuple[str, str], str], takers: Mapping[tuple[str, str], str]) -> Plan:
    """The plan with a refusal for each address that somebody has who does not let go of it.

    found: who has it: a container, or the address of a resource of the stack; takers: as `wanted` gave them
    """
    leaving = {change.address for change in plan.changes if _lets_go(change)}
    refusals = []
    for key, holder in found.items():
        taker = takers[key]
        if holder == taker or holder in leaving:
            continue
        network, _, address = key[1].partition(" ")
        text = f"{address} on network `{network.removeprefix(f'{plan.stack}_')}` is in use by {holder}"
        refusals.append(Refusal(taker, text, "choose another address, or remove that one first"))
    return plan._replace(refusals=(*plan.refusals, *refusals)) if refusals else plan


def _lets_go(change: Change) -> bool:
    if change.action is Action.UPDATE:
        return any(reason.path.startswith("networks.") for reason in change.reasons)
    return change.action in (Action.DELETE, Action.REPLACE)
