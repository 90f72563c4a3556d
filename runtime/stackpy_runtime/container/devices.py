"""A container's /dev: a tmpfs with the nodes that every program expects, as binds of the host's.

Nodes are bound, not made: mknod is refused in a user namespace, and on a bind the device's type can be checked.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import InvalidConfig, Unsupported
from stackpy_runtime.linux import files, libc, mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.container.plan import NodePlan

# include/uapi/linux/major.h and Documentation/admin-guide/devices.txt
NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
    "core": "/proc/kcore",
}
SHM_SIZE = 64 << 20
LAST_ID = 65535  # of those that a container has
_GUARD = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC


def open_host_nodes() -> dict[str, int]:
    """Detached mounts of the host's nodes, each checked to be the device of its name."""
    result = {}
    for name, (major, minor) in NODES.items():
        descriptor = mounts.open_tree(libc.AT_FDCWD, f"/dev/{name}")
        status = os.fstat(descriptor)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(major, minor):
            raise Unsupported(f"/dev/{name} of this host is not the device {major}:{minor}")
        result[name] = descriptor
    return result


class Dev(NamedTuple):
    """The file systems of a container's /dev as detached mounts."""

    device: int
    terminals: int
    queues: int
    shared: int


def make_dev() -> Dev:
    """Makes them, in the container's namespaces."""
    # The nodes below are binds of the host's, so this file system itself needs no devices.
    device = mounts.new_mount(
        "tmpfs", {"mode": "755", "size": "64k"}, mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC
    )
    for name in NODES:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=device))
    for name, link in LINKS.items():
        os.symlink(link, name, dir_fd=device)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=device)
    terminals = mounts.new_mount(
        "devpts", {"newinstance": None, "ptmxmode": "0666", "mode": "0620", "gid": "5"}, _GUARD
    )
    queues = mounts.new_mount("mqueue", {}, _GUARD | mounts.MOUNT_ATTR_NODEV)
    return Dev(device, terminals, queues, _shared(SHM_SIZE))


def resized(dev: Dev, size: int) -> Dev:
    """The same with another size of /dev/shm, in bytes."""
    os.close(dev.shared)
    return dev._replace(shared=_shared(size))


def _shared(size: int) -> int:
    options: dict[str, str | None] = {"source": "shm", "mode": "1777", "size": str(size)}
    return mounts.new_mount("tmpfs", options, _GUARD | mounts.MOUNT_ATTR_NODEV)


def mount_dev(root: int, dev: Dev, nodes: dict[str, int], *, tty: bool) -> int:
    """Mounts /dev in the container; returns the console's descriptor with `tty`, else -1."""
    try:
        target = files.open_beneath(root, "dev", os.O_PATH | os.O_DIRECTORY)
    except OSError:
        raise InvalidConfig(
            "the image's /dev is not a folder: refused", hint="a link there could lead outside"
        ) from None
    mounts.move_mount(dev.device, target, "")
    os.close(target)
    os.close(dev.device)
    device = files.open_beneath(root, "dev", os.O_PATH | os.O_DIRECTORY)
    try:
        for name, node in nodes.items():
            mounts.move_mount(node, device, name)
            os.close(node)
        for name, mount in (("pts", dev.terminals), ("mqueue", dev.queues), ("shm", dev.shared)):
            if mount < 0:
                os.rmdir(name, dir_fd=device)
                continue
            mounts.move_mount(mount, device, name)
            os.close(mount)
        return open_terminal(device) if tty else -1
    finally:
        os.close(device)


def make_nodes(nodes: list[NodePlan], first: int, clone: Callable[[int, str], int]) -> list[int]:
    """Detached mounts of device nodes, made with the host's rights: root of the container owns them.

    A node of the host's own /dev would be nobody's in a user namespace, and its mode would keep root out.
    first: the host ID of the container's root; clone: a detached mount of what lies in a detached one
    """
    result = []
    for node in nodes:
        # Not of the container's user namespace: on a file system of that, no device can be opened. One for each node,
        # since before Linux 6.15 a detached mount is attached to be cloned, which can be done but once.
        top = mounts.new_mount("tmpfs", {"mode": "755", "size": "4k"}, _GUARD)
        try:
            os.mknod("node", node["kind"] | 0o600, node["number"], dir_fd=top)
            os.chown("node", first, first + (node["group"] if node["group"] <= LAST_ID else 0), dir_fd=top)
            os.chmod("node", node["mode"], dir_fd=top)
            result.append(clone(top, "node"))
        finally:
            os.close(top)
    return result


def make_own_nodes(device: int, nodes: list[NodePlan]) -> None:
    """Makes device nodes in the container's /dev, of which `device` is a descriptor; those that it has stay.

    Only for a container in the host's user namespace, where nodes can be made.
    """
    for node in nodes:
        parent = files.make_folders(device, os.path.dirname(node["target"].removeprefix("/dev/")))
        try:
            name = os.path.basename(node["target"])
            os.mknod(name, node["kind"] | 0o600, node["number"], dir_fd=parent)
            os.chown(name, 0, node["group"], dir_fd=parent)
            os.chmod(name, node["mode"], dir_fd=parent)
        except FileExistsError:
            # One of the standard nodes.
            pass
        finally:
            os.close(parent)


def open_terminal(device: int) -> int:
    """A new pseudo terminal of the container's own devpts: the controlling side's descriptor.

    `device` is a descriptor of the container's /dev. Only what was mounted there is opened, never an image's link.
    """
    descriptor = files.openat2(
        device, "pts/ptmx", os.O_RDWR | os.O_NOCTTY, 0, files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
    )
    status = os.fstat(descriptor)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(5, 2):
        raise InvalidConfig("the container's /dev/pts/ptmx is not a terminal multiplexer: refused")
    return descriptor
