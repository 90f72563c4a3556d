"""stackpy why."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from stackpy.cli.context import Context
    from stackpy.planning.plan import Observation
    from stackpy.planning.why import Point, Running

_EVENTS = 5  # of a resource's containers, the newest
_LINES = 3  # of a container's log
_TELLING = ("start", "die", "oom", "kill", "stop", "restart", "pause", "unpause", "health_status")


def run(context: Context, arguments: Any) -> int:
    """Prints one answer."""
    context.read_only = True
    words = list(arguments.subject)
    if words[0] in ("port", "blob", "layer"):
        if len(words) != 2:
            raise UsageError(f"`why {words[0]}` needs one {'number' if words[0] == 'port' else 'digest'}",
                             hint="as in `stackpy why port 8080`, `stackpy why blob sha256:0123abcd`")  # fmt: skip
        points = _port(context, words[1]) if words[0] == "port" else _blob(context, words[1])
    elif len(words) == 1 and words[0].startswith("sha256:"):
        points = _blob(context, words[0])
    elif len(words) == 1:
        points = _resource(context, words[0])
    else:
        raise UsageError(f"`why` answers for one thing at a time, not for `{' '.join(words)}`")
    if context.json:
        terminal.print_json([point._asdict() for point in points])
        return 0
    width = max(len(point.topic) for point in points)
    for place, point in enumerate(points):
        topic = "" if place and points[place - 1].topic == point.topic else point.topic
        where = terminal.paint(f"  {point.place}", "2", sys.stdout) if point.place else ""
        print(f"{topic:<{width}}  {point.text}{where}")
    return 0


def _resource(context: Context, word: str) -> list[Point]:
    from stackpy.planning.why import of_resource
    from stackpy.project.locating import Locator

    planned = context.plan()
    address = _address(word, planned.desired.stack.name, [*planned.stack.resources, *planned.observation.resources])
    observed = planned.observation.resources.get(address)
    points = of_resource(
        address,
        planned.plan,
        planned.desired,
        planned.observation,
        dict(_running(context, planned.observation, address)),
        _generations(context, planned.observation),
        Locator({}).written,
    )
    ailing = [
        replica.name
        for replica in (observed.replicas if observed is not None else ())
        if replica.status in ("exited", "restarting") or replica.health == "unhealthy"
    ]
    return [*points, *_last_words(context, ailing), *_events(context, planned.desired.stack.name, address)]


def _address(word: str, stack: str, known: list[str]) -> str:
    """The address that is meant: itself, a resource's name, or a container's on the engine."""
    from stackpy.dsl.values import meant
    from stackpy.planning import targeting

    plain = word.removeprefix(f"{stack}-").rpartition("-")
    for name in (word, word.partition(".")[0], plain[0] if plain[2].isdigit() else ""):
        if name and (found := targeting.meant(name, known)):
            return found
    names = [*known, *(address.partition(".")[2] for address in known)]
    otherwise = f"it has {', '.join(dict.fromkeys(known))}"
    raise StackpyError(f"no resource `{word}` in stack `{stack}`", hint=meant(word, names, otherwise))


def _running(context: Context, observation: Observation, address: str) -> Iterator[tuple[str, Running]]:
    import time

    from stackpy.cli.sockets import listening
    from stackpy.engines.observation import seconds
    from stackpy.planning.why import Running

    observed = observation.resources.get(address)
    for replica in observed.replicas if observed is not None else ():
        if replica.status not in ("running", "restarting"):
            continue
        document = context.engine().inspect(replica.name)
        state = document["State"]
        log = (state.get("Health") or {}).get("Log") or []
        failed = [entry for entry in log if entry.get("ExitCode")]
        check = f"{failed[-1].get('Output', '').strip()} (exit {failed[-1]['ExitCode']})" if failed else ""
        yield (
            replica.name,
            Running(
                max(0.0, time.time() - seconds(state["StartedAt"])),
                int(document.get("RestartCount", 0)),
                check,
                _ears(listening(state["Pid"])) if state["Pid"] else None,
            ),
        )


def _ears(sockets: frozenset[tuple[str, int]] | None) -> frozenset[tuple[str, int]] | None:
    """Without our own name server, which every container has at 127.0.0.11."""
    return None if sockets is None else frozenset(one for one in sockets if one[0] != "127.0.0.11")


def _generations(context: Context, observation: Observation) -> Iterator[Mapping[str, Any]]:
    for number in range(observation.generation, 0, -1):
        document = context.engine().generation(observation.stack, number)
        if document is None:
            return  # older ones are not kept either
        yield document


def _last_words(context: Context, names: list[str]) -> Iterator[Point]:
    """The last lines that containers have written which are not well."""
    from stackpy.planning.quantities import printable
    from stackpy.planning.why import Point

    for name in names:
        for line in context.engine().logs(name, follow=False, tail=_LINES, since=None, until=None):
            yield Point("log", f"{name}: {printable(line['text'].rstrip())}")


def _events(context: Context, stack: str, address: str) -> Iterator[Point]:
    """By their labels: a replica that came start-first had another name when it was started."""
    import time

    from stackpy.planning.quantities import ago
    from stackpy.planning.why import Point

    now = time.time_ns()
    filters = [("type", "container"), ("stack", stack), ("resource", address)]
    found = [
        event
        for event in context.engine().events(filters, since=0, until=now)
        if event["Action"].partition(":")[0] in _TELLING
    ]
    for event in found[-_EVENTS:]:
        attributes = event["Actor"]["Attributes"]
        code = f" ({attributes['exitCode']})" if "exitCode" in attributes else ""
        when = ago((now - event["timeNano"]) / 1e9)
        yield Point("events", f"{attributes.get('name', '')} {event['Action']}{code}, {when}")


def _port(context: Context, word: str) -> list[Point]:
    from stackpy.cli import sockets
    from stackpy.planning.attribution import place
    from stackpy.planning.why import of_port
    from stackpy.project.locating import Locator

    number, _, protocol = word.partition("/")
    protocol = protocol or "tcp"
    if not number.isascii() or not number.isdigit() or not 0 < int(number) < 65536 or protocol not in ("tcp", "udp"):
        raise UsageError(f"`{word}` is no port", hint="a number from 1 to 65535, as in `8080` or `53/udp`")
    port = int(number)
    engine = context.engine()
    rows = [
        {**row, "host_ip": binding["host_ip"], "target": binding["target"]}
        for row in engine.ps(None, True)
        for binding in row["ports"]
        if (binding["published"], binding.get("protocol") or "tcp") == (port, protocol)
    ]
    wanting = []
    if context.stack_name():
        stack, locator = context.load().stack, Locator({})
        for spec in stack.resources.values():
            for binding in spec.fields.get("ports", ()):
                if (binding["published"], binding["protocol"]) == (port, protocol):
                    found = locator.written(spec, f"ports.{binding['target']}/{protocol}")
                    where = place(found.file, found.line, stack.folder)
                    wanting.append((spec.address, binding["host_ip"], where))
    held = any(row["state"] in ("running", "paused", "restarting") for row in rows)
    return of_port(port, protocol, rows, [] if held else sockets.holders(port, protocol), wanting)


def _blob(context: Context, word: str) -> list[Point]:
    from stackpy.planning.why import of_blob

    digits = word.removeprefix("sha256:").lower()
    if not 4 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
        raise UsageError(f"`{word}` is no digest", hint="sha256: and hexadecimal digits, of which four are enough")
    found = context.engine().kept_for(word)
    if not found:
        raise StackpyError(f"nothing on the disk of this engine has the digest `{word}`",
                           hint="`stackpy system df -v` lists what there is")  # fmt: skip
    return [point for keeping in found for point in of_blob(keeping)]


COMMAND = Command(
    "why",
    "Tell why something is as it is: changed, waiting, unhealthy, dead, unreachable, or on the disk",
    run,
    details=(
        "For a resource: what an apply would do to it and why, how it is, what it waits for, whether its ports are\n"
        "answered, what the last generations did to it, with the line of the stack file. `port NUMBER` tells who has\n"
        "a port of this host, `blob DIGEST` for whom a blob, a layer or an image is kept."
    ),
    stack=True,
    arguments=[Argument("SUBJECT", help="an address, `port NUMBER`, or `blob DIGEST`", many=True, words="resource")],
    examples=[
        ("stackpy why container.web", "or just `web`"),
        ("stackpy why port 8080", "who holds it"),
        ("stackpy why blob sha256:0123abcd", "what keeps it on the disk"),
    ],
)
