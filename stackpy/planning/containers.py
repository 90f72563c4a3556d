"""What is to be done with the replicas of a container, and with a job.

A change of the image, of a secret's value, of a network or volume that is made anew, or of any field that cannot be
changed otherwise replaces a replica; what is set at each start takes a restart; the other fields are updated in place;
a replica that should run but does not is started. Replicas are judged one by one, since somebody may have changed or
removed one of them by hand.
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.specs import engine_name
from stackpy.planning import contents, dependencies, fields, ignoring, reasons, rollouts
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason
from stackpy.planning.quantities import SENSITIVE, printable
from stackpy.planning.uses import uses
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Observed, Replica


class Surroundings(NamedTuple):
    """What else of the plan and of the desired state decides about a container.

    images: recipe ID by image address
    resources: all of the stack
    renewed: addresses of networks and volumes that are made anew → how ("is replaced")
    fingerprints: by the name of each secret; absent where its value is not at hand
    changing: names of the secrets whose value changes
    stack: the stack's name
    anew: addresses of what is replaced in any case
    """

    images: Mapping[str, str]
    resources: Mapping[str, Spec]
    renewed: Mapping[str, str]
    fingerprints: Mapping[str, str]
    changing: frozenset[str]
    stack: str = ""
    anew: frozenset[str] = frozenset()


def container(spec: Spec, observed: Observed | None, around: Surroundings) -> list[Draft]:
    """The changes of one container resource."""
    wanted = int(spec.fields.get("replicas", 1))
    if observed is not None and observed.replicas and ignoring.ignores(spec.fields, "replicas"):
        wanted = len(observed.replicas)
    if observed is None or not observed.replicas:
        note = f"{wanted} replicas" if wanted > 1 else ""
        return [Draft("container", spec.name, Action.CREATE, [reasons.absent()], note=note)] if wanted else []
    existing = {replica.index: replica for replica in observed.replicas}
    work: dict[Action, dict[int, list[Reason]]] = {}
    for index in range(1, wanted + 1):
        replica = existing.get(index)
        if replica is None:
            why = _missing(index, wanted, observed)
            work.setdefault(Action.CREATE, {})[index] = [why]
            continue
        deep, at_start, shallow = _differences(spec, replica, around)
        shallow += _name(around.stack, spec, replica)
        shallow += dependencies.differences(spec, observed)
        if deep:
            work.setdefault(Action.REPLACE, {})[index] = deep + at_start + shallow
            continue
        if at_start and replica.status not in ("created", "exited"):
            work.setdefault(Action.RESTART, {})[index] = at_start + shallow
            continue
        if at_start or shallow:
            work.setdefault(Action.UPDATE, {})[index] = at_start + shallow
        if replica.status in ("created", "paused", "exited"):
            why = reasons.not_running(replica, "running", several=wanted > 1)
            work.setdefault(Action.START, {})[index] = [why]
    for index in existing:
        if not 1 <= index <= wanted:
            work.setdefault(Action.DELETE, {})[index] = [_scaled(observed, wanted)]
    total = max(wanted, len(existing))
    # What is too many goes first, since others may wait for its ports; what is missing comes back before what runs is
    # touched. A replica that is to be started is updated before.
    order = (Action.DELETE, Action.UPDATE, Action.START, Action.CREATE, Action.REPLACE, Action.RESTART)
    drafts = [_draft(spec, action, work[action], total) for action in order if action in work]
    for draft in drafts:
        if draft.action is Action.REPLACE:
            leaving = [existing[index] for index in work[Action.REPLACE]]
            renewed = any(address in around.renewed for replica in leaving for _, address in uses(replica.live))
            draft.order = rollouts.order(spec, leaving, around.resources, cleared=renewed)
    return drafts


def job(spec: Spec, observed: Observed | None, around: Surroundings) -> list[Draft]:
    """The run of a job: once for each spec and image, and again after it failed."""
    if observed is None or not observed.replicas:
        return [Draft("job", spec.name, Action.RUN, [reasons.absent("it has not run")])]
    last = observed.replicas[0]
    # what it was attached to is no reason to run a finished job again
    why = [reason for level in _differences(spec, last, around._replace(renewed={})) for reason in level]
    if not why and (last.status in ("created", "paused") or (last.status == "exited" and last.exit_code != 0)):
        why = [reasons.not_running(last, "completed", several=False)]
    return [Draft("job", spec.name, Action.RUN, why)] if why else []


def _draft(spec: Spec, action: Action, work: Mapping[int, list[Reason]], total: int) -> Draft:
    partial = len(work) < total
    return Draft(
        "container",
        spec.name,
        action,
        (reason for why in work.values() for reason in why),
        replicas=tuple(work) if partial else (),
        note=f"{len(work)} of {total} replicas" if partial else "",
    )


def _scaled(observed: Observed, wanted: int) -> Reason:
    before = max(int(observed.applied.get("replicas", 1)), len(observed.replicas))
    if int(observed.applied.get("replicas", 1)) == wanted:
        return Reason("replicas", before, wanted, "one more than wanted, left by a rollout that was interrupted")
    return Reason("replicas", before, wanted, f"replicas {before} → {wanted}")


def _missing(index: int, wanted: int, observed: Observed) -> Reason:
    before = int(observed.applied.get("replicas", 1))
    if index > before:
        return Reason("replicas", before, wanted, f"replicas {before} → {wanted}")
    return reasons.absent(f"replica {index} is missing")


def _differences(spec: Spec, replica: Replica, around: Surroundings) -> tuple[list[Reason], list[Reason], list[Reason]]:
    """What needs a new container, what a restart, and what neither."""
    deep: list[Reason] = [reasons.asked()] if spec.address in around.anew else []
    deep += _image(spec, replica, around)
    at_start: list[Reason] = []
    shallow: list[Reason] = []
    wanted = ignoring.kept(spec.fields, replica.live)
    found = [*_secrets(spec, replica, around)]
    for difference in fields.compare(fields.CONTAINER, wanted, replica.live, replica.applied):
        if difference.policy == fields.IN_PLACE and difference.path.startswith("files."):
            difference = difference._replace(policy=contents.policy(spec.fields, difference.path))
        found.append(reasons.of_difference(difference))
    found += [
        Reason(f"networks.{name}", None, None, f"its link to network {name} is gone", policy=fields.RESTART)
        for name in replica.unlinked
    ]
    levels = {fields.IN_PLACE: shallow, fields.RESTART: at_start}
    for reason in found:
        levels.get(reason.policy, deep).append(reason)
    if around.renewed:
        deep += [
            Reason(path, None, None, f"{address} {around.renewed[address]}")
            for path, address in uses(replica.live)
            if address in around.renewed and _still_set(spec, path)
        ]
    return deep, at_start, shallow


def _image(spec: Spec, replica: Replica, around: Surroundings) -> Iterable[Reason]:
    address = spec.fields["image"]
    wanted = around.images.get(address, "")
    if replica.image != wanted and not ignoring.ignores(spec.fields, "image"):
        before = replica.applied.get("image", address)
        text = "its image changes" if before == address else f"its image is {address} now, no longer {before}"
        yield Reason("image", replica.image, wanted, text)


def _name(stack: str, spec: Spec, replica: Replica) -> list[Reason]:
    """That somebody has renamed it."""
    wanted = engine_name(stack, spec.kind, spec.name, replica.index)
    if not stack or replica.name == wanted:
        return []
    text = f"it was renamed to {printable(replica.name)}"
    return [Reason("name", replica.name, wanted, text, policy=fields.IN_PLACE)]


def _secrets(spec: Spec, replica: Replica, around: Surroundings) -> Iterable[Reason]:
    mounts = spec.fields.get("secrets")
    if not mounts:
        return
    held = {mount["secret"]: mount.get("fingerprint") for mount in replica.live.get("secrets", ())}
    for mount in mounts:
        name = mount["secret"]
        if name not in held:
            continue  # a difference of the field itself
        wanted, has = around.fingerprints.get(name), held[name]
        if (wanted is not None and wanted != has) if has else name in around.changing:
            path = f"secrets.{name}"
            why = reasons.of_value(path, f"{path} {SENSITIVE}: {reasons.VALUE_CHANGES}")
            yield why._replace(policy=contents.policy(spec.fields, path))


def _still_set(spec: Spec, path: str) -> bool:
    return any(path == other for other, _ in uses(spec.fields))
