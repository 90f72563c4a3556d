"""`ignore_changes`: differences that are not the stack file's business, because somebody else sets these fields.

They are as they are while a container stays, and as the stack file says where one is made.
"""

from __future__ import annotations

from _collections_abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.specs import Fields


def kept(desired: Fields, live: Fields) -> Fields:
    """The desired fields, those that are ignored as they are now."""
    paths = desired.get("ignore_changes")
    if not paths:
        return desired
    result: dict[str, Any] = dict(desired)
    for path in paths:
        name, dot, key = path.partition(".")
        if not dot:
            _take(result, live, name)
        else:
            now = live.get(name)
            entries = dict(result.get(name) or {})
            _take(entries, now if isinstance(now, Mapping) else {}, key)
            result[name] = entries
    return result


def ignores(desired: Fields, name: str) -> bool:
    """Whether a whole field is ignored."""
    return name in desired.get("ignore_changes", ())


def _take(into: dict[str, Any], source: Mapping[str, Any], key: str) -> None:
    if key in source:
        into[key] = source[key]
    else:
        into.pop(key, None)
