"""Values that are known only after an apply: a port that the engine chose, an address.

Such a value stands in text as a marker, between two noncharacters of Unicode, so that f-strings can hold it; `filled`
puts what was found in its place. Outputs may hold markers, fields may not: they decide what is applied.
"""

from __future__ import annotations

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

MARK = "\ufdd1"
_PARTS = "\ufdd2"


class Wanted(NamedTuple):
    """What is asked for. what: "port" (argument `80/tcp`) or "ip" (argument: a network's name); replica: 1..n"""

    address: str
    what: str
    argument: str
    replica: int


class Deferred:
    """A value that is known after the apply. In text it is a marker."""

    __slots__ = ("_text", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._text = f"{MARK}{_PARTS.join(map(str, wanted))}{MARK}"

    def __str__(self) -> str:
        return self._text

    def __format__(self, form: str) -> str:
        if form:
            raise ValueError(f"{self!r} is known only after the apply and cannot be formatted by `{form}`")
        return self._text

    def __int__(self) -> int:
        raise TypeError(f"{self!r} is no number yet: an output that is this value alone becomes one")

    __index__ = __float__ = __int__

    def __add__(self, other: str) -> str:
        return self._text + other

    def __radd__(self, other: str) -> str:
        return other + self._text

    def __repr__(self) -> str:
        what = f"{self.wanted.what} {self.wanted.argument}".strip()
        return f"<{what} of {self.wanted.address}, known after the apply>"


def has_marker(value: Any) -> bool:
    """Whether a JSON value holds a marker anywhere."""
    return next(markers(value), None) is not None


def markers(value: Any) -> Iterator[Wanted]:
    """All that a JSON value waits for."""
    if isinstance(value, str):
        if MARK in value:
            for part in value.split(MARK)[1::2]:
                yield _wanted(part)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from markers(key)
            yield from markers(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from markers(item)


def filled(value: Any, found: Callable[[Wanted], Any]) -> Any:
    """The value with what was found; a text that is one marker takes the found value's type.

    found: what is known; None where nothing is: then the whole text is None
    """
    if isinstance(value, str):
        if MARK not in value:
            return value
        parts = value.split(MARK)
        known = [found(_wanted(part)) for part in parts[1::2]]
        if len(known) == 1 and not parts[0] and not parts[2]:
            return known[0]
        if any(one is None for one in known):
            return None
        parts[1::2] = map(str, known)
        return "".join(parts)
    if isinstance(value, dict):
        return {key: filled(item, found) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(item, found) for item in value]
    return value


def shown(value: Any) -> Any:
    """The value as people see it before the apply: `http://localhost:(known after apply)`."""
    if isinstance(value, str) and MARK in value:
        parts = value.split(MARK)
        parts[1::2] = ["(known after apply)"] * len(parts[1::2])
        return "".join(parts)
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, (list, tuple)) else value


def resolved(outputs: Mapping[str, Any], found: Callable[[Wanted], Any]) -> dict[str, Any]:
    """Outputs with what is known now."""
    return {name: filled(value, found) for name, value in outputs.items()}


def _wanted(text: str) -> Wanted:
    address, what, argument, replica = text.split(_PARTS)
    return Wanted(address, what, argument, int(replica))
