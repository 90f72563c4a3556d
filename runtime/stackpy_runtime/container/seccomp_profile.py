"""A seccomp profile in Docker's JSON (moby/profiles/seccomp, seccomp.go) → rules. Pure, but for what kernel this is.

Rules may hold only with or without certain capabilities, on certain architectures, and from a kernel on: that is
decided here, for one container on this host, as `setupSeccomp` of moby does.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux import seccomp
from stackpy_runtime.linux.seccomp import Comparison, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# uname(2)'s machine → the architecture as Go and profiles name it, and as seccomp does
_MACHINES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
_KEYS = {"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "syscalls"}
_RULE_KEYS = {"name", "names", "action", "args", "comment", "includes", "excludes", "errno", "errnoRet"}
_CONDITIONS = {"caps", "arches", "minKernel"}


class Profile(NamedTuple):
    """What libseccomp is given: the default action, rules, and architectures besides this machine's own."""

    default: int
    rules: list[Rule]
    architectures: list[str]


class Host(NamedTuple):
    """The host that a profile is read for: uname(2)'s machine, and the kernel's version."""

    machine: str
    kernel: tuple[int, int]


def this_host() -> Host:
    """This one."""
    release = os.uname().release.split(".")
    minor = "".join(letter for letter in release[1].split("-")[0] if letter.isdigit())
    return Host(os.uname().machine, (int(release[0]), int(minor or 0)))


def read(text: str, capabilities: frozenset[str], host: Host) -> Profile:
    """The profile for a container that holds these capabilities; raises InvalidConfig for what it cannot mean."""
    import json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"the seccomp profile is not JSON: {str(error)[:200].lower()}") from None
    if not isinstance(document, dict):
        raise InvalidConfig("the seccomp profile is not an object", hint="Docker's form: {defaultAction, syscalls}")
    _known(document, _KEYS, "the seccomp profile")
    default = _action(document, "defaultAction", "defaultErrnoRet", "the seccomp profile")
    rules: list[Rule] = []
    for index, entry in enumerate(_list(document, "syscalls", "the seccomp profile")):
        where = f"syscalls[{index}] of the seccomp profile"
        if not isinstance(entry, dict):
            raise InvalidConfig(f"{where} is not an object")
        _known(entry, _RULE_KEYS, where)
        names = _words(entry, "names", where)
        if "name" in entry:
            if names or not isinstance(entry["name"], str):
                raise InvalidConfig(f"{where}: one of name and names is meant")
            names = [entry["name"]]
        if not names:
            raise InvalidConfig(f"{where} has no names")
        action = _action(entry, "action", "errnoRet", where)
        conditions = list(_conditions(entry, where))
        if _holds(entry, capabilities, host, where):
            rules += [Rule(name, action, each) for name in names for each in conditions]
    return Profile(default, rules, _architectures(document, host))


def _known(document: dict[str, Any], keys: set[str], where: str) -> None:
    for key in document:
        if key not in keys:
            hint = "an agent for system calls is not supported" if key.startswith("listener") else ""
            raise InvalidConfig(f"{where}: `{key[:60]}` is not supported", hint=hint)


def _list(document: dict[str, Any], key: str, where: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidConfig(f"{where}: `{key}` is not a list")
    return value


def _words(document: dict[str, Any], key: str, where: str) -> list[str]:
    value = _list(document, key, where)
    if not all(isinstance(word, str) and word and "\0" not in word for word in value):
        raise InvalidConfig(f"{where}: `{key}` is not a list of names")
    return value


def _number(value: Any, most: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidConfig(f"{where} is not a number from 0 to {most}")
    return value


def _action(document: dict[str, Any], key: str, number: str, where: str) -> int:
    name = document.get(key)
    if not isinstance(name, str) or name not in seccomp.ACTIONS:
        known = ", ".join(seccomp.ACTIONS)
        raise InvalidConfig(f"{where}: `{key}` is not an action that is supported", hint=f"known are {known}")
    action = seccomp.ACTIONS[name]
    given = document.get(number)
    if action in (seccomp.act_errno(0), seccomp.ACT_TRACE):
        return action | (errno.EPERM if given is None else _number(given, 4095, f"{where}: `{number}`"))
    return action


def _conditions(entry: dict[str, Any], where: str) -> Iterator[tuple[Comparison, ...]]:
    """What must hold of the arguments, a tuple for each rule. libseccomp takes one comparison an argument."""
    found = []
    for argument in _list(entry, "args", where):
        if not isinstance(argument, dict) or argument.get("op") not in seccomp.OPERATORS:
            raise InvalidConfig(f"{where}: an argument needs `op`", hint=f"known are {', '.join(seccomp.OPERATORS)}")
        _known(argument, {"index", "value", "valueTwo", "op"}, where)
        most = (1 << 64) - 1
        found.append(
            Comparison(
                _number(argument.get("index", 0), 5, f"{where}: index"),
                seccomp.OPERATORS[argument["op"]],
                _number(argument.get("value", 0), most, f"{where}: value"),
                _number(argument.get("valueTwo", 0), most, f"{where}: valueTwo"),
            )
        )
    if len({comparison.argument for comparison in found}) < len(found):
        yield from ((comparison,) for comparison in found)
    else:
        yield tuple(found)


def _holds(entry: dict[str, Any], capabilities: frozenset[str], host: Host, where: str) -> bool:
    """Whether a rule is for this container on this host."""
    includes, excludes = (entry.get(key) or {} for key in ("includes", "excludes"))
    for key, conditions in (("includes", includes), ("excludes", excludes)):
        if not isinstance(conditions, dict):
            raise InvalidConfig(f"{where}: `{key}` is not an object")
        _known(conditions, _CONDITIONS, f"{where}: `{key}`")
    architecture = _MACHINES.get(host.machine, (host.machine, ""))[0]

    def held(conditions: dict[str, Any]) -> list[bool]:
        names = [name.upper().removeprefix("CAP_") for name in _words(conditions, "caps", where)]
        return [name in capabilities for name in names]

    arches = [architecture in _words(conditions, "arches", where) for conditions in (includes, excludes)]
    newer = [
        host.kernel >= _version(conditions["minKernel"], where) if conditions.get("minKernel") else None
        for conditions in (includes, excludes)
    ]
    if (excludes.get("arches") and arches[1]) or any(held(excludes)) or newer[1]:
        return False
    return not (includes.get("arches") and not arches[0]) and all(held(includes)) and newer[0] is not False


def _version(text: Any, where: str) -> tuple[int, int]:
    parts = text.split(".") if isinstance(text, str) else []
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise InvalidConfig(f"{where}: minKernel is not MAJOR.MINOR")
    return int(parts[0]), int(parts[1])


def _architectures(document: dict[str, Any], host: Host) -> list[str]:
    """Those besides the machine's own, as libseccomp names them: from `archMap`, else `architectures`."""
    own = _MACHINES.get(host.machine, ("", ""))[1]
    wanted = _words(document, "architectures", "the seccomp profile")
    mapped = _list(document, "archMap", "the seccomp profile")
    if wanted and mapped:
        raise InvalidConfig("the seccomp profile has both architectures and archMap", hint="one of them is meant")
    for entry in mapped:
        if not isinstance(entry, dict):
            raise InvalidConfig("archMap of the seccomp profile is not a list of objects")
        if entry.get("architecture") == own:
            wanted = [own, *_words(entry, "subArchitectures", "archMap of the seccomp profile")]
    for name in wanted:
        if not name.startswith("SCMP_ARCH_"):
            raise InvalidConfig(f"the seccomp profile: `{name[:60]}` is not an architecture")
    return [name.removeprefix("SCMP_ARCH_").lower() for name in wanted if name not in (own, "SCMP_ARCH_NATIVE")]
