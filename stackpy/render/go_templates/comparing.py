"""eq, lt and the others, which compare only values of one kind; pkg.go.dev/text/template, funcs.go."""

from __future__ import annotations

from stackpy.render.go_templates.evaluation import Failed
from stackpy.render.go_templates.values import NO_VALUE, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def equal(first: Any, *others: Any) -> bool:
    """Whether the first equals one of the others."""
    return any(_same(first, other) for other in others)


def less(one: Any, other: Any) -> bool:
    """Whether one comes before the other; raises Failed where there is no order."""
    _comparable(one, other)
    if one is None or one is NO_VALUE or isinstance(one, bool):
        raise Failed(f"{kind(one)} has no order")
    return bool(one < other)


def _same(one: Any, other: Any) -> bool:
    nil = (None, NO_VALUE)
    if any(one is value for value in nil) or any(other is value for value in nil):
        return any(one is value for value in nil) and any(other is value for value in nil)
    _comparable(one, other)
    return bool(one == other)


def _comparable(one: Any, other: Any) -> None:
    for value in (one, other):
        if isinstance(value, (dict, list, tuple)):
            raise Failed(f"a {kind(value)} cannot be compared")
    if kind(one) != kind(other):
        raise Failed(f"a {kind(one)} is not compared with a {kind(other)}")
