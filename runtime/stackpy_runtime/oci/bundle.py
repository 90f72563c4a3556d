"""Reads a bundle (config.json) and decides what creating its container will do. Acts on nothing.

Every field of runtime-spec 1.0 to 1.2 is honoured or refused by its path; keys that no version knows are left alone, as
the specification asks (config.md, "Extensibility").
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import InvalidConfig, NotFound, Unsupported
from stackpy_runtime.linux import mounts, namespaces
from stackpy_runtime.oci import devices, mount_options, process, seccomp
from stackpy_runtime.oci.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.linux.namespaces import IdMap
    from stackpy_runtime.oci.plan import BundleMount, BundlePlan, Hook, Spaces

VERSION = "1.2.1"
LARGEST = 16 << 20  # bytes of config.json
KINDS = {
    "pid": namespaces.CLONE_NEWPID,
    "network": namespaces.CLONE_NEWNET,
    "mount": namespaces.CLONE_NEWNS,
    "ipc": namespaces.CLONE_NEWIPC,
    "uts": namespaces.CLONE_NEWUTS,
    "user": namespaces.CLONE_NEWUSER,
    "cgroup": namespaces.CLONE_NEWCGROUP,
    "time": namespaces.CLONE_NEWTIME,
}
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
# Those that are made for the container's namespaces; all others are the host's to mount.
INSIDE = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "ramfs", "cgroup2")
CLOCKS = ("monotonic", "boottime")
MOST_MAPPINGS = 340  # lines of a uid_map (user_namespaces(7))
IDENTIFIER = re.compile(r"[\w+.-]{1,1024}", re.ASCII)


def check_identifier(identity: str) -> str:
    """A container's ID, which becomes the name of a folder; raises InvalidConfig for others."""
    if not IDENTIFIER.fullmatch(identity) or identity in (".", ".."):
        raise InvalidConfig(f"`{identity[:60]}` is not a container ID", hint="letters, digits, `_`, `+`, `-` and `.`")
    return identity


def load(bundle: str) -> dict[str, Any]:
    """The document of the bundle in a folder."""
    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise NotFound(f"`{path}`: {reason}", hint="`--bundle` names the folder that holds config.json") from None
    if len(text) > LARGEST:
        raise InvalidConfig(f"`{path}` is larger than {LARGEST >> 20} MiB")
    return parse(text, path)


def parse(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object; `name` for messages."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"`{name}` is not JSON: {str(error)[:120]}") from None
    if not isinstance(document, dict):
        raise InvalidConfig(f"`{name}` is not an object")
    return document


def _version(fields: Fields) -> str:
    text = fields.needed("ociVersion")
    found = re.fullmatch(r"(\d{1,5})\.(\d{1,5})\.(\d{1,5})(-[\w.+-]+)?(\+[\w.-]+)?", text, re.ASCII)
    if not found:
        raise InvalidConfig(f"ociVersion: `{text[:40]}` is not a version")
    if found[1] != "1":
        raise Unsupported(f"ociVersion: {text} is not supported", hint="1.0.0 and newer of version 1 are")
    return text


def _mapping(fields: Fields, key: str) -> IdMap:
    result = [(each.count("containerID"), each.count("hostID"), each.count("size")) for each in fields.objects(key)]
    if len(result) > MOST_MAPPINGS:
        raise InvalidConfig(f"{fields.where(key)} has {len(result)} entries: the kernel takes {MOST_MAPPINGS}")
    for inside, outside, count in result:
        if not count or inside + count > 1 << 32 or outside + count > 1 << 32:
            raise InvalidConfig(f"{fields.where(key)}: {count} IDs from {inside} to {outside} are no range")
    return result


def _spaces(linux: Fields) -> Spaces:
    new, joined, seen, user_path = 0, [], 0, ""
    for each in linux.objects("namespaces"):
        kind = each.choice("type", KINDS)
        if kind is None:
            raise InvalidConfig(f"{each.where('type')} is missing")
        if seen & kind:
            raise InvalidConfig(f"{each.where('type')}: a second namespace of type {each.text('type')}")
        seen |= kind
        path = each.text("path")
        if path and not path.startswith("/"):
            raise InvalidConfig(f"{each.where('path')}: `{path}` is not absolute")
        if path and kind == namespaces.CLONE_NEWNS:
            raise Unsupported(
                f"{each.where('path')}: a mount namespace cannot be shared", hint="leave the path of this one out"
            )
        if path and kind == namespaces.CLONE_NEWUSER:
            user_path = path
        elif path:
            joined.append((path, kind))
        elif kind != namespaces.CLONE_NEWUSER:
            new |= kind
    if not seen & namespaces.CLONE_NEWNS:
        raise Unsupported(
            "linux.namespaces: one of type mount is needed", hint="without it the container's root would be the host's"
        )
    users, groups = _mapping(linux, "uidMappings"), _mapping(linux, "gidMappings")
    own_users = bool(seen & namespaces.CLONE_NEWUSER)
    if own_users and not user_path and not (users and groups):
        raise InvalidConfig("linux.uidMappings and linux.gidMappings are needed with a user namespace")
    if (users or groups) and (not own_users or user_path):
        raise InvalidConfig("linux.uidMappings and linux.gidMappings need a new user namespace in linux.namespaces")
    return {
        "new": new,
        "joined": joined,
        "users": users,
        "groups": groups,
        "user_path": user_path,
        "clocks": _clocks(linux.object("timeOffsets"), bool(new & namespaces.CLONE_NEWTIME)),
    }


def _clocks(fields: Fields, new: bool) -> str:
    lines = []
    for name in fields.value:
        if name not in CLOCKS:
            raise Unsupported(f"{fields.where(name)}: only {' and '.join(CLOCKS)} have an offset")
        clock = fields.object(name)
        seconds = clock.number("secs") or 0
        lines.append(f"{name} {seconds} {clock.count('nanosecs', 0, 999_999_999)}\n")
    if lines and not new:
        raise InvalidConfig("linux.timeOffsets needs a new namespace of type time in linux.namespaces")
    return "".join(lines)


def _mount(fields: Fields, bundle: str, own_users: bool) -> BundleMount:
    target = fields.needed("destination")
    options = mount_options.read(fields.texts("options"), f"{fields.path}")
    kind, source = fields.text("type"), fields.text("source")
    users, groups = _mapping(fields, "uidMappings"), _mapping(fields, "gidMappings")
    if bool(users) != bool(groups):
        raise InvalidConfig(f"{fields.path}: uidMappings and gidMappings need each other")
    # Both fields without the option: as newer versions of the specification read it.
    idmap = options.idmap or ("top" if users else "")
    bind = options.bind or kind == "bind"
    if idmap and not bind:
        raise Unsupported(f"{fields.path}.options: only a bind can be idmapped")
    if idmap and not users and not own_users:
        raise InvalidConfig(f"{fields.path}.options: idmap needs uidMappings and gidMappings, or a user namespace")
    if options.copy_up and kind != "tmpfs":
        raise Unsupported(f"{fields.path}.options: tmpcopyup is for a tmpfs")
    own = dict(options.own)
    if bind:
        if not source:
            raise InvalidConfig(f"{fields.where('source')} is missing")
        source = os.path.normpath(os.path.join(bundle, source))
        # mount(2) would drop them without a word.
        for name in own:
            if name in mount_options.SUPERBLOCK:
                continue
            raise Unsupported(f"{fields.path}.options: `{name}` is unknown, and a bind has no options of its own")
        own = {}
    elif not kind and not options.remount:
        raise InvalidConfig(f"{fields.where('type')} is missing")
    found = "outside"
    if options.remount:
        found = "remount"
    elif bind:
        found = "bind"
    elif kind == "cgroup":
        found = "cgroup"
    elif kind in INSIDE:
        found = "inside"
    return {
        "where": fields.path,
        "kind": found,  # type: ignore[typeddict-item]  # one of those just named
        "type": kind,
        "source": source,
        "target": f"/{target.lstrip('/')}",
        "options": own,
        "top": options.top,
        "whole": options.whole,
        "propagation": options.propagation,
        "recursive": options.recursive or (kind == "bind" and not options.bind),
        "copy_up": options.copy_up,
        "idmap": idmap,  # type: ignore[typeddict-item]  # as above
        "users": users,
        "groups": groups,
    }


def _sysctl(linux: Fields, spaces: Spaces) -> dict[str, str]:
    """Only those that a namespace of the container's own has: any other would be the host's."""
    result = {}
    new = spaces["new"] | sum(kind for _, kind in spaces["joined"])
    for name, value in linux.mapping("sysctl").items():
        path = name.replace(".", "/") if "/" not in name.partition(".")[0] else name
        where = f"linux.sysctl.{name}"
        if (
            {"", "."} & set(path.split("/"))
            or ".." in path.split("/")
            or not re.fullmatch(r"[\w/.:-]+", path, re.ASCII)
        ):
            raise InvalidConfig(f"{where} is not the name of a kernel setting")
        head = path.split("/")[0]
        needed = 0
        if head == "net":
            needed = namespaces.CLONE_NEWNET
        elif path.startswith(("kernel/msg", "kernel/shm", "fs/mqueue/")) or path == "kernel/sem":
            needed = namespaces.CLONE_NEWIPC
        elif path == "kernel/domainname":
            needed = namespaces.CLONE_NEWUTS
        elif path == "kernel/hostname":
            raise Unsupported(f"{where} is not set this way", hint="hostname is a field of its own")
        elif not (head == "user" and spaces["users"]):
            raise Unsupported(f"{where} is a setting of the whole host")
        if needed and not new & needed:
            raise InvalidConfig(f"{where} needs a {namespaces.NAMES[needed]} namespace of the container's own")
        result[path] = value
    return result


def _hooks(fields: Fields) -> dict[str, list[Hook]]:
    result: dict[str, list[Hook]] = {}
    for name in HOOKS:
        for each in fields.objects(name):
            path = each.needed("path")
            if not path.startswith("/"):
                raise InvalidConfig(f"{each.where('path')}: `{path}` is not absolute")
            timeout = each.number("timeout")
            if timeout is not None and timeout <= 0:
                raise InvalidConfig(f"{each.where('timeout')}: {timeout} is not a number of seconds")
            hook: Hook = {
                "where": each.path,
                "path": path,
                "args": each.texts("args"),
                "env": each.texts("env") if each.has("env") else None,
                "timeout": timeout,
            }
            result.setdefault(name, []).append(hook)
    return result


def read_hooks(document: dict[str, Any]) -> dict[str, list[Hook]]:
    """The hooks of a bundle's document, by the moment at which they are called."""
    return _hooks(Fields(document, "").object("hooks"))


def cgroups_path(text: str, identity: str) -> str:
    """The group's path in every hierarchy; one that is relative stands below the top, as for runc."""
    if not text:
        return f"/stackpy-oci/{identity}"
    if text.count(":") >= 2 and not text.startswith("/"):
        raise Unsupported(
            f"linux.cgroupsPath: `{text}` is for a systemd that manages control groups",
            hint="have them managed as files: `podman --cgroup-manager=cgroupfs`, SystemdCgroup = false in containerd",
        )
    path = os.path.normpath(f"/{text.lstrip('/')}")
    # A group that others are in could not be told from the container's: kill and pause would reach them.
    if path == "/" or ".." in text.split("/"):
        raise InvalidConfig(f"linux.cgroupsPath: `{text}` is not a group of the container's own")
    return path


def plan(
    document: dict[str, Any], bundle: str, identity: str, *, descriptors: int = 0, warn: Callable[[str], None]
) -> BundlePlan:
    """What creating the container `identity` of the bundle in the folder `bundle` will do.

    descriptors: so many from 3 on are the program's; warn: told of what is left out
    """
    top = Fields(document, "")
    version = _version(top)
    for name in ("windows", "solaris", "vm", "zos", "freebsd"):
        top.refuse(name, "is for another platform than Linux")
    root, linux = top.object("root"), top.object("linux")
    path = os.path.normpath(os.path.join(bundle, root.needed("path")))
    if not os.path.isdir(path):
        raise NotFound(f"root.path: `{path}` is not a folder")
    spaces = _spaces(linux)
    own_users = bool(spaces["users"] or spaces["user_path"])
    for key, kind in (("hostname", "uts"), ("domainname", "uts")):
        if top.text(key) and not (spaces["new"] | sum(k for _, k in spaces["joined"])) & KINDS[kind]:
            raise InvalidConfig(f"{key} needs a {kind} namespace of the container's own")
        if len(os.fsencode(top.text(key))) > 64:
            raise InvalidConfig(f"{key} is longer than 64 bytes")
    linux.refuse("intelRdt", "cache and bandwidth allocation (resctrl) is not supported")
    linux.refuse("netDevices", "moving network devices is not supported (runtime-spec 1.3)")
    linux.refuse("memoryPolicy", "a NUMA memory policy is not supported (runtime-spec 1.3)")
    label = linux.text("mountLabel")
    if label and not os.path.exists("/sys/fs/selinux/enforce"):
        raise Unsupported("linux.mountLabel: SELinux is not enabled on this host")
    propagation = linux.choice(
        "rootfsPropagation", {**mount_options.PROPAGATION, **{f"r{k}": v for k, v in mount_options.PROPAGATION.items()}}
    )
    available = process.available_capabilities(own_users=own_users)
    program = process.read(top.object("process"), available, descriptors, warn) if top.has("process") else None
    personality = process.personality(linux.object("personality"))
    if program:
        program["personality"] = personality
    return {
        "id": identity,
        "version": version,
        "bundle": bundle,
        "rootfs": path,
        "read_only": root.flag("readonly"),
        "propagation": propagation or mounts.MS_PRIVATE,
        "spaces": spaces,
        "hostname": top.text("hostname"),
        "domainname": top.text("domainname"),
        "mounts": [_mount(each, bundle, own_users) for each in top.objects("mounts")],
        "devices": devices.nodes(linux, own_users=own_users),
        "masked": linux.texts("maskedPaths"),
        "locked": linux.texts("readonlyPaths"),
        "sysctl": _sysctl(linux, spaces),
        "mount_label": label,
        "program": program,
        "filter": seccomp.compiled(linux.object("seccomp"), warn),
        "cgroups_path": cgroups_path(linux.text("cgroupsPath"), identity),
        "hooks": _hooks(top.object("hooks")),
        "annotations": top.mapping("annotations"),
        "no_pivot": False,
        "no_session": False,
    }
