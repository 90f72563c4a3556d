"""Objects that have a name which the stack wants, and are not the stack's."""

from __future__ import annotations

from stackpy.engines import labels
from stackpy.engines.facade import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.engines.facade import Document, Facade


def found(engine: Facade, stack: str, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(kind, name) of those that there are → "stack `x`" that it belongs to, or "" where it is nobody's.

    Of kind "address" a name is a network's and an address: who has it, "container `x`" or of the stack its address.
    """
    result: dict[tuple[str, str], str] = {}
    wanted = list(names)
    processes = [name for kind, name in wanted if kind in ("container", "job")]
    holders = {each["name"]: each["config"].get("labels", {}) for each in engine.containers_named(processes)}
    known: dict[str, dict[str, Document]] = {}
    for kind, name in wanted:
        if kind == "address":
            if holder := _holder(engine, stack, *name.split(" ")):
                result[kind, name] = holder
            continue
        own = holders.get(name) if kind in ("container", "job") else _other(engine, known, kind, name)
        if own is not None and own.get(labels.STACK) != stack:
            result[kind, name] = f"stack `{own[labels.STACK]}`" if own.get(labels.STACK) else ""
    return result


def _holder(engine: Facade, stack: str, network: str, address: str) -> str:
    try:
        identity = engine.addresses(network).get(address)
        document = engine.container(identity) if identity else None
    except Missing:
        return ""  # the network is yet to be made
    if document is None:
        return ""
    own = document["config"].get("labels", {})
    if own.get(labels.STACK) == stack and own.get(labels.RESOURCE):
        return str(own[labels.RESOURCE])
    return f"container `{document['name']}`"


def _other(engine: Facade, known: dict[str, dict[str, Document]], kind: str, name: str) -> Mapping[str, str] | None:
    if kind not in known:
        listed = {"network": engine.networks, "volume": engine.volumes, "secret": engine.secrets}[kind]()
        known[kind] = {document["name"]: document for document in listed}
    document = known[kind].get(name)
    return None if document is None else document["labels"]
