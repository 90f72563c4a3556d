"""The first stage of a bundle's container: with the host's rights it opens all that the container shall see.

What container/sandbox.py does for the engine's own containers, for the namespaces and mounts that a bundle names. The
process that it forks into them goes on in inside.py.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container.sandbox import join_cgroups
from stackpy_runtime.container.standby import Spaces, fork_beneath
from stackpy_runtime.errors import EngineError, InvalidConfig, KernelError
from stackpy_runtime.linux import libc, mounts, namespaces, processes, scheduling
from stackpy_runtime.linux.title import set_title
from stackpy_runtime.oci import inside

if TYPE_CHECKING:
    import socket

    from stackpy_runtime.linux.namespaces import IdMap
    from stackpy_runtime.oci.line import Line
    from stackpy_runtime.oci.plan import BundleMount, BundlePlan, Device, Program


class Opened(NamedTuple):
    """What the first stage hands on by being forked: detached mounts, and -1 for what is made inside."""

    root: int
    sources: list[int]  # in the order of the plan's mounts
    nodes: dict[str, int]  # devices that are bound, by path
    groups: list[tuple[str, int]]  # version 1: name of the hierarchy's folder, the container's group in it


def host_id(mapping: IdMap, inside_id: int, where: str) -> int:
    """The host's ID for one inside; InvalidConfig when it is not mapped."""
    if not mapping:
        return inside_id
    for first, outside, count in mapping:
        if first <= inside_id < first + count:
            return outside + inside_id - first
    raise InvalidConfig(f"{where}: {inside_id} is not mapped in the container's user namespace")


def enter(plan: BundlePlan, procs: list[str], groups: list[tuple[str, str]], line: Line) -> None:
    """Runs in a fork of `create`; never returns.

    procs: files by which to join the control groups
    groups: for a mount of type cgroup on version 1, the container's folder in each hierarchy
    """
    try:
        set_title(f"stackpy-init {plan['id']}")
        # Nobody whose PID namespace the container shares may look into what this process holds (CVE-2016-9962).
        processes.prctl(processes.PR_SET_DUMPABLE, 0)
        if plan["program"] and not plan["spaces"]["user_path"]:
            give_stdio(plan["program"], plan["spaces"]["users"], plan["spaces"]["groups"])
        join_cgroups(procs)
        # The group says on which, not whoever calls.
        scheduling.use_every_cpu()
        owners = users(plan)
        joined = tuple((_namespace(path, kind), kind) for path, kind in plan["spaces"]["joined"])
        opened = _open(plan, owners, groups)
        os.chdir(plan["rootfs"])
        spaces = Spaces(plan["spaces"]["new"], joined, plan["spaces"]["clocks"])

        def body(told: socket.socket) -> None:
            # Its PID has been told before it says anything itself.
            if told.recv(1):
                told.close()
                inside.run(plan, opened, line)

        first = fork_beneath(owners, spaces, line, -1, body)
        line.send({"at": "standing", "pid": first.pid})
        first.line.send(b"g")
    except BaseException as error:
        line.fail(error)
    os._exit(0)


def users(plan: BundlePlan) -> int:
    """A descriptor of the container's user namespace; -1 when it has none of its own."""
    spaces = plan["spaces"]
    if spaces["user_path"]:
        return _namespace(spaces["user_path"], namespaces.CLONE_NEWUSER)
    if spaces["users"]:
        return namespaces.user_namespace(spaces["users"], spaces["groups"])
    return -1


def _namespace(path: str, kind: int) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidConfig(f"linux.namespaces: {namespaces.NAMES[kind]} `{path}`: {reason}") from None


def give_stdio(program: Program, users_: IdMap, groups: IdMap) -> None:
    """Gives the standard streams to the process's user, so that it can open /dev/stdout again."""
    if program["plan"]["tty"]:
        return
    user, group = program["identity"][:2]
    owner = host_id(users_, user, "process.user.uid"), host_id(groups, group, "process.user.gid")
    null = os.makedev(1, 3)
    for descriptor in (0, 1, 2):
        try:
            status = os.fstat(descriptor)
            if (status.st_uid, status.st_gid) == owner or (stat.S_ISCHR(status.st_mode) and status.st_rdev == null):
                continue
            os.fchown(descriptor, *owner)
        except OSError as error:
            # Closed; or on a file system that is read-only or knows no owners.
            if error.errno not in (errno.EBADF, errno.EINVAL, errno.EPERM, errno.EROFS):
                raise


def _open(plan: BundlePlan, owners: int, groups: list[tuple[str, str]]) -> Opened:
    root = mounts.open_tree(libc.AT_FDCWD, plan["rootfs"], mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
    follows = plan["propagation"] == mounts.MS_SLAVE
    mounts.mount_setattr(root, propagation=mounts.MS_SLAVE if follows else mounts.MS_PRIVATE, recursive=True)
    sources = [_source(mount, plan, owners) for mount in plan["mounts"]]
    nodes = {device["path"]: _node(device) for device in plan["devices"] if owners >= 0 and device["type"] != "p"}
    wanted = any(mount["kind"] == "cgroup" for mount in plan["mounts"])
    shown = [(name, mounts.open_tree(libc.AT_FDCWD, folder)) for name, folder in groups] if wanted else []
    return Opened(root, sources, nodes, shown)


def _source(mount: BundleMount, plan: BundlePlan, owners: int) -> int:
    if mount["kind"] == "outside":
        options = dict(mount["options"])
        if mount["source"]:
            options["source"] = mount["source"]
        if plan["mount_label"]:
            options["context"] = plan["mount_label"]
        try:
            return mounts.new_mount(mount["type"], options, mount["top"]["set"])
        except EngineError as error:
            raise KernelError(f"{mount['where']} `{mount['target']}`: {error}") from None
    if mount["kind"] != "bind":
        return -1
    try:
        # Opened once: what is mounted is what was looked at, whoever exchanges it meanwhile.
        source = os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidConfig(f"{mount['where']}.source: `{mount['source']}`: {reason}") from None
    try:
        deep = mounts.AT_RECURSIVE if mount["recursive"] else 0
        descriptor = mounts.open_tree(source, "", mounts.OPEN_TREE_CLONE | deep)
    finally:
        os.close(source)
    try:
        _dress(mount, descriptor, owners)
    except EngineError as error:
        raise KernelError(f"{mount['where']} `{mount['target']}`: {error}") from None
    return descriptor


def _dress(mount: BundleMount, descriptor: int, owners: int) -> None:
    """Gives a bind its attributes, its mapping and its propagation."""
    if not mount["propagation"]:
        # Of a shared mount the clone is a peer: what the container mounts below would appear on the host.
        mounts.mount_setattr(descriptor, propagation=mounts.MS_PRIVATE, recursive=True)
    for kind, deep in mount["propagation"]:
        if kind == mounts.MS_SHARED and owners >= 0:
            raise InvalidConfig("a mount cannot be shared with the host out of a user namespace")
        mounts.mount_setattr(descriptor, propagation=kind, recursive=deep)
    whole, top = mount["whole"], mount["top"]
    if whole["set"] or whole["clear"]:
        mounts.mount_setattr(descriptor, set_=whole["set"], clear=whole["clear"], recursive=True)
    if top["set"] or top["clear"]:
        mounts.mount_setattr(descriptor, set_=top["set"], clear=top["clear"])
    if mount["idmap"]:
        mapping = namespaces.user_namespace(mount["users"], mount["groups"]) if mount["users"] else owners
        mounts.mount_setattr(descriptor, users=mapping, recursive=mount["idmap"] == "whole")
        if mapping != owners:
            os.close(mapping)


def _node(device: Device) -> int:
    """A bind of the host's node: in a user namespace none can be made. It keeps the host's mode and owner."""
    try:
        descriptor = os.open(device["path"], os.O_PATH | os.O_CLOEXEC)
        status = os.fstat(descriptor)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidConfig(
            f"{device['where']}: `{device['path']}` of this host: {reason}",
            hint="in a user namespace only a device that the host has at that path can be shown",
        ) from None
    expected = stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR
    if stat.S_IFMT(status.st_mode) != expected or status.st_rdev != device["number"]:
        wanted = f"{device['type']} {os.major(device['number'])}:{os.minor(device['number'])}"
        raise InvalidConfig(f"{device['where']}: `{device['path']}` of this host is not the device {wanted}")
    try:
        return mounts.open_tree(descriptor, "")
    finally:
        os.close(descriptor)
