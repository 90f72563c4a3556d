"""`events --filter`: which events are meant, by docker's keys and some of ours. Pure."""

from __future__ import annotations

from stackpy.engines import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Event = Mapping[str, Any]
    Test = Callable[[Event, str], bool]

TYPES = ("container", "image", "network", "volume")
# Docker's, for what no engine root of ours has: they match nothing.
_NEVER = ("config", "daemon", "node", "plugin", "secret", "service")


def accepting(filters: Iterable[tuple[str, str]]) -> Callable[[Event], bool]:
    """Says of an event whether filters let it through: one value of each key, and of `label` every one.

    Raises ValueError, saying what was expected, for a key or a value that means nothing.
    """
    wanted: dict[str, list[str]] = {}
    for key, value in filters:
        if key not in _TESTS and key not in _NEVER:
            known = sorted([*_TESTS, *_NEVER])
            raise ValueError(f"unknown filter `{key}`: expected one of {', '.join(known)}")
        if key == "type" and value not in (*TYPES, *_NEVER, "builder"):
            raise ValueError(f"`{value}`: expected one of {', '.join(TYPES)}")
        wanted.setdefault(key, []).append(value)
    if any(key in _NEVER for key in wanted):
        return lambda event: False
    return lambda event: all(
        (all if key == "label" else any)(_TESTS[key](event, value) for value in values)
        for key, values in wanted.items()
    )


def _attributes(event: Event) -> Mapping[str, str]:
    found: Mapping[str, str] = event["Actor"]["Attributes"]
    return found


def _action(event: Event, value: str) -> bool:
    # `exec_create: true` and `health_status: healthy` are also meant by what stands before the colon.
    return value in (event["Action"], str(event["Action"]).partition(":")[0])


def _of_type(kind: str) -> Test:
    """By the beginning of the ID or of the name, as docker has it."""

    def test(event: Event, value: str) -> bool:
        name = _attributes(event).get("name", "")
        return event["Type"] == kind and (str(event["Actor"]["ID"]).startswith(value) or name.startswith(value))

    return test


def _image(event: Event, value: str) -> bool:
    name = _attributes(event).get("image" if event["Type"] == "container" else "name", "")
    if event["Type"] not in ("container", "image"):
        return False
    without_tag = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return value in (name, without_tag, event["Actor"]["ID"])


def _label(event: Event, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    found = _attributes(event).get(key)
    return found is not None and (not equals or found == wanted)


def _resource(event: Event, value: str) -> bool:
    own = _attributes(event).get(labels.RESOURCE, "")
    return own == value or own.partition(".")[2] == value


_TESTS: dict[str, Test] = {
    "container": _of_type("container"),
    "event": _action,
    "image": _image,
    "label": _label,
    "network": _of_type("network"),
    "resource": _resource,
    "scope": lambda event, value: event["scope"] == value,
    "stack": lambda event, value: _attributes(event).get(labels.STACK) == value,
    "type": lambda event, value: event["Type"] == value,
    "volume": _of_type("volume"),
}
