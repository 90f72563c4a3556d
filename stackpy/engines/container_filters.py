"""`ps --filter`: which containers are meant, by docker's keys and some of ours. Pure."""

from __future__ import annotations

import re

from stackpy.engines import labels
from stackpy.engines.listings import networks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Document = Mapping[str, Any]
    Test = Callable[[Document], bool]

STATUSES = ("created", "restarting", "running", "paused", "exited")
# Docker's, for what a container of ours never is: they match nothing.
_NEVER = ("removing", "dead")
HEALTHS = ("starting", "healthy", "unhealthy", "none")
KEYS = (
    "ancestor before exited expose health id is-task label name network publish resource since stack status volume"
).split()


class Surroundings:
    """What else of the engine filters ask for, looked up when one does.

    containers, images, networks: all of the engine
    """

    def __init__(
        self,
        containers: Sequence[Document],
        images: Callable[[], Iterable[Document]],
        networks: Callable[[], Iterable[Document]],
    ) -> None:
        self.containers, self.images, self.networks = containers, images, networks


def matching(around: Surroundings, filters: Iterable[tuple[str, str]]) -> list[Document]:
    """The containers that filters let through: one value of each key, and of `label` every one, as docker has it.

    Raises ValueError, saying what was expected, for a key or a value that means nothing.
    """
    wanted: dict[str, list[Test]] = {}
    for key, value in filters:
        if key not in _TESTS:
            raise ValueError(f"unknown filter `{key}`: expected one of {', '.join(KEYS)}")
        wanted.setdefault(key, []).append(_TESTS[key](value, around))
    return [
        document
        for document in around.containers
        if all((all if key == "label" else any)(test(document) for test in tests) for key, tests in wanted.items())
    ]


def _own(document: Document) -> Mapping[str, str]:
    found: Mapping[str, str] = document["config"].get("labels", {})
    return found


def _pattern(value: str) -> re.Pattern[str]:
    """What docker's name and id filters take: a regular expression that is looked for anywhere."""
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"`{value}` is no regular expression: {error}") from None


def _id(value: str, around: Surroundings) -> Test:
    pattern = _pattern(value)
    return lambda document: bool(pattern.search(document["id"]))


def _name(value: str, around: Surroundings) -> Test:
    # Docker's names begin with a slash, and people have written `^/web$` for years.
    pattern, slashed = _pattern(value), _pattern(value.replace("^/", "^"))
    return lambda document: bool(pattern.search(document["name"]) or slashed.search(document["name"]))


def _label(value: str, around: Surroundings) -> Test:
    key, equals, wanted = value.partition("=")
    return lambda document: key in _own(document) and (not equals or _own(document)[key] == wanted)


def _labelled(label: str) -> Callable[[str, Surroundings], Test]:
    return lambda value, around: lambda document: _own(document).get(label) == value


def _resource(value: str, around: Surroundings) -> Test:
    return lambda document: (own := _own(document).get(labels.RESOURCE, "")) == value or own.partition(".")[2] == value


def _one_of(value: str, known: Sequence[str], field: Callable[[Document], str]) -> Test:
    if value not in known:
        raise ValueError(f"`{value}`: expected one of {', '.join(known)}")
    return lambda document: field(document) == value


def _status(value: str, around: Surroundings) -> Test:
    return _one_of(value, (*STATUSES, *_NEVER), lambda document: str(document["state"]["status"]))


def _health(value: str, around: Surroundings) -> Test:
    return _one_of(value, HEALTHS, lambda document: document["state"]["health"] or "none")


def _exited(value: str, around: Surroundings) -> Test:
    if not value.removeprefix("-").isdigit():
        raise ValueError(f"`{value}`: expected an exit code")
    code = int(value)
    return lambda document: document["state"]["status"] == "exited" and document["state"]["exit_code"] == code


def _network(value: str, around: Surroundings) -> Test:
    by_id = {str(each["name"]) for each in around.networks() if value and str(each["id"]).startswith(value)}

    def test(document: Document) -> bool:
        own = {*networks_of(document["config"]), *document["networks"]}
        return value in own or bool(own & by_id)

    return test


def _volume(value: str, around: Surroundings) -> Test:
    def test(document: Document) -> bool:
        mounts = document["config"].get("mounts", ())
        return any(value == mount["source"] or value.rstrip("/") == mount["target"].rstrip("/") for mount in mounts)

    return test


def _ancestor(value: str, around: Surroundings) -> Test:
    """An image by name or ID: containers that were made of it, or of an image that begins with its layers."""
    images = list(around.images())
    tagged = value if ":" in value.rpartition("/")[2] or "@" in value else f"{value}:latest"
    digits = value.removeprefix("sha256:")
    meant = [
        image
        for image in images
        if tagged in image["references"]
        or value in image.get("origins", ())
        or (len(digits) >= 2 and str(image["id"]).removeprefix("sha256:").startswith(digits))
    ]
    if not meant:
        return lambda document: document["config"]["image"] in (value, tagged)
    found = {
        image["id"]
        for image in images
        for base in meant
        if image["id"] == base["id"] or (base["layers"] and image["layers"][: len(base["layers"])] == base["layers"])
    }
    return lambda document: document["image_id"] in found


def _moment(value: str, around: Surroundings, *, before: bool) -> Test:
    for document in around.containers:
        if value and (value == document["name"] or str(document["id"]).startswith(value)):
            created = str(document["created"])
            return lambda other: other["created"] < created if before else other["created"] > created
    raise ValueError(f"no container is called `{value}`")


def _ports(value: str) -> tuple[int, int, str]:
    """`80`, `80/udp` or `8000-8010/tcp` as first, last and protocol."""
    numbers, _, protocol = value.partition("/")
    first, _, last = numbers.partition("-")
    if not first.isdigit() or not (last or first).isdigit() or (protocol or "tcp") not in ("tcp", "udp", "sctp"):
        raise ValueError(f"`{value}`: expected PORT, PORT/PROTOCOL or FIRST-LAST/PROTOCOL")
    return int(first), int(last or first), protocol or "tcp"


def _publish(value: str, around: Surroundings) -> Test:
    first, last, protocol = _ports(value)
    return lambda document: any(
        first <= port["published"] <= last and port["protocol"] == protocol
        for port in document["config"].get("ports", ())
    )


def _expose(value: str, around: Surroundings) -> Test:
    first, last, protocol = _ports(value)
    exposed = {image["id"]: image["config"].get("ExposedPorts") or {} for image in around.images()}

    def test(document: Document) -> bool:
        own = {f"{port['target']}/{port['protocol']}" for port in document["config"].get("ports", ())}
        own |= set(exposed.get(document["image_id"], ()))
        return any(f"{number}/{protocol}" in own for number in range(first, last + 1))

    return test


def _is_task(value: str, around: Surroundings) -> Test:
    if value not in ("true", "false"):
        raise ValueError(f"`{value}`: expected true or false")
    return lambda document: value == "false"  # Swarm's; there is none here


_TESTS: dict[str, Callable[[str, Surroundings], Test]] = {
    "ancestor": _ancestor,
    "before": lambda value, around: _moment(value, around, before=True),
    "exited": _exited,
    "expose": _expose,
    "health": _health,
    "id": _id,
    "is-task": _is_task,
    "label": _label,
    "name": _name,
    "network": _network,
    "publish": _publish,
    "resource": _resource,
    "since": lambda value, around: _moment(value, around, before=False),
    "stack": _labelled(labels.STACK),
    "status": _status,
    "volume": _volume,
}
