"""Snapshots of volumes in a plan: taken before what writes them is replaced or runs, restored by a rollback. Pure.

A snapshot stands before every change but those that touch nothing that runs (builds, pulls) and those that only rename:
one that cannot be taken, on a full disk for example, leaves all as it was.
"""

from __future__ import annotations

from stackpy.planning.plan import Action, Change, Reason
from stackpy.planning.quantities import plural
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stackpy.dsl.specs import Fields, Spec
    from stackpy.planning.plan import Data, Observed, Plan

_BEFORE = (Action.BUILD, Action.PULL, Action.MOVE)
_RUNNING = ("running", "restarting", "paused")
_STARTING = (Action.CREATE, Action.REPLACE, Action.START, Action.RESTART, Action.RUN, Action.DELETE)


class Snapshot(NamedTuple):
    """What a generation holds of a volume: as it was before that generation's apply.

    address: of the volume; id: the engine's; created: RFC 3339; bytes: on disk
    """

    address: str
    id: str
    generation: int
    created: str
    bytes: int


def with_snapshots(plan: Plan, specs: Mapping[str, Spec], existing: Mapping[str, Observed]) -> Plan:
    """The plan with a snapshot of each volume that asks for one and that something which the plan makes anew writes."""
    asking = {
        address
        for address, spec in specs.items()
        if spec.kind == "volume" and spec.fields.get("snapshot") and _is_there(address, existing)
    }
    if not asking:
        return plan
    why: dict[str, list[tuple[str, str]]] = {}
    for address, verb in _renewed(plan, specs, existing):
        replicas = existing[address].replicas if address in existing else ()
        written = {one for fields in (specs[address].fields, *(r.live for r in replicas)) for one in _written(fields)}
        for volume in sorted(asking & written):
            why.setdefault(volume, []).append((address, verb))
    if not why:
        return plan
    changes = [
        Change(volume, Action.SNAPSHOT, (Reason("state", None, None, _before(writers)),))
        for volume, writers in why.items()
    ]
    standing = [_still(volume, existing) for volume in why]
    return _put_first(plan, changes)._replace(notes=(*plan.notes, *filter(None, standing)))


def measured(plan: Plan, found: Mapping[str, Data]) -> Plan:
    """The plan with the sizes of what it takes snapshots of; an empty volume is not among them."""
    changes = []
    for change in plan.changes:
        if change.action is Action.SNAPSHOT:
            from stackpy.planning.data_loss import amount

            data, why = found.get(change.address), change.reasons[0]
            size = amount(data.bytes) if data is not None and data.bytes else "empty"
            change = change._replace(reasons=(why._replace(text=f"{size}, {why.text}"),))
        changes.append(change)
    return plan._replace(changes=tuple(changes))


def taken(plan: Plan) -> list[str]:
    """The addresses of the volumes of which the plan takes snapshots."""
    return [change.address for change in plan.changes if change.action is Action.SNAPSHOT]


def restorable(snapshots: Iterable[Snapshot], generation: int) -> dict[str, Snapshot]:
    """By address what volumes held when a generation was left, as far as it is kept.

    That is the first snapshot after it: the volume has been written by what that generation ran until then.
    """
    found: dict[str, Snapshot] = {}
    for one in sorted(snapshots, key=lambda one: (one.generation, one.id)):
        if one.generation > generation:
            found.setdefault(one.address, one)
    return found


def with_restores(plan: Plan, restored: Sequence[Snapshot], existing: Mapping[str, Observed]) -> Plan:
    """The plan of a rollback in which volumes get their content of then; what they hold now becomes a snapshot.

    Whatever uses one of them is stopped for it, and begins anew after.
    """
    if not restored:
        return plan
    addresses = {one.address for one in restored}
    changes = []
    for one in restored:
        text = f"to what it held at {one.created}, before generation {one.generation}; what it holds becomes a snapshot"
        changes.append(Change(one.address, Action.RESTORE, (Reason("state", None, one.id, text),)))
    kept = tuple(
        change for change in plan.changes if not (change.action is Action.SNAPSHOT and change.address in addresses)
    )
    last: list[Change] = []
    for observed in existing.values():
        volumes = addresses & {used for replica in observed.replicas for used in _used(replica.live)}
        if observed.kind != "container" or not volumes:
            continue
        begun = {index for change in kept if change.address == observed.address and change.action in _STARTING
                 for index in change.replicas or [replica.index for replica in observed.replicas]}  # fmt: skip
        left = tuple(r.index for r in observed.replicas if r.status in _RUNNING and r.index not in begun)
        if left:
            reason = Reason("state", None, None, f"{', '.join(sorted(volumes))} is restored")
            numbers = () if len(left) == len(observed.replicas) else left
            note = f"{len(left)} of {plural(len(observed.replicas), 'replica')}" if numbers else ""
            last.append(Change(observed.address, Action.RESTART, (reason,), replicas=numbers, note=note))
    generation = plan.generation if plan.changes else plan.generation + 1
    notes = tuple(note for note in plan.notes if not any(note == _still(address, existing) for address in addresses))
    return _put_first(plan._replace(changes=(*kept, *last), generation=generation, notes=notes), changes)


def _is_there(address: str, existing: Mapping[str, Observed]) -> bool:
    """Whether there is a volume with something to keep: one that a plan creates, or creates anew, has nothing."""
    observed = existing.get(address)
    return observed is not None and not observed.live.get("lost")


def _renewed(plan: Plan, specs: Mapping[str, Spec], existing: Mapping[str, Observed]) -> Iterator[tuple[str, str]]:
    """The containers and jobs of which the plan makes others that go on with their volumes, and how it is called."""
    deleted = {change.address for change in plan.changes if change.action is Action.DELETE}
    for change in plan.changes:
        if change.address not in specs:
            continue
        made_anew = change.action is Action.CREATE and change.address in deleted
        if (made_anew or change.action is Action.REPLACE) and change.address.startswith("container."):
            yield change.address, "is replaced"
        elif change.action is Action.RUN:
            yield change.address, "runs"


def _used(fields: Fields) -> Iterator[str]:
    """The addresses of the volumes that a container's fields name."""
    for mount in fields.get("volumes", ()):
        if mount["type"] == "volume" and mount.get("source"):
            yield f"volume.{mount['source']}"


def _written(fields: Fields) -> Iterator[str]:
    """Those of them that it may write."""
    mounts = [mount for mount in fields.get("volumes", ()) if not mount.get("read_only")]
    yield from _used({"volumes": mounts})


def _before(writers: list[tuple[str, str]]) -> str:
    """`before container.db is replaced and job.migrate runs`."""
    return "before " + " and ".join(f"{address} {verb}" for address, verb in dict.fromkeys(writers))


def _still(volume: str, existing: Mapping[str, Observed]) -> str:
    """The note on what stands still while a snapshot is taken; "" where nothing runs."""
    writers = [
        observed.address
        for observed in existing.values()
        if any(replica.status in _RUNNING and volume in _used(replica.live) for replica in observed.replicas)
    ]
    if not writers:
        return ""
    return f"{volume}: {', '.join(writers)} {'stands' if len(writers) == 1 else 'stand'} still while it is copied"


def _put_first(plan: Plan, changes: list[Change]) -> Plan:
    """The plan with changes that wait for what touches nothing, and that all others wait for."""
    front = [change for change in plan.changes if change.action in _BEFORE]
    rest = [change for change in plan.changes if change.action not in _BEFORE]
    before, added = (tuple(dict.fromkeys(change.address for change in some)) for some in (front, changes))
    first = [_after(change, before) for change in changes]
    return plan._replace(changes=(*front, *first, *(_after(change, added) for change in rest)))


def _after(change: Change, addresses: Iterable[str]) -> Change:
    """The change, when those of other addresses are done: its own are made as they stand."""
    others = [address for address in addresses if address != change.address]
    return change._replace(depends_on=tuple(dict.fromkeys((*change.depends_on, *others))))
