"""What a template sees: JSON's values, told apart as Go's types are.

Struct           only its own fields exist: another name is an error
dict             a map: what is not in it has no value, which is no error
list, tuple      a slice
str bool int float None
NilList, NilMap  a slice and a map that were never made: empty, but `null` in JSON
Method           a field that takes arguments
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Struct(dict[str, "Any"]):
    """Fields in their order.

    absent: what fields are that exist but are not in the document (`omitempty`): pointers mostly, so None
    """

    def __init__(self, fields: Mapping[str, Any], absent: Mapping[str, Any] | None = None) -> None:
        super().__init__(fields)
        self.absent = absent or {}


class Duration(int):
    """A time.Duration: nanoseconds, which are a number everywhere but where they are printed."""

    def __str__(self) -> str:
        seconds, nanoseconds = divmod(abs(int(self)), 10**9)
        sign = "-" if self < 0 else ""
        if not seconds and nanoseconds:
            for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
                if nanoseconds >= size:
                    return f"{sign}{f'{nanoseconds / size:.6f}'.rstrip('0').rstrip('.')}{unit}"
        minutes, second = divmod(seconds, 60)
        hours, minute = divmod(minutes, 60)
        text = f"{second}.{nanoseconds:09}".rstrip("0").rstrip(".") + "s"
        if minutes:
            text = f"{hours}h{minute}m{text}" if hours else f"{minute}m{text}"
        return sign + text


class NilList(list["Any"]):
    """A slice that is nil."""


class NilMap(dict[str, "Any"]):
    """A map that is nil."""


class NoValue:
    """What a map does not hold; there is one of it."""

    def __repr__(self) -> str:
        return "<no value>"


NO_VALUE = NoValue()


class Method:
    """A field that is called: docker's `{{.Label "name"}}`.

    call: what it returns for the arguments given
    """

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


def true(value: Any) -> bool:
    """Whether `if` takes it: not false, 0, nil or empty. A struct always is."""
    if value is NO_VALUE or value is None:
        return False
    return isinstance(value, Struct) or bool(value)


def kind(value: Any) -> str:
    """Its type as Go would name it, for messages and `%T`."""
    if value is None or value is NO_VALUE:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (list, tuple)):
        return "[]string" if value and all(isinstance(item, str) for item in value) else "[]interface {}"
    return "map[string]interface {}" if isinstance(value, dict) else "func"


def zero(of: Mapping[str, Any]) -> Any:
    """The zero value of a map's elements, as far as the elements that it has tell their type."""
    for value in of.values():
        if isinstance(value, bool):
            return False
        if isinstance(value, (int, float)):
            return 0
        if isinstance(value, (list, tuple)):
            return NilList()
        if value is None or isinstance(value, dict):
            return None
        break
    return ""
