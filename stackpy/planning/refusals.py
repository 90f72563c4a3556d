"""What a plan shows and an apply will not do: each refusal says why and what to do."""

from __future__ import annotations

from stackpy.errors import StackpyError
from stackpy.planning.plan import Action, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.draft import Draft
    from stackpy.planning.plan import Observed, Plan

_VERBS = {Action.DELETE: "deleted", Action.REPLACE: "replaced"}


LEAVES = "declare it again, and apply it without `protect` before it goes"
DESTROYED = "take `protect=True` away in the stack file and apply that first"


def protected(
    drafts: Iterable[Draft], specs: Mapping[str, Spec], existing: Mapping[str, Observed], undeclared: str = LEAVES
) -> list[Refusal]:
    """What `protect=True` forbids: the stack file's word counts, and without one that of the last apply.

    undeclared: what to do about what no stack file tells of
    """
    found: dict[str, Refusal] = {}
    for draft in drafts:
        spec, observed = specs.get(draft.address), existing.get(draft.address)
        said = spec.fields if spec is not None else observed.applied if observed is not None else {}
        if draft.action not in _VERBS or not said.get("protect"):
            continue
        if draft.action is Action.DELETE and any(reason.path == "replicas" for reason in draft.reasons):
            continue  # fewer replicas: the resource stays
        if spec is None:
            hint = undeclared
            where = "protected since the last apply"
        else:
            hint = "remove `protect=True` there, or take the change back"
            where = f"protected by {spec.location.file.rpartition('/')[2]}:{spec.location.line}"
        text = f"it is {where}, and would be {_VERBS[draft.action]}"
        found.setdefault(draft.address, Refusal(draft.address, text, hint))
    return list(found.values())


def without_snapshots(plan: Plan, specs: Mapping[str, Spec], engine: str) -> Plan:
    """The plan refused for the volumes of which an engine would have to take snapshots, and cannot."""
    refused = [
        Refusal(address, f"the engine {engine} takes no snapshots of volumes", "leave out `snapshot=True` there")
        for address, spec in specs.items()
        if spec.kind == "volume" and spec.fields.get("snapshot")
    ]
    return plan._replace(refusals=(*plan.refusals, *refused))


def check(plan: Plan) -> None:
    """Raises StackpyError where anything of the plan is refused; nothing of it is done then."""
    if not plan.refusals:
        return
    lines = [f"{refusal.address}: {refusal.text}" for refusal in plan.refusals]
    hints = list(dict.fromkeys(refusal.hint for refusal in plan.refusals if refusal.hint))
    told = f", because {lines[0]}" if len(lines) == 1 else "".join([":", *(f"\n  {line}" for line in lines)])
    raise StackpyError(f"nothing was changed{told}", hint="; ".join(hints))
