"""Snapshots of volumes in a plan: taken before anything new writes them, restored by a rollback. Pure.

Where what writes a volume is ended before anything new writes it, the snapshot is taken within the change that ends it,
once it has stopped, so that nothing that it has written is missing. Else it stands before every change but those that
touch nothing that runs (builds, pulls) and those that only rename. Either way one that cannot be taken, on a full disk
for example, leaves what runs as it was.
"""

from __future__ import annotations

from stackpy.planning.plan import Action, Change, Reason
from stackpy.planning.quantities import plural
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from stackpy.dsl.specs import Fields, Spec
    from stackpy.planning.plan import Data, Observed, Plan

_BEFORE = (Action.BUILD, Action.PULL, Action.MOVE)
_RUNNING = ("running", "restarting", "paused")
_WHILE, _COPIED = "still while it is copied", "copied once"  # in notes
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
    deletions = [(n, change) for n, change in enumerate(plan.changes) if _ends_writers(change, specs)]
    renewals = list(_renewals(plan, specs, existing))
    cleared = {
        f"networks.{change.address.partition('.')[2]}"
        for change in plan.changes
        if change.action is Action.REPLACE and change.address.startswith("network.")
    }
    front, within, notes = [], dict[int, list[str]](), list[str]()
    later: dict[int, set[str]] = {}  # number of a change → addresses that it has to wait for besides
    reasons: dict[str, str] = {}
    for volume in sorted(asking):
        writers = [(number, verb) for number, verb, written in renewals if volume in written]
        if not writers:
            continue
        first = writers[0][0]
        ending = [n for n, change in deletions if n < first and _write(existing.get(change.address), volume)]
        if _stops_first(plan.changes[first], cleared) and _write(existing.get(plan.changes[first].address), volume):
            ending.append(first)
        reasons[volume] = _before([(plan.changes[number].address, verb) for number, verb in writers])
        if not ending:
            front.append(volume)
            notes.append(_still(volume, existing))
            continue
        carrier = plan.changes[ending[-1]].address
        within.setdefault(ending[-1], []).append(volume)
        later.setdefault(ending[-1], set()).update(plan.changes[n].address for n in ending[:-1])
        for number, _ in writers:
            if number != ending[-1]:
                later.setdefault(number, set()).add(carrier)
        ended = {plan.changes[n].address for n in ending}
        notes.append(_once_stopped(volume, carrier, _still(volume, existing, ended)))
    if not reasons:
        return plan
    made = {v: Change(v, Action.SNAPSHOT, (Reason("state", None, None, text),)) for v, text in reasons.items()}
    changes: list[Change] = []
    for number, change in enumerate(plan.changes):
        if number in within:
            changes += [made[volume] for volume in within[number]]
            change = change._replace(snapshots=tuple(within[number]))
        changes.append(_after(change, (*within.get(number, ()), *sorted(later.get(number, ())))))
    plan = plan._replace(changes=tuple(changes), notes=(*plan.notes, *filter(None, notes)))
    return _put_first(plan, [made[volume] for volume in front]) if front else plan


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
        change._replace(snapshots=tuple(each for each in change.snapshots if each not in addresses))
        for change in plan.changes
        if not (change.action is Action.SNAPSHOT and change.address in addresses)
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
    notes = tuple(note for note in plan.notes if not _is_of_snapshot(note, addresses))
    return _put_first(plan._replace(changes=(*kept, *last), generation=generation, notes=notes), changes)


def _is_there(address: str, existing: Mapping[str, Observed]) -> bool:
    """Whether there is a volume with something to keep: one that a plan creates, or creates anew, has nothing."""
    observed = existing.get(address)
    return observed is not None and not observed.live.get("lost")


def _renewals(
    plan: Plan, specs: Mapping[str, Spec], existing: Mapping[str, Observed]
) -> Iterator[tuple[int, str, set[str]]]:
    """The changes after which something new runs, as numbers; how it is called, and the volumes that it may write.

    More replicas of what runs are nothing new. A job may write what the containers write that it depends on: it talks
    to the database whose volume it does not mount.
    """
    deleted = {change.address for change in plan.changes if change.action is Action.DELETE}
    for number, change in enumerate(plan.changes):
        address, action, verb = change.address, change.action, ""
        if address not in specs or not address.startswith(("container.", "job.")):
            continue
        if action is Action.REPLACE or (action is Action.CREATE and address in deleted):
            verb = "is replaced"
        elif action is Action.RUN:
            verb = "runs"
        elif action is Action.CREATE and not (address in existing and existing[address].replicas):
            verb = "is created"
        if not verb or (action is not Action.RUN and address.startswith("job.")):
            continue
        through = [each.address for each in specs[address].dependencies] if action is Action.RUN else []
        written: set[str] = set()
        for each in (address, *through):
            if each in specs and each.startswith(("container.", "job.")):
                written.update(_written(specs[each].fields))
            for replica in existing[each].replicas if each in existing else ():
                written.update(_written(replica.live))
        yield number, verb, written


def _ends_writers(change: Change, specs: Mapping[str, Spec]) -> bool:
    """Whether it ends all of a container: one that leaves, or that is created anew by another change."""
    whole = not change.replicas or change.address not in specs
    return change.action is Action.DELETE and whole and change.address.startswith("container.")


def _stops_first(change: Change, cleared: Collection[str]) -> bool:
    """Whether it is this change that ends what is replaced, and not one of a network, which removes all that is on it.

    cleared: paths of networks that are replaced
    """
    ends = change.action is Action.REPLACE and change.order == "stop-first"
    return ends and not any(reason.path in cleared for reason in change.reasons)


def _write(observed: Observed | None, volume: str) -> bool:
    """Whether a container runs and may write a volume."""
    return observed is not None and any(
        replica.status in _RUNNING and volume in _written(replica.live) for replica in observed.replicas
    )


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


def _still(volume: str, existing: Mapping[str, Observed], but: Collection[str] = ()) -> str:
    """The note on what stands still while a snapshot is taken; "" where nothing runs. but: what has been ended"""
    users = [
        observed.address
        for observed in existing.values()
        if any(replica.status in _RUNNING and volume in _used(replica.live) for replica in observed.replicas)
    ]
    users = [address for address in users if address not in but]
    return f"{volume}: {', '.join(users)} {'stands' if len(users) == 1 else 'stand'} {_WHILE}" if users else ""


def _once_stopped(volume: str, carrier: str, still: str) -> str:
    others = still.removeprefix(f"{volume}: ").replace(_WHILE, "still meanwhile")
    return f"{volume}: {_COPIED} {carrier} has stopped" + (f"; {others}" if others else "")


def _is_of_snapshot(note: str, volumes: Iterable[str]) -> bool:
    """Whether a note is on how a snapshot of one of these volumes is taken."""
    ours = note.endswith(_WHILE) or f": {_COPIED} " in note
    return ours and note.startswith(tuple(f"{volume}: " for volume in volumes))


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
