"""The engine's documents of one stack → what the planner compares. Pure, and cheap: `plan` runs it on every save."""

from __future__ import annotations

from stackpy.dsl.references import with_tag
from stackpy.engines import labels
from stackpy.engines.translation import container_fields
from stackpy.planning.plan import Observed, Pull, Recipe, RecipeStep, Replica

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Kind

    Document = Mapping[str, Any]


def resources(
    stack: str,
    *,
    containers: Iterable[Document],
    networks: Iterable[Document],
    volumes: Iterable[Document],
    secrets: Iterable[Document],
    image_recipes: Mapping[str, str],
    now: float,
    lost: Collection[str] = (),
    unlinked: Mapping[str, Sequence[str]] = {},
) -> dict[str, Observed]:
    """The stack's resources that exist, by address; objects that carry no label of the stack are not its own.

    image_recipes: image ID → recipe ID
    now: seconds since the epoch
    lost: names of networks without their bridge and of volumes without their folder
    unlinked: container ID → names of the networks to which it has lost its link
    """
    found: dict[str, Observed] = {}
    for document in networks:
        live = network_fields(document)
        if document["name"] in lost:
            live["lost"] = document["bridge"]
        _add(found, stack, document, "network", live)
    for document in volumes:
        live = with_labels(document, {})
        if document["name"] in lost:
            live["lost"] = document["mountpoint"]
        _add(found, stack, document, "volume", live)
    for document in secrets:
        live = {"fingerprint": document["fingerprint"], "available": document["available"]}
        _add(found, stack, document, "secret", live)
    groups: dict[str, list[tuple[Replica, Document]]] = {}
    for document in containers:
        own = document["config"].get("labels", {})
        if own.get(labels.STACK) == stack and own.get(labels.RESOURCE):
            replica = _replica(stack, document, image_recipes, now)
            if document["id"] in unlinked:
                replica = replica._replace(unlinked=tuple(unlinked[document["id"]]))
            groups.setdefault(own[labels.RESOURCE], []).append((replica, own))
    for address, members in groups.items():
        members.sort(key=lambda member: member[0].index)
        kind, _, name = address.partition(".")
        # replicas may differ after an apply that was killed: the newest knows what the user wanted last
        newest = max(members, key=lambda member: _number(member[1].get(labels.GENERATION)))
        observed = Observed(
            "job" if kind == "job" else "container",
            name,
            live=newest[0].live,
            applied=newest[0].applied,
            replicas=tuple(replica for replica, _ in members),
            dependencies=labels.dependencies(newest[1]),
        )
        found[address] = observed
    return found


def recipe(document: Document) -> Recipe:
    """The engine's recipe in the planner's types."""
    steps = tuple(RecipeStep(step["id"], step["text"], step["line"], step["inputs"]) for step in document["steps"])
    stages = {name: recipe(stage) for name, stage in document.get("stages", {}).items()}
    return Recipe(document["id"], steps, stages)


def tags(images: Iterable[Document]) -> dict[str, str]:
    """Reference → recipe ID or image ID that it names; `web:latest` also as `web`."""
    found: dict[str, str] = {}
    for image in images:
        for reference in image["references"]:
            found[reference] = found[reference.removesuffix(":latest")] = image["recipe"] or image["id"]
    return found


def published(images: Iterable[Document]) -> dict[str, str]:
    """Reference, in each of its spellings → recipe ID or image ID that was last pushed there from this store."""
    found: dict[str, str] = {}
    for image in images:
        for name in image.get("published", ()):
            short = name.removeprefix("docker.io/").removeprefix("library/")
            for spelling in (name, short):
                found[spelling] = found[spelling.removesuffix(":latest")] = image["recipe"] or image["id"]
    return found


def pulls(bases: Iterable[Document], locked: dict[str, dict[str, str]]) -> tuple[Pull, ...]:
    """What of an image's bases is to be fetched; adds what each of them is to `locked`."""
    wanted = []
    for base in bases:
        reference, digest = base["reference"], base["digest"]
        if digest and "@" not in reference:
            locked.setdefault(with_tag(reference), {})[base["runs_on"]] = digest
        if base["missing"]:
            why = base["differs"]
            wanted.append(Pull(reference, base["platform"], "" if "@" in reference else digest, why))
    return tuple(wanted)


def seconds(date: str) -> float:
    """The engine's dates, RFC 3339 in UTC, as seconds since the epoch; 0 for an empty one.

    datetime costs 3 ms to import, on every plan of a stack with a job. The days are counted from 1 March of year 0, so
    that leap days come last (Howard Hinnant, days_from_civil).
    """
    if not date:
        return 0.0
    year, month, day = int(date[:4]), int(date[5:7]), int(date[8:10])
    year -= month <= 2
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468
    return days * 86400 + int(date[11:13]) * 3600 + int(date[14:16]) * 60 + float(date[17:].rstrip("Z"))


def _add(into: dict[str, Observed], stack: str, document: Document, kind: Kind, live: dict[str, Any]) -> None:
    own = document["labels"]
    address = own.get(labels.RESOURCE, "")
    if own.get(labels.STACK) != stack or not address.startswith(f"{kind}."):
        return
    name = address.partition(".")[2]
    into[address] = Observed(kind, name, live, labels.applied(own), dependencies=labels.dependencies(own))


def network_fields(document: Document) -> dict[str, Any]:
    """A network's fields as the engine holds them."""
    return with_labels(document, {"internal": document["internal"], "subnet": document["subnet"]})


def with_labels(document: Document, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, and the labels that are the user's."""
    if users := labels.users(document["labels"]):
        fields["labels"] = users
    return fields


def _replica(stack: str, document: Document, image_recipes: Mapping[str, str], now: float) -> Replica:
    config, state = document["config"], document["state"]
    own = config["labels"]
    image = document["image_id"]
    ended = state["finished_at"] if state["status"] == "exited" else ""
    ending = state.get("ending") or {"cause": "exit"}
    return Replica(
        index=_number(own.get(labels.REPLICA)) or 1,
        id=document["id"],
        name=document["name"],
        status=state["status"],
        health=state["health"],
        exit_code=state["exit_code"],
        ended=max(0.0, now - seconds(ended)) if ended else 0.0,
        image=own.get(labels.RECIPE) or image_recipes.get(image) or image,
        live=container_fields(stack, config),
        applied=labels.applied(own),
        why=str(ending["text"]) if ended and ending["cause"] not in ("exit", "unknown") else "",
    )


def crashes(reports: Iterable[Document], now: float) -> dict[str, str]:
    """When and why a run of a resource crashed for the last time, in words, by address."""
    from stackpy.planning.quantities import ago  # few stacks have crashed

    newest: dict[str, Document] = {}
    for report in reports:
        known = newest.get(report["resource"])
        if known is None or report["finished_at"] > known["finished_at"]:
            newest[report["resource"]] = report
    return {
        address: f"{report['name']} crashed {ago(max(0.0, now - seconds(report['finished_at'])))}: "
        f"{report['ending']['text']}"
        for address, report in newest.items()
    }


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
