"""Objects that have a name which the stack wants, and are not the stack's."""

from __future__ import annotations

from stackpy.engines import labels
from stackpy.engines.facade import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.engines.facade import Document, Facade


def found(engine: Facade, stack: str, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(kind, name) of those that there are → "stack `x`" that it belongs to, or "" where it is nobody's."""
    result: dict[tuple[str, str], str] = {}
    known: dict[str, dict[str, Document]] = {}
    for kind, name in names:
        own = _container(engine, name) if kind in ("container", "job") else _other(engine, known, kind, name)
        if own is not None and own.get(labels.STACK) != stack:
            result[kind, name] = f"stack `{own[labels.STACK]}`" if own.get(labels.STACK) else ""
    return result


def _container(engine: Facade, name: str) -> Mapping[str, str] | None:
    try:
        document = engine.container(name)
    except Missing:
        return None
    # a name that is the beginning of an ID is no conflict
    own: Mapping[str, str] = document["config"].get("labels", {})
    return own if document["name"] == name else None


def _other(engine: Facade, known: dict[str, dict[str, Document]], kind: str, name: str) -> Mapping[str, str] | None:
    if kind not in known:
        listed = {"network": engine.networks, "volume": engine.volumes, "secret": engine.secrets}[kind]()
        known[kind] = {document["name"]: document for document in listed}
    document = known[kind].get(name)
    return None if document is None else document["labels"]
