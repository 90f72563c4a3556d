"""Flags of instructions: `--name=value` words checked against what each instruction knows."""

from __future__ import annotations

from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["text", "switch", "list"]


# What BuildKit 0.20 and later accept, labs included.
KNOWN: dict[str, dict[str, Kind]] = {
    "from": {"platform": "text"},
    "run": {"mount": "list", "network": "text", "security": "text"},
    "copy": {
        "from": "text",
        "chown": "text",
        "chmod": "text",
        "link": "switch",
        "parents": "switch",
        "exclude": "list",
    },
    "add": {
        "chown": "text",
        "chmod": "text",
        "link": "switch",
        "keep-git-dir": "switch",
        "checksum": "text",
        "unpack": "switch",
        "exclude": "list",
    },
    "healthcheck": {
        "interval": "text",
        "timeout": "text",
        "start-period": "text",
        "start-interval": "text",
        "retries": "text",
    },
}

# What it accepts too and no build has here: why, and what to do.
REFUSED = {
    ("run", "device"): (
        "a build step gets no device of the host: the image would depend on it, and no ID could say so",
        "take `--device` away, and do what needs it in a container of the image",
    ),
}

CHOICES = {("run", "network"): ("default", "none", "host"), ("run", "security"): ("sandbox", "insecure")}


class Flags(NamedTuple):
    """What flags say, by name; a name that is not given is not there."""

    texts: dict[str, str]
    switches: dict[str, bool]
    lists: dict[str, list[str]]


def parse(kind: str, keyword: str, words: list[str]) -> Flags:
    """The flags of an instruction; raises BadSyntax."""
    known = KNOWN.get(kind, {})
    result = Flags({}, {}, {})
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if (kind, name) in REFUSED:
            reason, hint = REFUSED[kind, name]
            raise BadSyntax(f"`--{name}`: {reason}", hint)
        if name not in known:
            flags = [f"--{each}" for each in known]
            hint = meant(f"--{name}", flags) if flags else f"{keyword} has no flags"
            raise BadSyntax(f"unknown flag `--{name}`", hint)
        if known[name] == "list" and equals:
            result.lists.setdefault(name, []).append(value)
            continue
        if name in result.texts or name in result.switches:
            raise BadSyntax(f"the flag `--{name}` stands twice", "keep one of them")
        if known[name] == "switch":
            result.switches[name] = _switch(name, equals, value)
        elif not equals:
            raise BadSyntax(f"the flag `--{name}` has no value", f"write `--{name}=…`")
        else:
            choices = CHOICES.get((kind, name))
            if choices and value not in choices:
                raise BadSyntax(f"`--{name}` cannot be `{value}`", meant(value, list(choices)))
            result.texts[name] = value
    return result


def _switch(name: str, equals: str, value: str) -> bool:
    if not equals:
        return True
    if value.lower() not in ("true", "false"):
        raise BadSyntax(f"`--{name}` cannot be `{value}`", "expected `true` or `false`")
    return value.lower() == "true"
