"""`moved(…)` carried out: what exists under a former address gets the names and labels of its address of now.

Containers, networks and volumes are renamed as they are, while they are in use. Killed anywhere, the next plan finds
what still has its former address and does the rest: what has its new name already is only labelled.
"""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.engines import labels
from stackpy.engines.translation import OWN_ALIASES, resource_labels
from stackpy.planning.moving import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.engines.facade import Document, Facade
    from stackpy.planning.plan import Change, Desired


def move(engine: Facade, change: Change, desired: Desired, generation: int) -> None:
    """Renames what the change moves. Raises StackpyError, Missing."""
    old = change.reasons[0].old
    kind, _, name = change.address.partition(".")
    stack = desired.stack.name
    given = resource_labels(stack, desired.stack.resources[change.address], generation)
    _relabel(engine, stack, {old: change.address})
    if kind in ("container", "job"):
        for document in engine.containers(stack):
            if document["config"]["labels"].get(labels.RESOURCE) == old:
                _container(engine, document, stack, kind, name)
        return
    before, now = engine_name(stack, kind, old.partition(".")[2]), engine_name(stack, kind, name)
    known = {each["name"] for each in (engine.networks() if kind == "network" else engine.volumes())}
    if before in known:
        (engine.rename_network if kind == "network" else engine.rename_volume)(before, now)
    (engine.label_network if kind == "network" else engine.label_volume)(now, given)


def _relabel(engine: Facade, stack: str, moves: dict[str, str]) -> None:
    """What containers note of the fields and dependencies that were applied names things by their names of now."""
    for document in engine.containers(stack):
        own = document["config"]["labels"]
        fields, dependencies = labels.applied(own), labels.dependencies(own)
        renamed = tuple(each._replace(address=moves.get(each.address, each.address)) for each in dependencies)
        if names(fields, moves) == fields and renamed == dependencies:
            continue
        noted = {**own, labels.SPEC: labels.dump(names(fields, moves))}
        if renamed:
            noted[labels.DEPENDENCIES] = labels.dump_dependencies(renamed)
        engine.update(document["id"], {"labels": noted})


def _container(engine: Facade, document: Document, stack: str, kind: str, name: str) -> None:
    own = document["config"]["labels"]
    index = own.get(labels.REPLICA, "1")
    wanted = engine_name(stack, kind, name, int(index) if index.isascii() and index.isdigit() else 1)
    if document["name"] != wanted:
        engine.rename(document["id"], wanted)
    # The label last: until it is there, the container is still to be moved.
    changes: dict[str, Any] = {"labels": {**own, labels.RESOURCE: f"{kind}.{name}"}}
    if networks := document["config"].get("networks"):
        changes["networks"] = {
            network: {**attachment, "aliases": [name, wanted, *attachment["aliases"][OWN_ALIASES:]]}
            for network, attachment in networks.items()
        }
    engine.update(document["id"], changes)
