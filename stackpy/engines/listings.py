"""Rows of `ps`, `image ls`, `network ls`, `volume ls` and `ls` as their JSON has them (DESIGN §6), and name lookup."""

from __future__ import annotations

from stackpy.engines import labels
from stackpy.engines.documents import argv
from stackpy.engines.observation import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Document = Mapping[str, Any]
    Row = dict[str, Any]


_UNITS = ((1, "second"), (60, "minute"), (3600, "hour"), (86400, "day"), (604800, "week"), (2592000, "month"))
_YEAR = 31536000
# Labels that hold documents of ours for the planner; what they say is shown otherwise.
_DOCUMENTS = (labels.SPEC, labels.DEPENDENCIES, labels.SECRETS, labels.RECIPE)
_SHORTEST_ID_PREFIX = 2  # one digit matches a sixteenth of all containers, and names of one letter are common


def containers(documents: Iterable[Document], images: Mapping[str, Document], now: float) -> list[Row]:
    """Rows of `ps`, in the order of stack, resource and replica.

    images: the engine's images by ID, so that `image` is something that `run` accepts
    now: seconds since the epoch
    """
    rows = [_container(document, images, now) for document in documents]
    return sorted(rows, key=lambda row: (row["stack"] or "~", row["resource"] or "", row["replica"] or 0, row["name"]))


def _container(document: Document, images: Mapping[str, Document], now: float) -> Row:
    config, state = document["config"], document["state"]
    own = config.get("labels", {})
    replica = own.get(labels.REPLICA, "")
    return {
        "id": document["id"],
        "name": document["name"],
        "image": _image_name(document, images),
        "state": state["status"],
        "status": status(state, now),
        "health": state["health"],
        "exit_code": state["exit_code"],
        "reason": reason(state),
        "stack": own.get(labels.STACK),
        "resource": own.get(labels.RESOURCE),
        "replica": int(replica) if replica.isascii() and replica.isdigit() else None,
        "ports": [dict(port) for port in config.get("ports", ())],
        "networks": networks_of(config),
        "command": argv(config, images.get(document["image_id"], {}).get("config", {})),
        "mounts": [mount["source"] or mount["target"] for mount in config.get("mounts", ())],
        "volumes": sum(mount["type"] == "volume" for mount in config.get("mounts", ())),
        "labels": {key: value for key, value in own.items() if key not in _DOCUMENTS},
        "created": document["created"],
    }


def networks_of(config: Document) -> list[str]:
    """The names of the networks that a container is on when it runs, as docker shows them."""
    mode = config.get("network_mode")
    return [mode] if mode else list(config.get("networks", {})) or ["bridge"]


def _image_name(document: Document, images: Mapping[str, Document]) -> str:
    """The reference that was asked for, else the first that names the image, else its ID."""
    asked, image_id = document["config"]["image"], document["image_id"]
    references = images[image_id]["references"] if image_id in images else []
    if asked != image_id and asked in references:
        return str(asked)
    # stacks with equal recipes share an image: the name that its own stack gave says most
    own = f"{document['config'].get('labels', {}).get(labels.STACK)}/"
    return str(min(references, key=lambda name: not name.startswith(own))) if references else str(image_id or asked)


def status(state: Document, now: float) -> str:
    """A container's state as people read it: `Up 4 minutes (healthy)`, `Exited (137) 2 hours ago`."""
    kind = state["status"]
    if kind == "created":
        return "Created"
    # One that is about to run has none yet.
    up = now - seconds(state["started_at"]) if state["started_at"] else 0.0
    code = "unknown" if state["exit_code"] is None else state["exit_code"]
    if kind == "paused":
        return f"Up {period(up)} (Paused)"
    if kind == "running":
        health = {"": "", "starting": " (health: starting)"}.get(state["health"], f" ({state['health']})")
        return f"Up {period(up)}{health}"
    since = f" {period(now - seconds(state['finished_at']))} ago" if state["finished_at"] else ""
    ending = state.get("ending") or {}
    why = f": {ending['text'].partition(chr(10))[0]}" if ending.get("cause", "exit") not in _PLAIN_ENDS else ""
    return f"{'Restarting' if kind == 'restarting' else 'Exited'} ({code}){since}{why}"


_PLAIN_ENDS = ("exit",)  # of which the exit code says enough


def reason(state: Document) -> str:
    """Why a container does not run, or is not healthy; "" where there is nothing to say."""
    if state["status"] in ("running", "paused"):
        return str(state["error"]) if state["health"] == "unhealthy" else ""
    return str(state["ending"]["text"]) if state.get("ending") and state["status"] != "created" else str(state["error"])


def period(length: float) -> str:
    """A length of time in its largest whole unit."""
    whole = max(0, int(length))
    if whole < 1:
        return "less than a second"
    if whole >= 2 * _YEAR:
        return f"{whole // _YEAR} years"
    size, unit = next((size, unit) for size, unit in reversed(_UNITS) if whole >= size)
    count = whole // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def images(documents: Iterable[Document], pattern: str = "", filters: Iterable[tuple[str, str]] = ()) -> list[Row]:
    """Rows of `image ls`: one for each reference, and one for an image without any; newest first.

    pattern: of a name, or of a name with its tag, as a shell's; "" is all
    filters: (key, value) of docker's: dangling, label, reference, before, since, until

    Raises ValueError, naming the filter, for one that means nothing.
    """
    everything = list(documents)
    wanted = [_filter(key, value, everything) for key, value in filters]
    rows = [
        {
            "id": document["id"],
            "reference": reference,
            "digest": document.get("manifest"),  # of the manifest that it was pulled or pushed with
            "size": document["size"],
            "created": _made(document),
        }
        for document in everything
        for reference in document["references"] or [""]
        if (not pattern or _matches(reference, pattern)) and all(each(document, reference) for each in wanted)
    ]
    return sorted(rows, key=lambda row: (row["created"], row["reference"]), reverse=True)


def _made(document: Document) -> str:
    # An image that was built here says 1970, or its base's time, so that every host makes the same.
    return str(document.get("built") or document["created"])


def _matches(reference: str, pattern: str) -> bool:
    """Whether a reference has a name, or a name and tag, of that pattern."""
    from fnmatch import fnmatchcase

    name = reference[: -len(reference.rpartition(":")[2]) - 1] if ":" in reference.rpartition("/")[2] else reference
    return bool(reference) and (fnmatchcase(name, pattern) or fnmatchcase(reference, pattern))


def _filter(key: str, value: str, documents: Sequence[Document]) -> Callable[[Document, str], bool]:
    if key == "dangling" and value in ("true", "false"):
        return lambda document, reference: (not document["references"]) == (value == "true")
    if key == "reference" and value:
        return lambda document, reference: _matches(reference, value)
    if key == "label" and value:
        name, equals, wanted = value.partition("=")
        return lambda document, reference: (
            name in (own := document["config"].get("Labels", {})) and (not equals or own[name] == wanted)
        )
    if key == "until" and value:
        return lambda document, reference: seconds(_made(document)) < seconds(value)
    if key in ("before", "since"):
        tagged = value if ":" in value.rpartition("/")[2] else f"{value}:latest"
        for one in documents:
            digits = str(one["id"]).removeprefix("sha256:")
            if tagged in one["references"] or (value and digits.startswith(value.removeprefix("sha256:"))):
                moment, sign = seconds(_made(one)), 1 if key == "before" else -1
                return lambda document, reference: sign * seconds(_made(document)) < sign * moment
        raise ValueError(f"there is no image `{value}`")
    raise ValueError("expected dangling=true|false, label=KEY[=VALUE], reference=PATTERN, before=, since= or until=")


def networks(documents: Iterable[Document]) -> list[Row]:
    """Rows of `network ls`."""
    return [
        {
            "name": document["name"],
            "driver": document["driver"],
            **_owner(document),
            "id": document["id"],
            "subnet": document["subnet"],
            "gateway": document["gateway"],
            "internal": document["internal"],
            "created": document["created"],
        }
        for document in sorted(documents, key=lambda document: str(document["name"]))
    ]


def volumes(documents: Iterable[Document], snapshots: Mapping[str, int]) -> list[Row]:
    """Rows of `volume ls`. snapshots: how many there are of each"""
    return [
        {
            "name": document["name"],
            "driver": document["driver"],
            **_owner(document),
            "mountpoint": document["mountpoint"],
            "snapshots": snapshots.get(document["name"], 0),
            "created": document["created"],
        }
        for document in sorted(documents, key=lambda document: str(document["name"]))
    ]


def _owner(document: Document) -> dict[str, str | None]:
    own = document["labels"]
    return {"stack": own.get(labels.STACK), "resource": own.get(labels.RESOURCE)}


def stacks(
    engine: str, containers: Iterable[Document], others: Iterable[Document], generations: Mapping[str, int]
) -> list[Row]:
    """Rows of `ls`: stacks of which more than kept volumes is there.

    others: networks, volumes and secrets
    generations: stack → number of its last apply
    """
    addresses: dict[str, set[str]] = {}
    running: dict[str, int] = {}
    for document in containers:
        own = document["config"].get("labels", {})
        if stack := own.get(labels.STACK):
            addresses.setdefault(stack, set()).add(own.get(labels.RESOURCE, document["name"]))
            running[stack] = running.get(stack, 0) + (document["state"]["status"] in ("running", "restarting"))
    for document in others:
        own = document["labels"]
        if stack := own.get(labels.STACK):
            addresses.setdefault(stack, set()).add(own.get(labels.RESOURCE, document["name"]))
    return [
        {
            "name": stack,
            "engine": engine,
            "generation": generations.get(stack, 0),
            "resources": len(found),
            "running": running.get(stack, 0),
        }
        for stack, found in sorted(addresses.items())
        if not all(address.startswith("volume.") for address in found)
    ]


def find(name: str, documents: Iterable[Document], stack: str | None) -> list[str]:
    """Names of the containers that a word means: `web`, `web.2`, `container.web`, a container's name or an ID prefix.

    A resource of `stack` wins over a container's name, and a name over an ID.
    """
    everything = list(documents)
    if stack and (found := _of_stack(name, everything, stack)):
        return found
    for document in everything:
        if name in (document["name"], document["id"]):
            return [document["name"]]
    if len(name) >= _SHORTEST_ID_PREFIX and all(digit in "0123456789abcdef" for digit in name):
        return [document["name"] for document in everything if document["id"].startswith(name)]
    return []


def _of_stack(name: str, documents: Iterable[Document], stack: str) -> list[str]:
    members: dict[str, list[tuple[int, str]]] = {}
    for document in documents:
        own = document["config"].get("labels", {})
        if own.get(labels.STACK) == stack:
            place = (int(own.get(labels.REPLICA) or 1), document["name"])
            members.setdefault(own.get(labels.RESOURCE, ""), []).append(place)
    kinds = ("",) if name.startswith(("container.", "job.")) else ("container.", "job.")
    for kind in kinds:
        if found := members.get(f"{kind}{name}"):
            return [container for _, container in sorted(found)]
    base, dot, number = name.rpartition(".")
    if dot and number.isascii() and number.isdigit():
        for kind in kinds:
            for replica, container in members.get(f"{kind}{base}", ()):
                if replica == int(number):
                    return [container]
    return []
