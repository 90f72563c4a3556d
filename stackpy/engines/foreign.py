"""Objects that have a name which the stack wants, and are not the stack's."""

from __future__ import annotations

from stackpy.engines import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.engines.facade import Document, Facade


def found(engine: Facade, stack: str, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(kind, name) of those that there are → "stack `x`" that it belongs to, or "" where it is nobody's."""
    result: dict[tuple[str, str], str] = {}
    wanted = list(names)
    processes = [name for kind, name in wanted if kind in ("container", "job")]
    holders = {each["name"]: each["config"].get("labels", {}) for each in engine.containers_named(processes)}
    known: dict[str, dict[str, Document]] = {}
    for kind, name in wanted:
        own = holders.get(name) if kind in ("container", "job") else _other(engine, known, kind, name)
        if own is not None and own.get(labels.STACK) != stack:
            result[kind, name] = f"stack `{own[labels.STACK]}`" if own.get(labels.STACK) else ""
    return result


def _other(engine: Facade, known: dict[str, dict[str, Document]], kind: str, name: str) -> Mapping[str, str] | None:
    if kind not in known:
        listed = {"network": engine.networks, "volume": engine.volumes, "secret": engine.secrets}[kind]()
        known[kind] = {document["name"]: document for document in listed}
    document = known[kind].get(name)
    return None if document is None else document["labels"]
