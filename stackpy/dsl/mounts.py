"""Volumes, bind mounts and tmpfs in Compose's short and long forms, and the mapping {volume: "/target"}.

A mount is a dict as in specs.py. What is mounted stays as the user wrote it ("./src", "~/data") until assemble.py
resolves it; `volume` holds a named volume's name.
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import mount_options, quantities
from stackpy.dsl.resources import Resource
from stackpy.dsl.values import Invalid, below_root, choices, flag, meant, one_of, resource_name, show, text, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Mount = dict[str, Any]


EXPECTED = 'a mount such as "./src:/app:ro", "data:/var/lib/data" or "/cache"'
LONG_FIELDS = {
    "bind": ("type", "source", "target", "read_only", "owner", "bind"),
    "volume": ("type", "source", "target", "read_only", "volume"),
    "tmpfs": ("type", "target", "read_only", "tmpfs"),
}


def is_path(source: str) -> bool:
    """Whether a short form's source is a path rather than a volume's name, as Compose decides it."""
    return source.startswith(("/", "./", "../", "~/")) or source in (".", "..", "~")


def short(value: str, source: object = None) -> Mount:
    """SOURCE:TARGET:MODE, SOURCE:TARGET or TARGET; with `source` given, TARGET:MODE or TARGET."""
    parts = value.split(":")
    name: object = source
    if source is None:
        name = parts.pop(0) if len(parts) > 1 else ""
    if not 1 <= len(parts) <= 2 or (name == "" and ":" in value):
        raise wrong(EXPECTED, value)
    mount = _mount(name, parts[0], False)
    return mount if len(parts) == 1 else mount | mount_options.short(mount["type"], parts[1])


def _mount(source: object, target: object, read_only: bool) -> Mount:
    mount: Mount = {"type": "volume", "source": "", "target": _target(target), "read_only": read_only}
    if isinstance(source, str):
        if is_path(source):
            mount |= {"type": "bind", "source": source}
        elif source:
            if "/" in source:
                raise Invalid(
                    f"has a source that is neither a path nor a volume's name: {show(source)}",
                    f'a path begins with `./`: "./{source}"',
                )
            mount["source"] = source
        return mount
    if not isinstance(source, Resource) or source.kind != "volume":
        raise Invalid(f"must have a volume or a path as its source, not {show(source)}")
    mount["source"] = source.name
    return mount


def _target(value: object) -> str:
    try:
        return below_root(value)
    except Invalid as invalid:
        raise Invalid(f"has a target that {invalid.message}", invalid.hint) from None


def long(value: Mapping[Any, Any]) -> Mount:
    """Compose's mapping with `type`, `source`, `target`; `owner` is ours."""
    try:
        kind = one_of(*LONG_FIELDS)(value.get("type"))
    except Invalid as invalid:
        raise Invalid(f"has a `type` that {invalid.message}", invalid.hint) from None
    for key in value:
        if key not in LONG_FIELDS[kind]:
            hint = mount_options.ELSEWHERE.get(str(key)) or meant(str(key), LONG_FIELDS[kind])
            raise Invalid(f"has an unknown key `{key}` for a {kind}", hint, (key,), True)
    source = value.get("source", "")
    if kind == "bind":
        source = _inside("source", text, source)
        if not is_path(source):
            source = f"./{source}"
    elif isinstance(source, str) and source:
        source = _inside("source", resource_name, source)
    read_only = _inside("read_only", flag, value.get("read_only", False))
    mount = _mount(source, value.get("target"), read_only) | {"type": kind}
    if "owner" in value:
        mount["owner"] = _inside("owner", one_of("container", "plain"), value["owner"])
    if "tmpfs" in value:
        mount |= mount_options.mapping("tmpfs", value["tmpfs"], {**_TMPFS, "exec": flag})
        if mount.pop("exec", False):
            mount["executable"] = True
    if "bind" in value:
        mount |= mount_options.bind(value["bind"], read_only)
    if "volume" in value:
        mount |= mount_options.volume(value["volume"])
        if "subpath" in mount and not mount["source"]:
            raise Invalid("has a subpath of a volume without a name, which is empty", "name the volume")
    return mount


def _inside(key: str, parser: Any, value: object) -> Any:
    try:
        return parser(value)
    except Invalid as invalid:
        raise invalid.inside(key) from None


def owner(value: object) -> int:
    """A user or group of a container, by number."""
    return quantities.whole(value, 0, 65535)


def memory(value: object) -> int | str:
    """The size of a tmpfs: bytes, or a share of the host's memory as tmpfs(5) takes it: `10%`."""
    if isinstance(value, str) and value.endswith("%"):
        return f"{quantities.whole(value[:-1], 1, 100)}%"
    return quantities.size(value)


_TMPFS: dict[str, Any] = {
    "size": memory,
    "mode": quantities.mode,
    "uid": owner,
    "gid": owner,
    "nr_inodes": quantities.size,
}
# What else docker takes, and what is so.
_TMPFS_ELSEWHERE = {
    **dict.fromkeys(("dev", "suid"), "nothing in it is a device, or raises privileges: leave it out"),
    **dict.fromkeys(
        "atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime".split(),
        "times of access are kept as on any file system: leave it out",
    ),
}
# Whether programs in it can be run is a choice; set-user-ID bits and devices never count.
_FLAGS = ("ro", "rw", "exec", "noexec", "nosuid", "nodev")


def tmpfs(value: object) -> Mount:
    """TARGET or TARGET:size=64m,mode=1777,uid=1000,gid=1000,exec,ro."""
    target, _, options = text(value).partition(":")
    mount: Mount = {"type": "tmpfs", "source": "", "target": _target(target), "read_only": False}
    for option in options.split(",") if options else ():
        key, equals, content = option.partition("=")
        if not equals and key in _FLAGS:
            if key in ("ro", "rw"):
                mount["read_only"] = key == "ro"
            elif key == "exec":
                mount["executable"] = True
            elif key == "noexec":
                mount.pop("executable", None)
        elif equals and key in _TMPFS:
            try:
                mount[key] = _TMPFS[key](content)
            except Invalid as invalid:
                raise Invalid(f"has a {key} that {invalid.message}", invalid.hint) from None
        else:
            names = (*_TMPFS, *_FLAGS)
            hint = _TMPFS_ELSEWHERE.get(key) or meant(key, names, f"the options are {choices(names)}")
            raise Invalid(f"has an unknown option `{key}`", hint)
    return mount


def entry(value: object) -> Mount:
    """One item of a list of volumes."""
    if isinstance(value, Mapping):
        return long(value)
    if isinstance(value, Resource) and value.kind == "volume":
        raise Invalid("has no target", f'write {{{value.name}: "/path"}}')
    if not isinstance(value, str) or not value:
        raise wrong(EXPECTED, value)
    return short(value)


def mapped(source: object, target: object) -> Mount:
    """One item of a mapping of volumes."""
    if not isinstance(target, str) or not target:
        raise Invalid(f'must be a path in the container, with ":ro" where it is read-only, not {show(target)}')
    if source == "":
        raise Invalid("must have a volume or a path as its source")
    return short(target, source)
