"""Why a resource is as it is, and what would become of it: one answer from all that is known. Pure.

Each line of an answer is a fact with its reason; what is wrong comes first, what was comes last.
"""

from __future__ import annotations

from stackpy.dsl.specs import DEFAULT_PROBE
from stackpy.planning.attribution import place, place_of
from stackpy.planning.plan import Action
from stackpy.planning.quantities import ago, plural, printable
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Dependency, Spec
    from stackpy.planning.attribution import Written
    from stackpy.planning.plan import Desired, Observation, Plan, Replica

    Document = Mapping[str, Any]
    Where = Callable[[str, str], str]  # address, path of a field → FILE:LINE

_VERBS = {
    Action.CREATE: "created",
    Action.MOVE: "moved",
    Action.UPDATE: "updated in place",
    Action.REPLACE: "replaced",
    Action.START: "started",
    Action.RESTART: "restarted",
    Action.DELETE: "deleted",
    Action.BUILD: "built",
    Action.PULL: "pulled",
    Action.PUSH: "pushed",
    Action.RUN: "run",
    Action.SNAPSHOT: "kept as a snapshot",
    Action.RESTORE: "restored",
}


class Point(NamedTuple):
    """One line of an answer.

    topic: declared, plan, state, health, waits, port, kept, history, log or events
    place: FILE:LINE of the user's that it comes from, or ""
    """

    topic: str
    text: str
    place: str = ""


class Running(NamedTuple):
    """What the kernel and the engine say of a container that runs.

    listening: (address, port) of TCP sockets inside; None: it cannot be seen
    """

    started: float  # seconds ago
    restarts: int
    check: str  # what its health check said last, where it failed
    listening: frozenset[tuple[str, int]] | None


def of_resource(
    address: str,
    plan: Plan,
    desired: Desired,
    observation: Observation,
    running: Mapping[str, Running],
    history: Iterable[Document],
    written: Written = lambda spec, path: spec.location,
) -> list[Point]:
    """All that is to be said of a resource.

    running: by container name; history: documents of generations, the newest first; written: where a field of a
    resource is written, or its call where that does not say it
    """
    spec = desired.stack.resources.get(address)
    folder = desired.stack.folder

    def where(of: str, path: str) -> str:
        return place_of(of, path, desired, written)

    points = [_declared(address, spec, folder)]
    points += _planned(address, plan, desired, where)
    points += _opposed(address, plan)
    points += _states(address, observation, running, where)
    if spec is not None:
        points += _waits(spec, desired, observation, where)
        points += _ports(spec, observation, running, where)
    points += _kept(address, desired, observation)
    points += _history(address, history)
    return points


def _declared(address: str, spec: Spec | None, folder: str) -> Point:
    if spec is None:
        return Point("declared", f"{address} is not declared any more; it exists on the engine")
    if address == "network.default":
        return Point("declared", "the network that containers are on which name none; the first of them declares it",
                     place(spec.location.file, spec.location.line, folder))  # fmt: skip
    return Point("declared", f"{address} is declared", place(spec.location.file, spec.location.line, folder))


def _planned(address: str, plan: Plan, desired: Desired, where: Where) -> Iterator[Point]:
    changes = [change for change in plan.changes if change.address == address]
    if not changes:
        yield Point("plan", "an apply would leave it as it is: nothing differs from the stack file")
    images = {change.address: change for change in plan.changes if change.action is Action.BUILD}
    for change in changes:
        done = " ".join(filter(None, (_VERBS[change.action], f"({change.order})" if change.order else "")))
        for reason in change.reasons:
            text = f"an apply would have it {done}: {printable(reason.text)}"
            yield Point("plan", text, where(address, reason.path))
            if reason.path == "image":
                for other in (images[one] for one in change.depends_on if one in images):
                    told = other.reasons[0]
                    text = f"{other.address} would be built: {printable(told.text)}"
                    yield Point("plan", text, where(other.address, told.path))


def _opposed(address: str, plan: Plan) -> Iterator[Point]:
    """Why an apply would not do it."""
    for refusal in plan.refusals:
        if refusal.address == address:
            hint = f"; {printable(refusal.hint)}" if refusal.hint else ""
            yield Point("plan", f"an apply would refuse that: {printable(refusal.text)}{hint}")
    for verdict in plan.verdicts:
        if verdict.address == address:
            word = "denies" if verdict.level == "deny" else "warns"
            yield Point("plan", f"the policy {verdict.policy} {word}: {printable(verdict.text)}", verdict.place)


def _states(address: str, observation: Observation, running: Mapping[str, Running], where: Where) -> Iterator[Point]:
    observed = observation.resources.get(address)
    if observed is None:
        if not address.startswith("image."):
            yield Point("state", "it does not exist on the engine")
        return
    for replica in observed.replicas:
        yield from _state(replica, running.get(replica.name), lambda path: where(address, path))
    crash = observation.crashes.get(address)
    if crash and not any(replica.why and crash.endswith(replica.why) for replica in observed.replicas):
        yield Point("state", crash)


def _state(replica: Replica, now: Running | None, where: Callable[[str], str]) -> Iterator[Point]:
    name = replica.name
    if replica.status == "exited":
        code = "its exit code is unknown" if replica.exit_code is None else f"with {replica.exit_code}"
        when = f" {ago(replica.ended)}" if replica.ended else ""
        why = replica.why or _CODES.get(replica.exit_code or 0, "")
        field = "mem_limit" if why.startswith("out of memory") else "command"
        yield Point("state", f"{name} exited {code}{when}" + (f": {why}" if why else ""), where(field))
    elif replica.status == "created":
        yield Point("state", f"{name} was created and never started")
    elif replica.status == "paused":
        yield Point("state", f"{name} is paused: `stackpy unpause {name}` has it go on")
    elif now is not None:
        again = f", after {plural(now.restarts, 'restart')}" if now.restarts else ""
        since = ago(now.started)
        lasting = f"for {since.removesuffix(' ago')}" if since.endswith(" ago") else "since just now"
        yield Point("state", f"{name} is {replica.status}, {lasting}{again}")
        if replica.health in ("unhealthy", "starting"):
            word = "fails" if replica.health == "unhealthy" else "has not passed yet"
            said = f": {printable(now.check)}" if now.check else ""
            yield Point("health", f"{name} is {replica.health}: its health check {word}{said}", where("healthcheck"))


# Exit codes whose meaning is fixed by the shell and by Docker.
_CODES = {
    125: "the engine could not start it",
    126: "its command cannot be executed",
    127: "its command was not found",
    130: "interrupted (SIGINT)",
    137: "killed (SIGKILL): by `kill`, by a stop that it did not heed, or for want of memory",
    139: "it crashed (SIGSEGV)",
    143: "terminated (SIGTERM)",
}


def _waits(spec: Spec, desired: Desired, observation: Observation, where: Where) -> Iterator[Point]:
    for dependency in spec.dependencies:
        other = desired.stack.resources.get(dependency.address)
        if other is None or other.kind not in ("container", "job"):
            continue
        missing = _unmet(dependency, other, observation)
        if missing:
            text = f"it waits until {dependency.address} is {dependency.condition}: {missing}"
            yield Point("waits", text, where(spec.address, "depends_on"))


def _unmet(dependency: Dependency, other: Spec, observation: Observation) -> str:
    observed = observation.resources.get(dependency.address)
    replicas = () if observed is None else observed.replicas
    if not replicas:
        return "it does not exist yet"
    for replica in replicas:
        if dependency.condition == "completed":
            if replica.status != "exited":
                return f"{replica.name} is {replica.status}"
            if replica.exit_code:
                return f"{replica.name} exited with {replica.exit_code}"
        elif replica.status != "running":
            return f"{replica.name} is {replica.status}"
        elif dependency.condition == "healthy" and replica.health in ("starting", "unhealthy"):
            probe = {**DEFAULT_PROBE, **(other.fields.get("healthcheck") or {})}
            return f"{replica.name} is {replica.health}; it is asked every {probe['interval']:g} s"
    return ""


def _ports(spec: Spec, observation: Observation, running: Mapping[str, Running], where: Where) -> Iterator[Point]:
    observed = observation.resources.get(spec.address)
    for port in spec.fields.get("ports", ()) if observed is not None else ():
        if (port.get("protocol") or "tcp") != "tcp":
            continue
        shown = f"{port['host_ip']}:{port['published'] or '(any free port)'}"
        line = where(spec.address, f"ports.{port['target']}/tcp")
        for replica in observed.replicas if observed is not None else ():
            now = running.get(replica.name)
            if now is None:
                yield Point("port", f"{shown} does not reach {replica.name}, which does not run", line)
                continue
            if now.listening is None:
                continue
            addresses = {address for address, number in now.listening if number == port["target"]}
            if not addresses:
                ears = ", ".join(str(number) for _, number in sorted(now.listening, key=lambda one: one[1]))
                instead = f"it listens on {ears}" if ears else "it listens on no port"
                yield Point("port", f"{shown} is not answered: nothing in {replica.name} listens on "
                                    f"{port['target']}; {instead}", line)  # fmt: skip
            elif all(address.startswith("127.") or address == "::1" for address in addresses):
                only = ", ".join(sorted(addresses))
                text = f"in {replica.name}, port {port['target']} is open on {only} alone; let it listen on 0.0.0.0"
                yield Point("port", f"{shown} is not answered: {text}", line)
            else:
                yield Point("port", f"{shown} reaches {replica.name}, which listens on {port['target']}")


def _kept(address: str, desired: Desired, observation: Observation) -> Iterator[Point]:
    kind, _, name = address.partition(".")
    if kind not in ("volume", "network", "secret", "image"):
        return
    users = sorted(
        {
            other.address
            for other in observation.resources.values()
            for replica in other.replicas
            if _uses(kind, name, address, replica.live, replica.applied)
        }
    )
    if users:
        yield Point("kept", f"it is used by {', '.join(users)}")
    elif kind == "volume" and address in observation.resources:
        why = "" if address in desired.stack.resources else ", though the stack file does not declare it any more"
        yield Point("kept", f"it is kept{why}: data is deleted by `destroy --volumes` and `volume rm` alone")


def _uses(kind: str, name: str, address: str, live: Mapping[str, Any], applied: Mapping[str, Any]) -> bool:
    if kind == "image":
        return bool(applied.get("image") == address)
    if kind == "network":
        return name in (live.get("networks") or {})
    if kind == "secret":
        return any(mount["secret"] == name for mount in live.get("secrets", ()))
    return any(mount["type"] == "volume" and mount["source"] == name for mount in live.get("volumes", ()))


def _history(address: str, history: Iterable[Document]) -> Iterator[Point]:
    """What the last generation did to it, and the one in which it failed last, if that is newer."""
    for document in history:
        done = False
        for change in document.get("changes", ()):
            if change.get("address") != address:
                continue
            reasons = "; ".join(str(reason["text"]) for reason in change.get("reasons", ()))
            failure = document.get("failures", {}).get(address)
            result = change.get("result")
            what = f"{change['action']} {result}" if result != "done" else f"{change['action']}"
            text = f"generation {document.get('generation')}, {document.get('time')}: {what}: {printable(reasons)}"
            yield Point("history", text + (f"; {printable(failure)}" if failure else ""))
            done = done or result == "done"
        if done:
            return


def of_port(
    number: int,
    protocol: str,
    holders: Sequence[Document],
    processes: Sequence[str],
    wanting: Sequence[tuple[str, str, str]],
) -> list[Point]:
    """Who holds a port of the host.

    holders: of the engine's containers: name, stack, resource, state, host_ip, target
    processes: others that listen on it, in words; wanting: (address, host address, place) of the stack's resources
    """
    shown = f"{number}/{protocol}"
    points = []
    for row in holders:
        owner = f" ({row['resource']} of stack {row['stack']})" if row["stack"] else ""
        verb = "is published by" if row["state"] in ("running", "paused", "restarting") else "belongs to"
        free = "" if processes else ": nothing holds it now"
        tail = "" if verb == "is published by" else f", which is {row['state']}{free}"
        points.append(
            Point("port", f"{row['host_ip']}:{shown} {verb} {row['name']}{owner}, port {row['target']} in it{tail}")
        )
    points += [Point("port", f"{shown} is held by {text}") for text in processes]
    points += [Point("declared", f"{address} publishes {host}:{shown}", where) for address, host, where in wanting]
    return points or [Point("port", f"nothing holds port {shown}, and the stack here does not publish it")]


def of_blob(keeping: Document) -> list[Point]:
    """Why something is on the disk."""
    from stackpy.planning.quantities import size

    what = " and ".join(keeping["what"])
    article = "an" if what.startswith("i") else "a"
    room = f", {size(keeping['size'])} on disk" if keeping["size"] else ""
    points = [Point("kept", f"sha256:{keeping['digest'][:12]} is {article} {what}{room}")]
    for image in keeping["images"]:
        names = ", ".join(image["references"]) or "has no name"
        text = f"image {image['id'][:19]} ({names}) needs it"
        if image["containers"]:
            text += f"; made of it: {', '.join(image['containers'])}"
        elif image["history"]:
            text += ", which a kept generation names: a rollback may ask for it"
        elif not image["references"]:
            text += ": `stackpy image prune` removes it"
        points.append(Point("kept", text))
    points += [Point("kept", f"it is the result of {printable(step)}") for step in keeping["steps"][:5]]
    if not keeping["images"]:
        last = "the build cache keeps it: `stackpy builder prune` frees it" if keeping["steps"] else (
            "nothing refers to it: it goes with the next collection of garbage")  # fmt: skip
        points.append(Point("kept", last))
    return points
