"""Arguments of image instructions: their forms, and how an instruction reads as a line of a Dockerfile."""

from __future__ import annotations

from stackpy.dsl import values
from stackpy.dsl.alphabets import ALPHANUMERIC, DIGITS, LOWER, Alphabet
from stackpy.dsl.values import Complaints, Invalid, wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROGRAM = Alphabet(ALPHANUMERIC + "_.+-")
_SUITE = Alphabet(LOWER, LOWER + DIGITS + "-")
_DISTRIBUTIONS = ("debian", "ubuntu")
_PLAIN_PACKAGE = Alphabet(LOWER + DIGITS, LOWER + DIGITS + "+.-")
_PACKAGE = pattern(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?(?:[=/][A-Za-z0-9.+:~-]+)?")
_PORT = pattern(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp))?", ascii_only=True)
_PLAIN = Alphabet(ALPHANUMERIC + "_./:@%+,=-")


def program(value: object) -> str:
    """A program's name on PATH, or its absolute path."""
    if not isinstance(value, str) or not (_PROGRAM.fullmatch(value) or _is_path(value)):
        raise wrong("the name of a program or its absolute path", value)
    return value


def _is_path(text: str) -> bool:
    return len(text) > 1 and text.startswith("/") and "\0" not in text


def suite(value: object) -> str:
    """A Debian or Ubuntu release with its distribution: "debian:bookworm"."""
    distribution, colon, release = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not isinstance(value, str) or not _SUITE.fullmatch(release) or (colon and distribution not in _DISTRIBUTIONS):
        raise wrong('a release such as "debian:bookworm" or "ubuntu:noble"', value)
    return value if ":" in value else f"debian:{value}"


def packages(value: object) -> list[str]:
    """Debian packages by name, in the order given."""
    names = values.words(value)
    complaints = Complaints()
    for index, name in enumerate(names):
        if not (len(name) > 1 and _PLAIN_PACKAGE.fullmatch(name)) and not _PACKAGE.fullmatch(name):
            complaints.add(wrong("the name of a Debian package", name), index)
    complaints.settle()
    return names


def folders(value: object) -> list[str]:
    """Absolute folders: one, or a list."""
    if isinstance(value, str):
        return [values.below_root(value)]
    result = []
    complaints = Complaints()
    for index, folder in enumerate(values.words(value)):
        try:
            result.append(values.below_root(folder))
        except Invalid as invalid:
            complaints.add(invalid, index)
    complaints.settle()
    return result


def allowed(value: object) -> list[str]:
    """What the RUN steps of a Dockerfile may ask for."""
    complaints = Complaints()
    names = []
    for index, name in enumerate(values.words(value)):
        try:
            names.append(values.one_of("security.insecure", "network.host")(name))
        except Invalid as invalid:
            complaints.add(invalid, index)
    complaints.settle()
    return names


def variables(value: object) -> dict[str, str]:
    """Environment variables with values."""
    return _given(value, "an image takes nothing from the host's environment")


def arguments(value: object) -> dict[str, str]:
    """Values of a Dockerfile's ARGs."""
    return _given(value, "leave it out to take the Dockerfile's default")


def _given(value: object, hint: str) -> dict[str, str]:
    complaints = Complaints()
    try:
        result: dict[str, Any] = values.pairs(value, alone=None)
    except Invalid as invalid:
        complaints.add(invalid)
        result = invalid.rest or {}
    for key, content in result.items():
        if content is None:
            complaints.add(Invalid(f"gives `{key}` no value", hint))
    complaints.settle()
    return result


def trigger(value: object) -> str:
    """An instruction of a Dockerfile that images built on this one begin with."""
    name = value.split()[0].upper() if isinstance(value, str) and value.strip() else ""
    if not name or "\0" in str(value):
        raise wrong('an instruction such as "COPY . /app"', value)
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise Invalid(f"cannot be {name}", 'any other instruction of a Dockerfile, such as "COPY . /app"')
    return str(value).strip()


def exposed(value: object) -> str:
    """A port with its protocol: "80/tcp", "8000-8010/udp"."""
    match = _PORT.fullmatch(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if match is None or not 1 <= int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise wrong('a port such as 80 or "53/udp"', value)
    return f"{match[1]}{'-' + match[2] if match[2] else ''}/{match[3] or 'tcp'}"


def vector(value: object) -> list[str]:
    """An argument vector, which may be empty."""
    return values.words(value)


def written(command: object, argv: list[str] | None) -> str:
    """A command in a Dockerfile's shell or exec form."""
    if isinstance(command, str):
        return command.strip()
    return "[" + ", ".join(_json(word) for word in argv or ()) + "]"


def quoted(text: str) -> str:
    """A value of ENV or LABEL."""
    return text if _PLAIN.fullmatch(text) else _json(text)


def _json(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
