"""Device nodes of a bundle, and the rules of its control group for devices. Pure."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.container.device_rules import DEFAULT, on_version_1
from stackpy_runtime.container.devices import NODES
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux.bpf import DeviceRule

if TYPE_CHECKING:
    from stackpy_runtime.oci.fields import Fields
    from stackpy_runtime.oci.plan import Device

_FORMATS = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "u": stat.S_IFCHR, "p": stat.S_IFIFO}
_MOST = (1 << 20) - 1  # a minor number has 20 bits, a major one 12


# What every container has, whatever its rules: the default devices, terminals, and the console.
ALWAYS = (*DEFAULT, DeviceRule("c", 5, 1, "rwm"))


def _mode(fields: Fields) -> int:
    found = fields.number("fileMode", least=0)
    # Go's os.FileMode and plain numbers agree in the lower bits alone.
    return 0o666 if found is None else found & 0o7777


def nodes(linux: Fields, *, own_users: bool) -> list[Device]:
    """The nodes to make: the default ones unless the bundle has one of that path, then the bundle's."""
    result: dict[str, Device] = {}
    for name, (major, minor) in NODES.items():
        result[f"/dev/{name}"] = {
            "where": f"/dev/{name}",
            "path": f"/dev/{name}",
            "type": "c",
            "number": os.makedev(major, minor),
            "mode": 0o666,
            "user": 0,
            "group": 0,
        }
    for each in linux.objects("devices"):
        path, kind = each.needed("path"), each.needed("type")
        if kind not in _FORMATS:
            raise InvalidConfig(f"{each.where('type')}: `{kind}` is not a type of device", hint="c, b, u or p")
        if not path.startswith("/") or ".." in path.split("/") or path.endswith("/"):
            raise InvalidConfig(f"{each.where('path')}: `{path}` is not an absolute path of a file")
        number = 0
        if kind != "p":
            number = os.makedev(each.count("major", most=_MOST), each.count("minor", most=_MOST))
        path = os.path.normpath(path)
        if path in ("/dev/ptmx", "/dev/console"):
            # Both are the container's own terminals: a node of the host's would be a way to the host's.
            continue
        result[path] = {
            "where": each.path,
            "path": path,
            "type": "b" if kind == "b" else "p" if kind == "p" else "c",
            "number": number,
            "mode": _mode(each),
            "user": each.count("uid", 0),
            "group": each.count("gid", 0),
        }
    return list(result.values())


def rules(resources: Fields) -> list[DeviceRule]:
    """The rules of `linux.resources.devices`, with what every container has last."""
    found = []
    for each in resources.objects("devices"):
        kind = each.text("type") or "a"
        if kind not in ("a", "b", "c"):
            raise InvalidConfig(f"{each.where('type')}: `{kind}` is not a type of device", hint="a, b or c")
        access = each.text("access") or "rwm"
        if set(access) - set("rwm"):
            raise InvalidConfig(f"{each.where('access')}: `{access}` has other letters than r, w and m")
        major, minor = (each.number(key, least=-1, most=_MOST) for key in ("major", "minor"))
        major, minor = (None if number == -1 else number for number in (major, minor))
        found.append(DeviceRule(kind, major, minor, access, each.flag("allow")))
    return [*found, *ALWAYS]


def writes(found: list[DeviceRule]) -> list[tuple[str, str]]:
    """The files of version 1 to write, in order; a group begins with nothing allowed."""
    result = [("devices.deny", "a")]
    for rule in found:
        name = "devices.allow" if rule.allow else "devices.deny"
        for line in on_version_1(rule):
            if line == "a":
                # All before it is undone.
                result = []
            result.append((name, line))
    if result[0] == ("devices.allow", "a") and all(name == "devices.allow" for name, _ in result):
        return result[:1]
    return result
