"""What a template may call: Go's own functions, and those that docker adds (cli/templates of docker/cli)."""

from __future__ import annotations

from stackpy.render.go_templates import comparing, escaping, printing
from stackpy.render.go_templates.evaluation import Failed
from stackpy.render.go_templates.values import NO_VALUE, Method, Struct, kind, true, zero

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_NAMES = {"s": "string", "i": "int", "l": "[]string"}


class Function:
    """A function that knows the types of its arguments.

    takes: a letter each: `s` text, `i` an integer, `l` a list of texts, `a` anything; `*` after the last: any number
    """

    __slots__ = ("_do", "_takes")

    def __init__(self, takes: str, do: Callable[..., Any]) -> None:
        self._takes, self._do = takes, do

    def call(self, name: str, arguments: Sequence[Any]) -> Any:
        """Calls it; raises Failed for arguments of a wrong number or type."""
        fixed = self._takes.removesuffix("*")
        many = fixed != self._takes
        least = len(fixed) - many
        if len(arguments) < least or (not many and len(arguments) > least):
            wanted = f"at least {least}" if many else str(least)
            raise Failed(f"`{name}` takes {wanted} argument{'' if least == 1 else 's'}, not {len(arguments)}")
        return self._do(*(_checked(fixed[min(at, len(fixed) - 1)], value) for at, value in enumerate(arguments)))


def _checked(letter: str, value: Any) -> Any:
    if letter == "l" and value is None:
        return []
    fits = {
        "a": True,
        "s": isinstance(value, str),
        "i": isinstance(value, int) and not isinstance(value, bool),
        "l": isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value),
    }[letter]
    if not fits:
        raise Failed(f"expected a {_NAMES[letter]}, not a {kind(value)}: {printing.shown(value)}")
    return value


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if not isinstance(value, (dict, list, tuple)):
        raise Failed(f"a {kind(value)} has no length")
    return len(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = _element(value, key)
    return value


def _element(value: Any, key: Any) -> Any:
    if value is None or value is NO_VALUE:
        raise Failed("nil has no elements")
    if isinstance(value, dict):
        if not isinstance(key, str):
            raise Failed(f"the keys of a map are strings: {printing.shown(key)}")
        if isinstance(value, Struct) and key not in value:
            return value.absent.get(key, NO_VALUE)
        return value[key] if key in value else zero(value)
    if not isinstance(value, (list, tuple, str)):
        raise Failed(f"a {kind(value)} has no elements")
    if not isinstance(key, int) or isinstance(key, bool):
        raise Failed(f"the elements of a list have numbers: {printing.shown(key)}")
    whole = value.encode() if isinstance(value, str) else value
    if not 0 <= key < len(whole):
        raise Failed(f"there is no element {key}: the length is {len(whole)}")
    return whole[key]


def _slice(value: Any, *bounds: int) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise Failed(f"a {kind(value)} cannot be sliced")
    if len(bounds) > 3 or (len(bounds) == 3 and isinstance(value, str)):
        raise Failed(f"too many bounds: {len(bounds)}")
    start, end = (*bounds[:2], *(0, len(value))[len(bounds[:2]) :])
    if not 0 <= start <= end <= len(value):
        raise Failed(f"there is no {start}:{end}: the length is {len(value)}")
    return value[start:end]


def _call(method: Any, *arguments: Any) -> Any:
    if not isinstance(method, Method):
        raise Failed(f"a {kind(method)} cannot be called")
    return method.call(*arguments)


def _title(text: str) -> str:
    """strings.Title: the first letter of each word, and of what stands behind an apostrophe."""
    written, inside = "", False
    for character in text:
        written += character if inside else character.title()
        inside = character.isalnum() or character == "_" or (character > "\x7f" and not character.isspace())
    return written


def _truncated(text: str, length: int) -> str:
    if length < 0:
        raise Failed(f"no text has a length of {length}")
    return text[:length]


def _padded(text: str, before: int, behind: int) -> str:
    return text if not text else f"{' ' * before}{text}{' ' * behind}"


FUNCTIONS = {
    # Go's; `and` and `or` are the evaluator's
    "call": Function("aa*", _call),
    "eq": Function("aaa*", comparing.equal),
    "ge": Function("aa", lambda one, other: not comparing.less(one, other)),
    "gt": Function("aa", lambda one, other: comparing.less(other, one)),
    "html": Function("a*", lambda *values: escaping.html(printing.joined(values))),
    "index": Function("aa*", _index),
    "js": Function("a*", lambda *values: escaping.js(printing.joined(values))),
    "le": Function("aa", lambda one, other: not comparing.less(other, one)),
    "len": Function("a", _length),
    "lt": Function("aa", comparing.less),
    "ne": Function("aa", lambda one, other: not comparing.equal(one, other)),
    "not": Function("a", lambda value: not true(value)),
    "print": Function("a*", lambda *values: printing.joined(values)),
    "printf": Function("sa*", lambda form, *values: printing.formatted(form, values)),
    "println": Function("a*", lambda *values: printing.lines(values)),
    "slice": Function("ai*", _slice),
    "urlquery": Function("a*", lambda *values: escaping.query(printing.joined(values))),
    # docker's
    "join": Function("ls", lambda parts, between: between.join(parts)),
    "json": Function("a", printing.json_text),
    "lower": Function("s", str.lower),
    "pad": Function("sii", _padded),
    "split": Function("ss", lambda text, between: text.split(between) if between else list(text)),
    "title": Function("s", _title),
    "truncate": Function("si", _truncated),
    "upper": Function("s", str.upper),
}
NAMES = frozenset((*FUNCTIONS, "and", "or"))
# What docker's tables call in their heads instead (cli/templates, HeaderFunctions).
FOR_HEADS = FUNCTIONS | dict.fromkeys(
    "join json lower split title truncate upper".split(), Function("aa*", lambda head, *_: head)
)
