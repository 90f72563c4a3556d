"""Fields that change how a container is kept apart: privileges, devices, security options, shared namespaces.

Forms are Compose's and docker run's. What names another container stays `service:NAME` for one of the stack and
`container:NAME` for any other.
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.alphabets import ALPHANUMERIC, Alphabet
from stackpy.dsl.resources import Resource
from stackpy.dsl.values import Complaints, Invalid, meant, show, text, wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RULE = pattern(r"[abc] (\d{1,7}|\*):(\d{1,7}|\*) [rwm]{1,3}")
_CONTAINER = Alphabet(ALPHANUMERIC, ALPHANUMERIC + "_.-")
_ACCESS = Alphabet("rwm")
_LABEL = pattern(r"disable|(user|role|type|level):[^\s\x00]+")
_OPTIONS = ("seccomp", "no-new-privileges", "systempaths", "apparmor", "label")


def sharing(*words: str) -> Callable[[object], str]:
    """A parser for a namespace: one of a few words, or another container whose it is."""
    expected = f"{', '.join(f'`{word}`' for word in words)}, `service:NAME` or `container:NAME`"

    def parse(value: object) -> str:
        if isinstance(value, Resource):
            if value.kind != "container":
                raise wrong(f"{expected}, or a Container", value)
            return f"service:{value.name}"
        if not isinstance(value, str):
            raise wrong(expected, value)
        kind, colon, name = value.partition(":")
        if value in words or (colon and kind in ("service", "container") and _CONTAINER.fullmatch(name)):
            return value
        hint = meant(value, (*words, "service:NAME", "container:NAME"))
        if value in ("bridge", "default"):
            hint = "leave it out for the stack's default network"
        raise wrong(expected, value, hint)

    return parse


def devices(value: object) -> list[str]:
    """`HOST:CONTAINER:rwm` of each device, from Compose's short and long forms; sorted by place in the container."""
    result = {}
    complaints = Complaints()
    for index, item in enumerate(_listed(value, 'a list of devices such as "/dev/fuse:/dev/fuse:rwm"')):
        try:
            source, target, access = _device(item)
        except Invalid as invalid:
            complaints.add(invalid, index)
            continue
        if target in result:
            complaints.add(Invalid(f"is where another device is: {target}"), index)
        result[target] = f"{source}:{target}:{access}"
    complaints.settle()
    return [result[target] for target in sorted(result)]


def _device(item: object) -> tuple[str, str, str]:
    expected = 'a device such as "/dev/fuse" or "/dev/sda:/dev/disk:r"'
    if isinstance(item, Mapping):
        for key in item:
            if key not in ("source", "target", "permissions"):
                raise Invalid(f"has an unknown key `{key}`", meant(str(key), ("source", "target")), (str(key),), True)
        source = item.get("source")
        target, access = item.get("target") or source, item.get("permissions") or "rwm"
    else:
        parts = item.split(":") if isinstance(item, str) else []
        if isinstance(item, str) and "=" in item and not item.startswith("/"):
            raise Invalid(f"names a CDI device: {show(item)}", "give the device nodes by their paths in /dev")
        if not 1 <= len(parts) <= 3:
            raise wrong(expected, item)
        source = target = parts[0]
        access = "rwm"
        if len(parts) == 2 and not parts[1].startswith("/"):
            access = parts[1]
        elif len(parts) > 1:
            target, access = parts[1], parts[2] if len(parts) > 2 else "rwm"
    for path in (source, target):
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise wrong(expected, item)
    if not isinstance(access, str) or not _ACCESS.fullmatch(access):
        raise Invalid(f"has an access that is not made of r, w and m: {show(access)}")
    return str(source), str(target), "".join(letter for letter in "rwm" if letter in access)


def device_rules(value: object) -> list[str]:
    """Rules such as `c 189:* rwm`."""
    result = []
    complaints = Complaints()
    for index, item in enumerate(_listed(value, 'a list of rules such as "c 189:* rwm"')):
        if not isinstance(item, str) or not _RULE.fullmatch(item):
            complaints.add(wrong('a rule such as "c 189:* rwm"', item), index)
        else:
            result.append(item)
    complaints.settle()
    return result


def security_options(value: object) -> list[str]:
    """Each option as KEY or KEY=VALUE, in Docker's words; the path of a profile stays one until it is read."""
    result: dict[str, str] = {}
    complaints = Complaints()
    for index, item in enumerate(_listed(value, "a list of security options")):
        try:
            option = _option(text(item))
        except Invalid as invalid:
            complaints.add(invalid, index)
            continue
        key = option.partition("=")[0]
        result[option if key == "label" else key] = option
    complaints.settle()
    return [result[key] for key in sorted(result)]


def _option(option: str) -> str:
    equals, colon = option.find("="), option.find(":")
    at = equals if equals >= 0 and (colon < 0 or equals < colon) else colon
    key, value = (option[:at], option[at + 1 :]) if at >= 0 else (option, "")
    if key not in _OPTIONS:
        raise wrong(f"one of {', '.join(f'`{name}`' for name in _OPTIONS)}", option, meant(key, _OPTIONS))
    if key == "no-new-privileges":
        if value not in ("", "true", "false"):
            raise wrong("`no-new-privileges`, alone or with `:false`", option)
        return "no-new-privileges=false" if value == "false" else "no-new-privileges"
    if not value:
        raise wrong(f"`{key}=VALUE`", option)
    if key == "systempaths" and value != "unconfined":
        raise wrong("`systempaths=unconfined`", option)
    if key == "label" and not _LABEL.fullmatch(value):
        raise wrong("`label=disable`, or `label=type:NAME` (user, role, level)", option)
    return f"{key}={value}"


def profile_path(option: str) -> str:
    """The path of the profile that a security option names; "" where it names none."""
    value = option.removeprefix("seccomp=")
    return "" if value == option or value in ("unconfined", "builtin") or value.startswith("{") else value


def profile(content: str) -> str:
    """A seccomp profile in its shortest form; raises ValueError for what is none."""
    import json  # only where there is a profile

    document = json.loads(content)
    if not isinstance(document, dict) or "defaultAction" not in document:
        raise ValueError("it has no `defaultAction`")
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def _listed(value: object, expected: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise wrong(expected, value)
    return value


network_mode = sharing("none", "host")
pid = sharing("host")
ipc = sharing("private", "shareable", "none", "host")
