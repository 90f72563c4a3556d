"""Plain values as users write them. A parser takes any object and returns the normal form or raises Invalid."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.alphabets import ALPHANUMERIC, DIGITS, LOWER, WORD, Alphabet
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Parser = Callable[[Any], Any]


KINDS = frozenset({"container", "job", "network", "volume", "secret", "image"})  # what addresses begin with
_CONTROL = pattern(r"[\x00-\x1f\x7f]")
_ADDRESS = pattern(r" at 0x[0-9a-f]+")
_NAME = Alphabet(ALPHANUMERIC, ALPHANUMERIC + "_.-")
_STACK_NAME = Alphabet(LOWER + DIGITS, LOWER + DIGITS + "_-")
_LABEL = Alphabet(ALPHANUMERIC, ALPHANUMERIC + "-")


class Invalid(ValueError):
    """A value is not what it must be.

    message: continues the name of the place: "must be a size such as "256m", not "lots""
    path: the part of the value that is meant; key: its name rather than its value
    """

    def __init__(self, message: str, hint: str = "", path: tuple[str | int, ...] = (), key: bool = False) -> None:
        super().__init__(message)
        self.message, self.hint, self.path, self.key = message, hint, path, key
        self.each: list[Invalid] = [self]
        self.rest: Any = None  # the parts of the value that are right, where others are not

    def inside(self, *keys: str | int) -> Invalid:
        """The same complaint about a part of a larger value."""
        for one in self.each:
            one.path = (*keys, *one.path)
        return self


class Complaints:
    """Collects what is wrong with the parts of one value, so that all of it is shown at once."""

    def __init__(self) -> None:
        self._each: list[Invalid] = []

    def add(self, invalid: Invalid, *keys: str | int) -> None:
        """Takes a complaint about the part under `keys`."""
        self._each += invalid.inside(*keys).each

    def settle(self, rest: Any = None) -> None:
        """Raises what was collected; `rest` is what was right."""
        if self._each:
            self._each[0].each, self._each[0].rest = self._each, rest
            raise self._each[0]


def show(value: object) -> str:
    """A value as it can stand in a message: one line, short, printable."""
    if isinstance(value, str):
        text = repr(value)
        body = text[1:-1] if text[0] == '"' else text[1:-1].replace("\\'", "'").replace('"', '\\"')
        return f'"{body if len(body) <= 60 else body[:57] + "…"}"'
    text = _CONTROL.sub(" ", _ADDRESS.sub("", repr(value)))
    return text if len(text) <= 60 else text[:57] + "…"


def wrong(expected: str, value: object, hint: str = "") -> Invalid:
    """The usual complaint."""
    return Invalid(f"must be {expected}, not {show(value)}", hint)


def nearest(word: str, names: Iterable[str]) -> str:
    """The one of `names` that `word` was probably meant to be, or ""."""
    # difflib takes 4 ms to import, and only errors need it
    from difflib import get_close_matches

    choices = list(names)
    kind, dot, _ = word.partition(".")
    if dot and kind in KINDS:
        # what all addresses of a kind begin with makes none of them like the others
        choices = [name for name in choices if name.startswith(f"{kind}.")] or choices
        shown = {name.lower().removeprefix(f"{kind}."): name for name in reversed(choices)}
        word = word.removeprefix(f"{kind}.")
    else:
        shown = {name.lower(): name for name in reversed(choices)}
    found = get_close_matches(word.lower(), shown, n=1, cutoff=0.6)
    return shown[found[0]] if found else ""


def meant(word: str, names: Iterable[str], otherwise: str = "") -> str:
    """A hint with the nearest valid name."""
    near = nearest(word, names)
    return f"did you mean `{near}`?" if near else otherwise


def choices(names: Iterable[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def text(value: object) -> str:
    """A string that is not empty and holds no NUL."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise wrong("a string that is not empty", value)
    return value


def flag(value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise wrong("True or False", value)
    return value


def one_of(*names: str) -> Parser:
    """A parser for one of a few words."""

    def parse(value: object) -> str:
        if value not in names or not isinstance(value, str):
            raise wrong(choices(names), value, meant(value, names) if isinstance(value, str) else "")
        return value

    return parse


def resource_name(value: object) -> str:
    """A resource's name, as the Compose specification has it for services."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > 63:
        raise wrong("1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit", value)
    return value


def stack_name(value: object) -> str:
    """A stack's name, as the Compose specification has it for projects."""
    if not isinstance(value, str) or not _STACK_NAME.fullmatch(value) or len(value) > 63:
        normal = normal_stack_name(value) if isinstance(value, str) else ""
        hint = f"`{normal}` is valid" if normal else ""
        raise wrong("1 to 63 lower-case letters, digits, `-` and `_`, beginning with a letter or digit", value, hint)
    return value


def normal_stack_name(name: str) -> str:
    """A folder's name as a stack's: lower case, without what a stack's name cannot hold, as Compose does."""
    kept = "".join(character for character in name.lower() if character in LOWER + DIGITS + "_-")
    return kept.lstrip("_-")[:63]


def hostname(value: object) -> str:
    """A host name; RFC 1123, and as long as the engine takes it."""
    if not isinstance(value, str) or not _is_hostname(value):
        raise wrong("a host name of letters, digits, `-` and `.`", value)
    return value


def _is_hostname(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 63 and all(_LABEL.fullmatch(label) and not label.endswith("-") for label in labels)


def user(value: object) -> str:
    """USER, USER:GROUP, UID or UID:GID; :GROUP is root with that group."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return str(value)
    # useradd(8): a name may end in `$`
    parts = [part.removesuffix("$") for part in value.split(":")] if isinstance(value, str) else []
    if len(parts) == 2 and not parts[0]:
        del parts[0]
    if not isinstance(value, str) or len(parts) > 2 or not all(WORD.fullmatch(part) for part in parts):
        raise wrong("a user's name or ID, alone or with `:` and a group", value)
    return value


def absolute(value: object) -> str:
    """An absolute path in a container, normalised."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise wrong("an absolute path", value)
    parts: list[str] = []
    for part in value.split("/"):
        if part == "..":
            raise wrong("a path without `..`", value)
        if part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def below_root(value: object) -> str:
    """An absolute path other than /."""
    path = absolute(value)
    if path == "/":
        raise wrong("a path below `/`", value)
    return path


def words(value: object) -> list[str]:
    """A list of strings."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise wrong("a list of strings", value)
    complaints = Complaints()
    for index, word in enumerate(value):
        if not isinstance(word, str) or "\0" in word:
            hint = f"write {show(str(word))}" if isinstance(word, int | float) else ""
            complaints.add(Invalid(f"must be a string, not {show(word)}", hint), index)
    complaints.settle()
    return list(value)


def words_or_one(value: object) -> list[str]:
    """A string, or a list of strings."""
    return [text(value)] if isinstance(value, str) else words(value)


def command(value: object) -> list[str]:
    """An argument vector: a list, or one line split as a shell does it (Compose's `command`)."""
    if not isinstance(value, str):
        if not isinstance(value, list | tuple):
            raise wrong("a command: a string or a list of strings", value)
        return words(value)
    # importing shlex costs 1 ms, and lists are the common form
    import shlex

    try:
        return shlex.split(value)
    except ValueError as error:
        raise Invalid(f"cannot be split into words: {str(error).lower()}: {show(value)}") from None


def shell(value: object) -> list[str]:
    """An argument vector: a list, or a line for /bin/sh (the Dockerfile's shell form)."""
    if isinstance(value, str):
        return ["/bin/sh", "-c", text(value)]
    vector = words(value) if isinstance(value, list | tuple) else None
    if not vector:
        raise wrong("a command: a string or a list of strings", value)
    return vector


def scalar(value: object) -> str:
    """A value of an environment variable or label, as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or "\0" in value:
        raise wrong("a string, a number, True or False", value)
    return value


def _is_variable(name: str) -> bool:
    return name.split() == [name] and "=" not in name and "\0" not in name


def pairs(value: object, *, alone: Any) -> dict[str, Any]:
    """Compose's list or mapping form of variables and labels.

    alone: what a name without a value gets (`["KEY"]`, `{"KEY": None}`)
    """
    result: dict[str, Any] = {}
    complaints = Complaints()
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not _is_variable(key):
                complaints.add(Invalid(f"has a name that is not valid: {show(key)}"))
                continue
            try:
                result[key] = alone if item is None else scalar(item)
            except Invalid as invalid:
                complaints.add(invalid, key)
        complaints.settle(result)
        return result
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise wrong("a mapping, or a list of `NAME=value`", value)
    for index, item in enumerate(value):
        key, equals, content = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not _is_variable(key) or "\0" in content:
            complaints.add(wrong("`NAME=value`", item), index)
        else:
            result[key] = content if equals else alone
    complaints.settle(result)
    return result


def labels(value: object) -> dict[str, str]:
    """Labels; those that the engine needs for itself are refused."""
    result: dict[str, str] = pairs(value, alone="")
    complaints = Complaints()
    for index, key in enumerate(result):
        if key.startswith("stackpy."):
            wrong = Invalid(f"has `{key}`: `stackpy.` is reserved", "choose another prefix", key=True)
            complaints.add(wrong, key if isinstance(value, Mapping) else index)
    complaints.settle()
    return result
