"""`RUN --mount=…`: its fields, by the rules of BuildKit (instructions/commands_runmount.go)."""

from __future__ import annotations

import posixpath

from stackpy_runtime.dockerfile import quantities
from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.model import RunMount

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_SAME = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_FIELDS = (
    "type from source target readonly readwrite id sharing required size mode uid gid env src dst destination ro rw"
).split()
# What BuildKit takes with any type and uses with these alone.
_USED = {
    "from": ("bind", "cache"),
    "source": ("bind", "cache", "secret"),
    "id": ("cache", "secret", "ssh"),
    "env": ("secret",),
}


_EXPANDED = frozenset("$\\'\"")  # what a value is not yet what it will be with


class Mount(NamedTuple):
    """A mount as it is written, with its variables' values.

    origin: what `from` says, or ""
    unused: fields that mean nothing for its type
    """

    mount: RunMount
    origin: str
    unused: list[str]


def fields(text: str) -> list[tuple[str, str | None]]:
    """The `name=value` parts between commas; the value is None where there is no `=`. Raises BadSyntax."""
    if '"' in text:
        import csv

        try:
            parts = next(csv.reader([text], strict=True))
        except (csv.Error, StopIteration) as error:
            raise BadSyntax(f"`--mount={text}` cannot be read: {error}", 'quote a whole field: "source=a,b"') from None
    else:
        parts = text.split(",")
    result: list[tuple[str, str | None]] = []
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if name not in _FIELDS:
            raise BadSyntax(f"`--mount` knows no `{name}`", meant(name, _FIELDS))
        result.append((_SAME.get(name, name), value if equals else None))
    return result


def check(text: str) -> None:
    """Raises BadSyntax for what is wrong whatever the values of variables are."""
    for name, value in fields(text):
        if value is None and name not in ("readonly", "readwrite", "required"):
            raise BadSyntax(f"`{name}` of a mount needs a value", f"write `{name}=…`")
        if name == "from" and value and "$" in value[:-1]:
            raise BadSyntax(
                "`from` of a mount takes no variables",
                "declare a stage for it: FROM with the variable, and give that stage's name here",
            )
        if value and not set(value) & _EXPANDED:
            _value(name, value)
    if not set(text) & _EXPANDED:
        parse(text, str, "/a/b/c/d/e/f")  # where it is known no earlier than where it runs


def parse(text: str, value_of: Callable[[str], str], workdir: str) -> Mount:
    """A mount; raises BadSyntax.

    value_of: puts the values of variables into a word
    workdir: what a relative target begins at
    """
    given: dict[str, Any] = {}
    kind = "bind"
    for name, written in fields(text):
        value = _value(name, "true" if written is None else value_of(written))
        if name == "type":
            kind = value
        elif name == "readwrite":
            given["readonly"] = not value
        else:
            given[name] = value
    _allowed(kind, given)
    unused = [name for name, types in _USED.items() if name in given and kind not in types]
    origin = str(given.pop("from", "")) if kind in ("bind", "cache") else ""
    made = _MAKERS[kind](given, workdir)
    return Mount(made, origin, unused)


def _value(name: str, value: str) -> Any:
    """What a field's value stands for; raises BadSyntax."""
    if name == "type":
        return _choice(name, value, TYPES)
    if name == "sharing":
        return _choice(name, value, SHARING)
    if name in ("readonly", "readwrite", "required"):
        return _switch(name, value)
    return _number(name, value) if name in ("mode", "uid", "gid", "size") else value


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value.lower() not in choices:
        raise BadSyntax(f"`{name}` of a mount cannot be `{value}`", meant(value, list(choices)))
    return value.lower()


def _switch(name: str, value: str) -> bool:
    # strconv.ParseBool
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if value in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise BadSyntax(f"`{name}` of a mount cannot be `{value}`", "expected `true` or `false`")


def _number(name: str, value: str) -> int:
    if name == "size":
        found = quantities.size(value)
        if found is None:
            raise BadSyntax(f"`size` of a mount cannot be `{value}`", "as in `size=64m`")
        return found
    base = 8 if name == "mode" else 10
    digits = value.isascii() and value.isdigit()
    try:
        number = int(value, base) if digits else -1
    except ValueError:
        number = -1
    if not 0 <= number < 2**32 - 1 or (name == "mode" and number > 0o7777):
        hint = "expected octal digits, as in `mode=0400`" if name == "mode" else "expected a number"
        raise BadSyntax(f"`{name}` of a mount cannot be `{value}`", hint)
    return number


def _allowed(kind: str, given: dict[str, Any]) -> None:
    allowed = {
        "required": ("secret", "ssh"),
        "size": ("tmpfs",),
        "sharing": ("cache",),
        "mode": ("cache", "secret", "ssh"),
        "uid": ("cache", "secret", "ssh"),
        "gid": ("cache", "secret", "ssh"),
    }
    for name, types in allowed.items():
        if name in given and kind not in types:
            raise BadSyntax(f"a mount of type {kind} takes no `{name}`", f"types that do: {', '.join(types)}")
    if kind == "secret":
        if "from" in given:
            raise BadSyntax("a mount of type secret takes no `from`", "its value comes with `--secret id=…`")
        if given.get("source") and given.get("id"):
            raise BadSyntax("a secret has `id` or `source`, not both", "`source` is the older name of `id`")
        if not (given.get("source") or given.get("id") or given.get("target")):
            raise BadSyntax("a secret needs an `id` or a `target`", "as in `--mount=type=secret,id=token`")
    if kind == "ssh" and "source" in given:
        raise BadSyntax("a mount of type ssh takes no `source`", "an agent is named by `id`")


def _target(given: dict[str, Any], workdir: str) -> str:
    target = posixpath.normpath(posixpath.join("/", workdir, given.get("target", "")))
    if target in ("/", "//"):
        raise BadSyntax("a mount cannot cover the root folder", "give it a `target`")
    return target


def _own(given: dict[str, Any], *names: str) -> RunMount:
    made: Any = {name: given[name] for name in names if given.get(name, "") != ""}
    return made  # type: ignore[no-any-return]


def _bind(given: dict[str, Any], workdir: str) -> RunMount:
    made = _own(given, "source", "readonly")
    return {**made, "type": "bind", "target": _target(given, workdir)}


def _cache(given: dict[str, Any], workdir: str) -> RunMount:
    made = _own(given, "source", "readonly", "sharing", "mode", "uid", "gid")
    identity = given.get("id") or posixpath.normpath(given.get("target", "") or ".")
    return {**made, "type": "cache", "target": _target(given, workdir), "id": identity}


def _tmpfs(given: dict[str, Any], workdir: str) -> RunMount:
    return {**_own(given, "size", "readonly"), "type": "tmpfs", "target": _target(given, workdir)}


def _secret(given: dict[str, Any], workdir: str) -> RunMount:
    made = _own(given, "required", "mode", "uid", "gid")
    target = given.get("target", "")
    identity = given.get("source") or given.get("id") or posixpath.basename(target)
    made = {**made, "type": "secret", "id": identity}
    if "env" in given:
        made["env"] = given["env"] or identity
    if target or "env" not in given:
        made["target"] = posixpath.join("/", workdir, target or f"/run/secrets/{posixpath.basename(identity)}")
    return made


def _ssh(given: dict[str, Any], workdir: str) -> RunMount:
    made = _own(given, "required", "mode", "uid", "gid")
    made = {**made, "type": "ssh", "id": given.get("id") or "default"}
    if given.get("target"):
        made["target"] = posixpath.join("/", workdir, given["target"])
    return made


_MAKERS: dict[str, Callable[[dict[str, Any], str], RunMount]] = {
    "bind": _bind,
    "cache": _cache,
    "tmpfs": _tmpfs,
    "secret": _secret,
    "ssh": _ssh,
}
