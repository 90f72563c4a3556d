"""What a plan makes of `depends_on`: the label that `start` and `restart` go by, and restarts of what asks for them."""

from __future__ import annotations

from stackpy.dsl.specs import partners
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.dsl.specs import Dependency, Spec
    from stackpy.planning.plan import Observed

_HOWS = {
    Action.REPLACE: "is replaced",
    Action.CREATE: "is created anew",
    Action.RESTART: "is restarted",
}


def differences(spec: Spec, observed: Observed) -> list[Reason]:
    """What the stack file says of `depends_on` otherwise than at the last apply; `start` and `restart` go by it."""
    before, now = (
        {each.address: each for each in dependencies if each.address.startswith(("container.", "job."))}
        for dependencies in (observed.dependencies, spec.dependencies)
    )
    if before == now:
        return []
    return [
        Reason(f"depends_on.{address}", _condition(before.get(address)), _condition(now.get(address)), text)
        for address in dict.fromkeys([*now, *before])
        if before.get(address) != now.get(address)
        for text in [_changed(address, before.get(address), now.get(address))]
    ]


def _condition(dependency: Dependency | None) -> str | None:
    if dependency is None:
        return None
    more = (" restart" if dependency.restart else "") + ("" if dependency.required else " not required")
    return f"{dependency.condition}{more}"


def _changed(address: str, before: Dependency | None, now: Dependency | None) -> str:
    path = f"depends_on.{address}"
    if before is None or now is None:
        return f"{path}: {'added' if before is None else 'removed'}"
    return f"{path} {_condition(before)} → {_condition(now)}"


def restarts(drafts: Iterable[Draft], specs: Mapping[str, Spec], existing: Mapping[str, Observed]) -> list[Draft]:
    """The restarts of what depends, with `restart`, on something that is made anew or restarted."""
    anew = {
        draft.address: _HOWS[draft.action]
        for draft in drafts
        if draft.action in _HOWS and draft.address in existing and draft.kind == "container"
    }
    whole: set[str] = set()  # what is started or ended in all its replicas anyway
    touched: dict[str, set[int]] = {}
    for draft in drafts:
        if draft.action in (Action.CREATE, Action.REPLACE, Action.START, Action.RESTART, Action.DELETE):
            touched.setdefault(draft.address, set()).update(draft.replicas)
            if not draft.replicas:
                whole.add(draft.address)
    found: list[Draft] = []
    started = {draft.address for draft in drafts if draft.action is Action.START}
    asking = [spec for spec in specs.values() if any(each.restart for each in spec.dependencies)]
    before = -1
    while before < len(found):  # until no restart causes another
        before = len(found)
        for spec in asking:
            why = [
                Reason("state", "running", "running", f"{each.address} {anew[each.address]}")
                for each in spec.dependencies
                if each.restart and each.address in anew
            ] or [
                # Its namespaces, which this one is in, ended with it; other dependants may go on.
                Reason("state", "running", "running", f"{address} is started again, whose namespaces it shares")
                for address in dict.fromkeys(f"container.{name}" for _, name in partners(spec.fields))
                if address in started
            ]
            observed = existing.get(spec.address)
            if not why or spec.kind != "container" or observed is None or spec.address in anew:
                continue
            running = [
                replica.index
                for replica in observed.replicas
                if spec.address not in whole
                and replica.status in ("running", "restarting", "paused")
                and replica.index not in touched.get(spec.address, ())
            ]
            anew[spec.address] = _HOWS[Action.RESTART]
            if running:
                found.append(_draft(spec, why, running, len(observed.replicas)))
    return found


def _draft(spec: Spec, why: list[Reason], running: list[int], total: int) -> Draft:
    partial = len(running) < total
    return Draft(
        "container",
        spec.name,
        Action.RESTART,
        why,
        replicas=tuple(running) if partial else (),
        note=f"{len(running)} of {total} replicas" if partial else "",
    )
