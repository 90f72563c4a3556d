"""What a plan takes: what stops for it, which published ports do not answer meanwhile, how long it was last time."""

from __future__ import annotations

from stackpy.planning.plan import Action, Cost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Change, Observation, Observed, Plan

_RUNNING = ("running", "restarting", "paused")
_LASTING = (Action.BUILD, Action.PULL, Action.RUN, Action.SNAPSHOT, Action.RESTORE)


def costs(
    plan: Plan,
    specs: Mapping[str, Spec],
    observation: Observation,
    last: Callable[[str, str], float | None],
) -> tuple[Cost, ...]:
    """The costs of a plan's changes, in the order of the plan; what costs nothing is left out.

    last: seconds that an action (its word) on an address took last time
    """
    cleared = {
        change.address
        for change in plan.changes
        if change.action is Action.REPLACE and change.address.startswith("network.")
    }
    found = []
    for change in plan.changes:
        seconds = last(change.address, change.action.word)
        observed = observation.resources.get(change.address)
        if change.address.startswith("container.") and observed is not None and change.address in specs:
            cost = _stopping(change, specs[change.address], observed, cleared, seconds)
            if cost is not None:
                found.append(cost)
        elif change.action in _LASTING and seconds is not None:
            found.append(Cost(change.address, change.action, seconds=seconds))
    return tuple(found)


def _stopping(change: Change, spec: Spec, observed: Observed, cleared: set[str], seconds: float | None) -> Cost | None:
    if change.action not in (Action.REPLACE, Action.RESTART):
        return None
    running = [replica.index for replica in observed.replicas if replica.status in _RUNNING]
    touched = [index for index in running if not change.replicas or index in change.replicas]
    if not touched:
        return None
    ports = tuple(_port(port) for port in spec.fields.get("ports", ()) if port.get("published"))
    if change.order == "start-first":
        return Cost(change.address, change.action, 0, len(running), seconds, (), ports)
    together = len(touched) if _at_once(change, cleared) else _parallelism(spec, len(touched))
    gaps, kept = (ports, ()) if together >= len(running) else ((), ports)
    return Cost(change.address, change.action, len(touched), len(running), seconds, gaps, kept)


def _at_once(change: Change, cleared: set[str]) -> bool:
    """Whether all replicas stop together: for a network that is made anew, or with what they depend on."""
    for reason in change.reasons:
        head, _, name = reason.path.partition(".")
        if head == "networks" and f"network.{name}" in cleared:
            return True
    return change.action is Action.RESTART and all(reason.path == "state" for reason in change.reasons)


def _parallelism(spec: Spec, count: int) -> int:
    """How many replicas are replaced at once; 0 in the stack file means all."""
    return int((spec.fields.get("update") or {}).get("parallelism", 1)) or count


def _port(port: Mapping[str, object]) -> str:
    host, protocol = str(port.get("host_ip") or "127.0.0.1"), port.get("protocol") or "tcp"
    place = f"[{host}]:{port['published']}" if ":" in host else f"{host}:{port['published']}"
    return place if protocol == "tcp" else f"{place}/{protocol}"
