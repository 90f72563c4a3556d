"""The fields of containers and jobs: one parser each.

What a field says of other resources becomes a `Use`, which assemble.py looks up once everything is declared.
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import (
    dependencies,
    field_hints,
    files,
    hooks,
    keeping,
    kernel_names,
    log_driver,
    mounts,
    ports,
    probes,
    pulling,
    quantities,
    resource_fields,
    values,
    variable_files,
)
from stackpy.dsl.alphabets import ALPHANUMERIC, NUMBER, Alphabet
from stackpy.dsl.images import Image
from stackpy.dsl.references import reference
from stackpy.dsl.resources import Resource
from stackpy.dsl.specs import implied_users
from stackpy.dsl.uses import Use
from stackpy.dsl.values import meant, one_of, show, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy.dsl.session import Place

_SECRET_TARGET = Alphabet(ALPHANUMERIC + "_.-")


def _use(place: Place, kind: str, value: object, key: bool = False, **fields: Any) -> list[Use]:
    """A resource of `kind`, as object or by name; none after reporting."""
    if isinstance(value, Resource) and value.kind == kind:
        # one without a name has been reported already
        return [Use(place, kind, value.name, True, fields)] if value.name else []
    if not isinstance(value, str):
        what = f"a {kind} or its name"
        place.report(f"{place.name} must be {what}, not {show(value)}", key=key)
        return []
    return [Use(place, kind, value, False, fields)] if value else []


def _image(place: Place, value: object) -> Image | None:
    if isinstance(value, Image):
        return value
    if not isinstance(value, str):
        place.refuse(wrong("an Image or an image's name", value))
        return None
    name = place.parse(reference, value)
    return None if name is None else Image._of({"kind": "image", "reference": name}, place.call)


def _items(place: Place, value: object, expected: str) -> list[tuple[Place, Any]]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        place.refuse(wrong(expected, value))
        return []
    return [(place.item(index), item) for index, item in enumerate(value)]


def _networks(place: Place, value: object) -> list[Use]:
    result: list[Use] = []
    if not isinstance(value, Mapping):
        for inner, item in _items(place, value, "a list of networks, or a mapping of them"):
            result += _use(inner, "network", item, attachment={"aliases": []})
    else:
        for index, (key, item) in enumerate(value.items()):
            inner = place.item(key if isinstance(key, str) else index)
            result += _use(inner, "network", key, True, attachment=_attachment(inner, item))
        # Compose's order of connecting: the highest first.
        result.sort(key=lambda use: -use.fields["attachment"].pop("priority", 0))
    seen: set[str] = set()
    for use in result:
        if use.name in seen:
            use.place.report(f"{place.name} names network `{use.name}` twice")
        seen.add(use.name)
    links = [name for use in result if (name := use.fields["attachment"].get("interface_name"))]
    if twice := next((name for name in links if links.count(name) > 1), ""):
        place.report(f"{place.name} has two links `{twice}`", "give each another name")
    return result


def _attachment(place: Place, value: object) -> dict[str, Any]:
    if value is None:
        return {"aliases": []}
    if not isinstance(value, Mapping):
        place.refuse(wrong("a mapping with `aliases` and `ipv4_address`", value))
        return {"aliases": []}
    known = ("aliases", "ipv4_address", "interface_name", "gw_priority", "priority")
    for key in value:
        if key not in known:
            hint = field_hints.of_network(str(key)) or meant(str(key), known)
            place.item(str(key)).report(f"unknown key `{key}` of {place.name}", hint, key=True)
    aliases = place.item("aliases")
    given = value.get("aliases")
    names = [inner.parse(values.hostname, item) for inner, item in _items(aliases, given or [], "a list")]
    attachment: dict[str, Any] = {"aliases": list(dict.fromkeys(name for name in names if name is not None))}
    for key in known[1:]:
        if value.get(key) is not None:
            from stackpy.dsl import addresses  # few have any of these

            found = place.item(key).parse(addresses.PARSERS[key], value[key])
            attachment |= {key: found} if found else {}
    return attachment


def _volumes(place: Place, value: object) -> list[tuple[Place, mounts.Mount, bool]]:
    if isinstance(value, Mapping):
        items = [
            (place.item(key if isinstance(key, str) else index), mounts.mapped, (key, target), key)
            for index, (key, target) in enumerate(value.items())
        ]
    else:
        expected = "a list of mounts, or a mapping of volumes to paths"
        items = [
            (inner, mounts.entry, (item,), item.get("source") if isinstance(item, Mapping) else None)  # type: ignore[misc]
            for inner, item in _items(place, value, expected)
        ]
    return [
        (inner, mount, isinstance(source, Resource))
        for inner, parser, arguments, source in items
        if (mount := inner.parse(lambda one, parser=parser: parser(*one), arguments)) is not None  # type: ignore[misc]
        # a volume without a name has been reported already
        and not (isinstance(source, Resource) and not source.name)
    ]


def _tmpfs(place: Place, value: object) -> list[tuple[Place, mounts.Mount, bool]]:
    items = [(place, value)] if isinstance(value, str) else _items(place, value, "a path or a list of paths")
    parsed = [(inner, inner.parse(mounts.tmpfs, item)) for inner, item in items]
    return [(inner, mount, False) for inner, mount in parsed if mount is not None]


def _secrets(place: Place, value: object) -> list[Use]:
    result: list[Use] = []
    for inner, item in _items(place, value, "a list of secrets"):
        if not isinstance(item, Mapping):
            result += _use(inner, "secret", item)
            continue
        for key in item:
            if key not in ("source", "target", "on_change"):
                hint = "the file belongs to the container's user, mode 0400" if key in ("uid", "gid", "mode") else ""
                hint = hint or meant(str(key), ("source", "target"))
                inner.item(str(key)).report(f"unknown key `{key}` of {inner.name}", hint, key=True)
        told = {}
        if item.get("on_change") is not None and (
            word := inner.item("on_change").parse(keeping.on_change, item["on_change"])
        ):
            told["on_change"] = word
        uses = _use(inner, "secret", item.get("source"), **told)
        if "target" in item:
            target = inner.item("target").parse(_secret_target, item["target"])
            fields = {**told, **({"target": target} if target else {})}
            uses = [Use(use.place, use.kind, use.name, use.given, fields) for use in uses]
        result += uses
    seen: set[str] = set()
    for use in result:
        target = use.fields.get("target", use.name)
        if target in seen:
            use.place.report(f"{place.name} has two secrets at /run/secrets/{target}")
        seen.add(target)
    return result


def _secret_target(value: object) -> str:
    name = value.removeprefix("/run/secrets/") if isinstance(value, str) else ""
    if not _SECRET_TARGET.fullmatch(name) or name in (".", ".."):
        raise wrong("the name of a file in /run/secrets", value)
    return name


def _ports(place: Place, value: object) -> list[tuple[Place, ports.Binding]]:
    return [
        (inner, binding)
        for inner, item in _items(place, value, "a list of published ports")
        for binding in inner.parse(ports.binding, item, ())
    ]


def restart_policy(value: object) -> str:
    """`no`, `always`, `on-failure`, `on-failure:N` or `unless-stopped`; raises Invalid."""
    word, colon, count = value.partition(":") if isinstance(value, str) else ("", "", "")
    counts = word == "on-failure" and len(count) < 7 and NUMBER.fullmatch(count) and not count.startswith("0")
    known = word in ("no", "always", "on-failure", "unless-stopped")
    if not isinstance(value, str) or not known or (colon and not counts):
        names = ("no", "always", "on-failure", "unless-stopped")
        hint = 'write "no"' if value is False else meant(value, names) if isinstance(value, str) else ""
        raise wrong("`no`, `always`, `on-failure`, `on-failure:N` or `unless-stopped`", value, hint)
    return value


def _network_mode(value: object) -> str:
    return value if value in ("none", "host") and isinstance(value, str) else str(_rare("network_mode")(value))


def _rare(name: str) -> Callable[[Any], Any]:
    """A parser of isolation_fields, which few stacks need."""

    def parse(value: Any) -> Any:
        from stackpy.dsl import isolation_fields

        return getattr(isolation_fields, name)(value)

    return parse


def _environment(value: object) -> dict[str, str | None]:
    return values.pairs(value, alone=None)


# value → normal form
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "command": values.command,
    "entrypoint": values.command,
    "environment": _environment,
    "labels": values.labels,
    "working_dir": values.absolute,
    "user": values.user,
    "hostname": values.hostname,
    "stop_signal": kernel_names.signal,
    "network_mode": _network_mode,
    "read_only": values.flag,
    "tty": values.flag,
    "stdin_open": values.flag,
    "cap_add": kernel_names.capabilities,
    "cap_drop": kernel_names.capabilities,
    "privileged": values.flag,
    "security_opt": _rare("security_options"),
    "devices": _rare("devices"),
    "device_cgroup_rules": _rare("device_rules"),
    "userns": one_of("auto", "host"),
    "pid": _rare("pid"),
    "ipc": _rare("ipc"),
    "uts": one_of("host"),
    "learn": values.flag,
    "stop_grace_period": quantities.duration,
    "logging": log_driver.logging,
    "pre_start": hooks.hooks,
    "post_start": hooks.hooks,
    "pre_stop": hooks.hooks,
    "pull_policy": pulling.pull_policy,
    "platform": pulling.platform,
    "protect": values.flag,
    "ignore_changes": lambda value: _ignored(value),
    **resource_fields.LIMITS,
    **resource_fields.SURROUNDINGS,
}
# place, value → what assemble.py completes; these report every wrong part of theirs
_STRUCTURED: dict[str, Callable[[Place, Any], Any]] = {
    "image": _image,
    "networks": _networks,
    "volumes": _volumes,
    "tmpfs": _tmpfs,
    "secrets": _secrets,
    "files": files.files,
    "depends_on": dependencies.depends_on,
    "env_file": variable_files.env_files,
    "label_file": variable_files.label_files,
    "ports": _ports,
}
_CONTAINER_ONLY: dict[str, Callable[[Any], Any]] = {
    "restart": restart_policy,
    "replicas": quantities.at_least_one,
    "on_unhealthy": one_of("none", "restart", "stop"),
}


def _ignored(value: object) -> list[str]:
    return keeping.ignored(CONTAINER_FIELDS)(value)


JOB_FIELDS: tuple[str, ...] = (*(key for key in _STRUCTURED if key != "ports"), *_PLAIN)
CONTAINER_FIELDS: tuple[str, ...] = (*JOB_FIELDS, *_CONTAINER_ONLY, "ports", "healthcheck", "update")
# those that a spec takes over as they are parsed: all that assemble.py does not complete
AS_PARSED = tuple(key for key in CONTAINER_FIELDS if key not in (*_STRUCTURED, "environment", "platform"))


def parse(place: Place, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are set and valid, parsed; everything wrong is reported at `place`."""
    known = CONTAINER_FIELDS if kind == "container" else JOB_FIELDS
    parsed: dict[str, Any] = {}
    lacks_image = given.get("image") is None
    for key, value in given.items():
        inner = place.item(key)
        if key not in known:
            hint = field_hints.hint(kind, key, known, CONTAINER_FIELDS)
            inner.report(f"unknown field `{key}` of {place.subject}", hint, key=True)
            lacks_image = lacks_image and key != "build" and "`image`" not in hint
        elif value is None:
            continue
        elif key in _STRUCTURED:
            parsed[key] = _STRUCTURED[key](inner, value)
        elif key == "healthcheck":
            probe = probes.healthcheck(inner, value)
            if probe is not None:
                parsed[key] = probe
        elif key == "update":
            from stackpy.dsl import updating  # few say how

            if (config := updating.update(inner, value)) is not None:
                parsed[key] = config
        else:
            normal = inner.parse(_PLAIN.get(key) or _CONTAINER_ONLY[key], value)
            if normal is not None:
                parsed[key] = normal
    resource_fields.without_none(parsed)
    if lacks_image:
        place.report(f"{place.subject} has no `image`", "give it an Image or an image's name")
    if "pull_policy" in parsed or "platform" in parsed:
        parsed["image"] = pulling.checked(place, parsed)
    _check_together(place, parsed)
    return parsed


def _check_together(place: Place, parsed: Mapping[str, Any]) -> None:
    mode = parsed.get("network_mode")
    for key in ("networks", "ports"):
        if mode and parsed.get(key):
            what = f'`{key}` of {place.subject} cannot be used with network_mode="{mode}"'
            place.item(key).report(what, "remove one of the two", key=True)
    if parsed.get("update", {}).get("order") == "start-first":
        from stackpy.dsl import updating

        if why := updating.contradiction(parsed):
            what = f"`update` of {place.subject} cannot be start-first: {why}"
            place.item("update").report(what, 'write order="stop-first", or leave it out')
    key, why, hint = resource_fields.contradiction(parsed)
    if key:
        place.item(key).report(f"`{key}` of {place.subject} {why}", hint, key=True)
    if parsed.get("hostname") and (str(mode).startswith(("service:", "container:")) or parsed.get("uts") == "host"):
        why = 'uts="host"' if parsed.get("uts") else f'network_mode="{mode}"'
        what = f"`hostname` of {place.subject} cannot be used with {why}, whose name it has"
        place.item("hostname").report(what, "remove one of the two", key=True)
    if parsed.get("userns") == "auto" and (implied := implied_users(parsed)):
        what = f'`userns` of {place.subject} cannot be "auto": {implied} needs the host\'s user namespace'
        place.item("userns").report(what, "leave it out")
    targets: dict[str, str] = {}
    for inner, mount, _ in (*parsed.get("volumes", ()), *parsed.get("tmpfs", ())):
        if mount["target"] in targets:
            inner.report(f"{inner.name} mounts at {mount['target']}, as {targets[mount['target']]} does")
        targets.setdefault(mount["target"], inner.name.partition(" of ")[0])
    for target in parsed.get("files", ()):
        if target in targets:
            inner = place.item("files").item(target)
            inner.report(f"{inner.name} is where {targets[target]} mounts", key=True)
