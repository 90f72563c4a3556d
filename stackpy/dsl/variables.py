"""Variables of a stack: values that the command line, the environment or stackpy.toml may give."""

from __future__ import annotations

from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.secrecy import SHORTEST, sensitive_name
from stackpy.dsl.session import UNKNOWN_TEXT, Place, current
from stackpy.dsl.values import Invalid, show, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    T = TypeVar("T")

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.isidentifier() or not value.isascii():
        raise wrong("letters, digits and `_`, beginning with a letter", value)
    return value


def _flag(value: object) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if word not in _TRUE + _FALSE:
        raise wrong("`true` or `false`", value)
    return word in _TRUE


def _whole(value: object) -> int:
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return int(value) if isinstance(value, str) else int("")
    except ValueError:
        raise wrong("a whole number", value) from None


def _number(value: object) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return float(value) if isinstance(value, str) else float("")
    except ValueError:
        raise wrong("a number", value) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise wrong("a string", value)
    return value


def _listed(value: object) -> list[Any]:
    """A list as it is; text is split at commas."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")] if value else []
    if not isinstance(value, list | tuple):
        raise wrong("a list", value)
    return list(value)


_PARSERS: dict[type, Callable[[Any], Any]] = {
    bool: _flag, int: _whole, float: _number, str: _text, list: _listed,
}  # fmt: skip
# what a missing variable counts as until the problem is shown
_UNKNOWN: dict[type, Any] = {bool: False, int: 1, float: 1.0, str: UNKNOWN_TEXT, list: []}
_MISSING: Any = object()
_Type = type  # `var` has a parameter of this name


if TYPE_CHECKING:

    @overload
    def var(name: str, *, help: str = ...) -> str: ...
    @overload
    def var(name: str, *, type: type[T], help: str = ...) -> T: ...
    @overload
    def var(name: str, default: None, *, help: str = ...) -> str | None: ...
    @overload
    def var(name: str, default: None, *, type: type[T], help: str = ...) -> T | None: ...
    @overload
    def var(name: str, default: T, *, type: type[T] | None = ..., help: str = ...) -> T: ...


@checked("`var`", lambda *_: UNKNOWN_TEXT)
# `type` and `help` are the names that argparse taught everyone
def var(name: str, default: Any = _MISSING, *, type: type[Any] | None = None, help: str = "") -> Any:  # noqa: A002
    """A value that can be set from outside: `--set NAME=…` goes before the environment's STACKPY_VAR_NAME, then come
    stackpy.toml's [env.ENV.vars] and [vars], then the default.

    type: str, int, float, bool or list; that of the default without it, or str
    help: what it is for, shown when it has no value
    """
    call = caller(("name", "default"))
    place = Place(call, "this variable")
    kind: Any = type
    if type is None:
        kind = str if default is _MISSING or default is None else default.__class__
    if kind is tuple:
        kind = list
    if not isinstance(kind, _Type) or kind not in _PARSERS:
        what = "default" if type is None else "type"
        name_of = getattr(kind, "__name__", show(kind))
        place.item(what).report(f"`{what}` of a variable must be str, int, float, bool or list, not {name_of}")
        return UNKNOWN_TEXT if default is _MISSING else default
    fallback = _UNKNOWN[kind] if default is _MISSING else default
    valid = place.item("name").parse(_name, name)
    if valid is None:
        return fallback
    session = current()
    if session is not None:
        session.variables.setdefault(valid, call)
    if default is not _MISSING and default is not None:
        fallback = place.item("default").parse(_PARSERS[kind], default, fallback)
    given = session.given(valid) if session is not None else None
    if given is None:
        if default is _MISSING:
            place.item("name").report(
                f"variable `{valid}` has no value" + (f": {help}" if help else ""),
                f"give it with `--set {valid}=VALUE`, STACKPY_VAR_{valid}, or under [vars] in stackpy.toml",
            )
        return fallback
    value, origin = given
    if session is not None and isinstance(value, str) and len(value) >= SHORTEST and sensitive_name(valid):
        session.hidden.append(value)
    try:
        return _PARSERS[kind](value)
    except Invalid as invalid:
        place.item("name").report(f"variable `{valid}`, given by {origin}, {invalid.message}", invalid.hint)
        return fallback
