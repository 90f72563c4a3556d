"""Which devices a container may use, as its control group is told: `devices`, `device_cgroup_rules`, `privileged`."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container.devices import NODES
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux.bpf import DeviceRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVERYTHING = (DeviceRule("a", None, None, "rwm"),)
# What every container may use: Docker's default list (oci/defaults.go). Making a node is not yet opening it.
DEFAULT = (
    DeviceRule("c", None, None, "m"),
    DeviceRule("b", None, None, "m"),
    *(DeviceRule("c", major, minor, "rwm") for major, minor in NODES.values()),
    DeviceRule("c", 5, 2, "rwm"),
    DeviceRule("c", 136, None, "rwm"),
)
# Of the host's /dev what is not a device of its own, or belongs to the container itself (moby's HostDevices).
_NOT_SHOWN = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console")


class Device(NamedTuple):
    """One entry of `devices`: where it is on the host, where in the container, and what may be done with it."""

    source: str
    target: str
    access: str


class Node(NamedTuple):
    """A device node to show: its path inside, its file type, number and mode, and the group that it has on the host."""

    target: str
    kind: int
    number: int
    mode: int
    group: int


def parse(text: str) -> Device:
    """`HOST[:CONTAINER[:rwm]]`, as docker run's --device; raises InvalidConfig."""
    parts = text.split(":")
    device = Device(parts[0], parts[0], "rwm")
    if len(parts) == 2 and not parts[1].startswith("/"):
        device = device._replace(access=parts[1])
    elif len(parts) > 1:
        device = Device(parts[0], parts[1], parts[2] if len(parts) > 2 else "rwm")
    if not device.source.startswith("/") or not device.target.startswith("/") or len(parts) > 3:
        raise InvalidConfig(f"device `{text}` is not HOST[:CONTAINER[:rwm]]", hint="both are absolute paths")
    if not device.access or set(device.access) - set("rwm"):
        raise InvalidConfig(f"device `{text}`: `{device.access}` is not made of r, w and m")
    if ".." in device.target.split("/"):
        raise InvalidConfig(f"device `{text}`: its place in the container has `..`")
    return device


def rule(text: str) -> DeviceRule:
    """`c 189:* rwm`, as docker run's --device-cgroup-rule; raises InvalidConfig."""
    words = text.split(" ")
    numbers = words[1].split(":") if len(words) == 3 else []
    right = (
        len(numbers) == 2
        and words[0] in ("a", "b", "c")
        and all(number == "*" or (number.isascii() and number.isdigit() and len(number) < 8) for number in numbers)
        and 0 < len(words[2]) <= 3
        and not set(words[2]) - set("rwm")
    )
    if not right:
        raise InvalidConfig(f"device rule `{text}` is not `TYPE MAJOR:MINOR ACCESS`", hint="as in `c 189:* rwm`")
    major, minor = (None if number == "*" else int(number) for number in numbers)
    return DeviceRule(words[0], major, minor, words[2])


def on_version_1(one: DeviceRule) -> list[str]:
    """The lines for devices.allow (Documentation/admin-guide/cgroup-v1/devices.rst)."""
    if one.kind == "a" and one.major is None and one.minor is None and set(one.access) == set("rwm"):
        return ["a"]
    major, minor = ("*" if each is None else str(each) for each in (one.major, one.minor))
    # There `a` stands for all devices whatever else the line says.
    return [f"{kind} {major}:{minor} {one.access}" for kind in ("bc" if one.kind == "a" else one.kind)]


def nodes(devices: Sequence[Device]) -> list[tuple[Node, DeviceRule]]:
    """The nodes that `devices` mean on this host, with the rule for each; a folder stands for all devices in it.

    Raises InvalidConfig for what is not there, or is no device.
    """
    found = []
    for device in devices:
        try:
            status = os.stat(device.source)
        except OSError as error:
            text = (error.strerror or "").lower()
            raise InvalidConfig(f"device {device.source}: {text}", hint="`ls /dev` shows what this host has") from None
        if stat.S_ISDIR(status.st_mode):
            inside = list(_within(device.source, device.target))
            if not inside:
                raise InvalidConfig(f"device {device.source} is a folder without devices")
            found += [(node, _rule_for(node, device.access)) for node in inside]
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            node = _node(device.target, status)
            found.append((node, _rule_for(node, device.access)))
        else:
            raise InvalidConfig(f"{device.source} is no device", hint="files and folders are mounted by `volumes`")
    return found


def every_node() -> list[Node]:
    """All devices of this host, for a privileged container."""
    return [node for node in _within("/dev", "/dev") if not node.target.startswith("/dev/ptmx")]


def _within(folder: str, target: str) -> Iterator[Node]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name in _NOT_SHOWN:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _within(entry.path, f"{target}/{entry.name}")
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            # Unplugged in this moment.
            continue
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            yield _node(f"{target}/{entry.name}", status)


def _node(target: str, status: os.stat_result) -> Node:
    mode = stat.S_IMODE(status.st_mode)
    return Node(target, stat.S_IFMT(status.st_mode), status.st_rdev, mode, status.st_gid)


def _rule_for(node: Node, access: str) -> DeviceRule:
    kind = "c" if stat.S_ISCHR(node.kind) else "b"
    return DeviceRule(kind, os.major(node.number), os.minor(node.number), access)
