"""A container's /proc, /sys and cgroup view: its own, with what concerns the host hidden or read-only.

Each is mounted by us on a folder that is opened without following links, so that an image cannot put a tree of its own
there (CVE-2019-16884, CVE-2025-52881); what is masked afterwards is opened beneath that very mount.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from stackpy_runtime.errors import InvalidConfig, KernelError
from stackpy_runtime.linux import files, mounts

_GUARD = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
# Unprivileged programs may ping and bind low ports in a network namespace that is theirs, as in Docker.
SYSCTLS = {"net/ipv4/ip_unprivileged_port_start": "0", "net/ipv4/ping_group_range": "0 65535"}


def _mount_point(root: int, name: str) -> int:
    try:
        return files.open_beneath(root, name, os.O_PATH | os.O_DIRECTORY)
    except KernelError:
        raise InvalidConfig(
            f"the image's /{name} is not a folder: refused", hint="a link there could put a false tree in its place"
        ) from None


def _cover(root: int, name: str, mount: int) -> int:
    """Attaches `mount` on /`name` and returns a descriptor of its root."""
    target = _mount_point(root, name)
    try:
        mounts.move_mount(mount, target, "")
        return mount
    finally:
        os.close(target)


class Views(NamedTuple):
    """The kernel's own file systems as detached mounts; system is -1 where the host's /sys is to be shown."""

    proc: int
    system: int


def make_views(*, own_network: bool, system: bool | None = None, writable: bool = False) -> Views:
    """Makes them, in the container's namespaces; the kernel does so only where the host's can be seen.

    own_network: the network namespace is a new one
    system: whether sysfs can be made, which takes the owner of the network namespace; None: as `own_network`
    writable: sysfs is
    """
    proc = mounts.new_mount("proc", {}, _GUARD)
    if files.file_system_type(proc) != files.PROC_SUPER_MAGIC:
        raise InvalidConfig("what is to be mounted on /proc is not procfs: refused")
    for name, value in SYSCTLS.items() if own_network else ():
        descriptor = files.open_beneath(proc, f"sys/{name}", os.O_WRONLY)
        try:
            if files.file_system_type(descriptor) != files.PROC_SUPER_MAGIC:
                raise InvalidConfig("a sysctl is not in procfs: refused")
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    if not (own_network if system is None else system):
        return Views(proc, -1)
    return Views(proc, mounts.new_mount("sysfs", {}, _GUARD | (0 if writable else mounts.MOUNT_ATTR_RDONLY)))


def mount_views(
    root: int,
    made: Views,
    host_sys: int,
    groups: list[tuple[str, int]],
    view: dict[str, str],
    *,
    writable: bool = False,
) -> dict[str, int]:
    """Mounts /proc, /sys and /sys/fs/cgroup; returns descriptors of the first two, by path.

    host_sys: detached mount of the host's /sys where the network namespace is the host's, else -1
    groups: host folders of version 1 to show; `cpu,cpuacct` gets a link for each of the two, as on hosts
    writable: /sys/fs/cgroup is
    """
    proc = _cover(root, "proc", made.proc)
    if host_sys >= 0:
        mounts.mount_setattr(host_sys, set_=_GUARD | mounts.MOUNT_ATTR_RDONLY, recursive=True)
    system = _cover(root, "sys", made.system if host_sys < 0 else host_sys)
    _mount_cgroups(system, groups, view, 0 if writable else mounts.MOUNT_ATTR_RDONLY)
    return {"/proc": proc, "/sys": system}


def _mount_cgroups(system: int, groups: list[tuple[str, int]], view: dict[str, str], lock: int) -> None:
    try:
        target = files.open_beneath(system, "fs/cgroup", os.O_PATH | os.O_DIRECTORY)
    except KernelError:
        # A kernel without cgroups has no such folder; there is nothing to show.
        return
    try:
        if "" in view:
            # A folder of the host where the control group namespace is the host's.
            mount = groups[0][1] if groups else mounts.new_mount("cgroup2", {}, _GUARD | lock)
            if groups:
                mounts.mount_setattr(mount, set_=_GUARD | lock)
            mounts.move_mount(mount, target, "")
            os.close(mount)
            return
        top = mounts.new_mount("tmpfs", {"mode": "755", "size": "16k"}, _GUARD)
        for name, _ in groups:
            os.mkdir(name, 0o755, dir_fd=top)
            for controller in name.split(",") if "," in name else ():
                os.symlink(name, controller, dir_fd=top)
        mounts.move_mount(top, target, "")
        for name, mount in groups:
            mounts.mount_setattr(mount, set_=_GUARD | lock)
            mounts.move_mount(mount, top, name)
            os.close(mount)
        mounts.mount_setattr(top, set_=mounts.MOUNT_ATTR_RDONLY)
        os.close(top)
    finally:
        os.close(target)


def _beneath(views: dict[str, int], path: str) -> int:
    """A descriptor of a path of /proc or /sys, beneath our own mount; -1 when this kernel has no such file."""
    top, _, rest = path[1:].partition("/")
    try:
        return files.open_beneath(views[f"/{top}"], rest, os.O_PATH)
    except KernelError as error:
        if error.errno in (2, 20, 13):
            return -1
        raise


def mask(root: int, views: dict[str, int], paths: list[str]) -> None:
    """Hides each path: /dev/null over a file, an empty read-only folder over a folder."""
    null = files.open_beneath(root, "dev/null", os.O_PATH)
    status = os.fstat(null)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        raise InvalidConfig("the container's /dev/null is not the null device: refused")
    empty = -1
    for path in paths:
        target = _beneath(views, path)
        if target < 0:
            continue
        if stat.S_ISDIR(os.fstat(target).st_mode):
            # One for all of them: there may be a folder for each processor.
            if empty < 0:
                cover = mounts.new_mount("tmpfs", {"size": "4k", "mode": "555"}, _GUARD | mounts.MOUNT_ATTR_RDONLY)
                empty = os.dup(cover)
            else:
                cover = mounts.open_tree(empty, "")
        else:
            cover = mounts.open_tree(null, "")
        mounts.move_mount(cover, target, "")
        os.close(cover)
        os.close(target)
    for descriptor in (null, empty):
        if descriptor >= 0:
            os.close(descriptor)


def lock(views: dict[str, int], paths: list[str]) -> None:
    """Makes each path read-only."""
    for path in paths:
        target = _beneath(views, path)
        if target < 0:
            continue
        clone = mounts.open_tree(target, "", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
        mounts.mount_setattr(clone, set_=mounts.MOUNT_ATTR_RDONLY | _GUARD, recursive=True)
        mounts.move_mount(clone, target, "")
        os.close(clone)
        os.close(target)
