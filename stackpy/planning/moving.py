"""`moved(…)`: what exists under a former address is seen under the one of now, and renamed before anything else.

Other resources that name it (a container its network, its volume, what it depends on) are seen as if they named it by
its new name already: renaming it on the engine makes that true.
"""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.dsl.specs import Fields
    from stackpy.planning.plan import Observation, Observed


def moved(observation: Observation, moves: Mapping[str, str]) -> tuple[Observation, list[Draft], list[str]]:
    """The observation under the addresses of now, the renamings that make it true, and notes for people.

    moves: former address → address of now; one whose new address exists already is left alone, unless that has only
        replicas that this one lacks: an apply that was killed has moved those
    """
    resources = dict(observation.resources)
    due: dict[str, str] = {}
    notes = []
    drafts = []
    for old, new in moves.items():
        if old not in resources:
            continue
        kind, _, name = new.partition(".")
        own = _named(observation.stack, resources[old], name)
        if new in resources:
            if not _complete(resources[new], own):
                notes.append(f"{old} stays for itself: there is a {new} already, so that it cannot move there")
                continue
            known = resources[new]
            own = known._replace(replicas=tuple(sorted((*known.replicas, *own.replicas), key=lambda one: one.index)))
        due[old] = new
        resources[new] = own
        del resources[old]
        why = Reason("address", old, new, f"moved from {old}")
        drafts.append(Draft(kind, name, Action.MOVE, [why], note=f"from {old}"))  # type: ignore[arg-type]
    if not due:
        return observation, [], notes
    renamed = {address: _renamed(observed, due) for address, observed in resources.items()}
    return observation._replace(resources=renamed), drafts, notes


def _complete(one: Observed, other: Observed) -> bool:
    """Whether two are parts of one container: each has replicas, and none that the other has."""
    if not one.replicas or not other.replicas:
        return False
    return not {replica.index for replica in one.replicas} & {replica.index for replica in other.replicas}


def _named(stack: str, observed: Observed, name: str) -> Observed:
    """A resource under another name; replicas that somebody has renamed by hand keep theirs."""
    return observed._replace(
        name=name,
        replicas=tuple(
            replica._replace(name=engine_name(stack, observed.kind, name, replica.index))
            if replica.name == engine_name(stack, observed.kind, observed.name, replica.index)
            else replica
            for replica in observed.replicas
        ),
    )


def _renamed(observed: Observed, moves: Mapping[str, str]) -> Observed:
    return observed._replace(
        live=names(observed.live, moves),
        applied=names(observed.applied, moves),
        replicas=tuple(
            replica._replace(live=names(replica.live, moves), applied=names(replica.applied, moves))
            for replica in observed.replicas
        ),
        dependencies=tuple(
            each._replace(address=moves.get(each.address, each.address)) for each in observed.dependencies
        ),
    )


def names(fields: Fields, moves: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a container with the new names of what they name."""

    def name(kind: str, old: str) -> str:
        return moves.get(f"{kind}.{old}", f".{old}").partition(".")[2]

    result: dict[str, Any] = dict(fields)
    if networks := fields.get("networks"):
        result["networks"] = {name("network", old): attachment for old, attachment in networks.items()}
    if volumes := fields.get("volumes"):
        result["volumes"] = [
            {**volume, "source": name("volume", volume["source"])} if volume["type"] == "volume" else volume
            for volume in volumes
        ]
    for key in ("network_mode", "pid", "ipc"):
        value = fields.get(key)
        if isinstance(value, str) and value.startswith("service:"):
            result[key] = f"service:{name('container', value.removeprefix('service:'))}"
    return result
