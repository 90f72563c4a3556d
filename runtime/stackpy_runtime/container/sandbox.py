"""Carries out a sandbox plan in a process forked for it.

`enter` runs in a fork of the keeper, in two stages. The first still has the host's rights: it joins the cgroups, makes
the user namespace, opens everything of the host that the container shall see (layers, volumes, binds, devices) as
detached mounts, then joins the user namespace and unshares the rest. The second, PID 1 of the container, attaches
those mounts by descriptor, pivots, waits for the network, gives up every right and executes.

Nothing here follows a path of the container twice: targets are opened once with openat2(RESOLVE_IN_ROOT) and acted on
as descriptors. Modules are imported by the keeper before the fork; none is imported here.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any, TypedDict

from stackpy_runtime.container import devices, procfs, rootfs, users
from stackpy_runtime.container.cgroups import Group, Limits
from stackpy_runtime.container.execution import Channel, become, execute, prepare_process
from stackpy_runtime.container.plan import MountPlan, SandboxPlan, bind_map
from stackpy_runtime.errors import InvalidConfig, KernelError
from stackpy_runtime.filling import fill, wants_filling
from stackpy_runtime.linux import files, libc, mounts, namespaces
from stackpy_runtime.linux.title import set_title

O_DIR = os.O_PATH | os.O_DIRECTORY
# Any folder that every host has serves to attach the new root for the moment before pivot_root; not one that proc or
# sysfs would have to be "fully visible" beneath.
_MEETING_POINT = "/etc"


class StandBy(TypedDict):
    """What a first stage does before it knows what it will be."""

    name: str
    parent: str  # the engine root's control group
    group: str  # its own, in that
    first_id: int  # of its range of host IDs


def enter(stand_by: StandBy, channel: Channel, announce: int) -> None:
    """First stage; never returns. `announce`: pipe to the keeper, told the PID of the second stage.

    The plan, and with it the descriptors for the standard streams, comes through the channel once there is one.
    """
    try:
        join_cgroups(Group(stand_by["parent"], stand_by["group"]).create(Limits()))
        whole = [(0, stand_by["first_id"], 65536)]
        owners = namespaces.user_namespace(whole, whole)
        channel.send({"at": "standing"})
        document, descriptors = channel.receive()
        plan: SandboxPlan = document["plan"]
        set_title(f"stackpy-init {plan['name']}")
        stdio = descriptors if document["stdin"] else [-1, *descriptors]
        _enter(plan, stand_by["first_id"], owners, channel, stdio, announce)
    except BaseException as error:
        channel.fail(error)
    os._exit(0)


def _enter(plan: SandboxPlan, first: int, owners: int, channel: Channel, stdio: list[int], announce: int) -> None:
    process = plan["process"]
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    root = rootfs.overlay(plan["lowers"], plan["writable"], owners, first, plan["scratch"], volatile=plan["volatile"])
    if not plan["volatile"]:
        channel.send({"at": "root"}, (root,))
    identity = identify(root, process["user"])
    for descriptor in stdio[1:]:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.fchown(descriptor, first + identity.user, first + identity.group)
    prepared = [(mount, _source(mount, root, owners, first, identity)) for mount in plan["mounts"]]
    etc = [(target, rootfs.idmapped_clone(source, owners)) for target, source in plan["etc"].items()]
    contents = [(file, read_file(file["source"])) for file in plan["files"]]
    secrets = [(secret["target"], read_file(secret["source"])) for secret in plan["secrets"]]
    vault = _shut_away(secrets, first, identity) if secrets else -1
    filter_ = read_file(process["filter"]) if process["filter"] else b""
    nodes = devices.open_host_nodes()
    system = (
        mounts.open_tree(libc.AT_FDCWD, "/sys", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
        if plan["network"] == "host"
        else -1
    )
    groups = [(name, mounts.open_tree(libc.AT_FDCWD, source)) for name, source in plan["cgroup_view"].items() if name]

    namespaces.setns(owners, namespaces.CLONE_NEWUSER)
    become(users.Identity(0, 0, (), "/"))
    kinds = (
        namespaces.CLONE_NEWNS
        | namespaces.CLONE_NEWPID
        | namespaces.CLONE_NEWIPC
        | namespaces.CLONE_NEWUTS
        | namespaces.CLONE_NEWCGROUP
    )
    if plan["network"] == "own":
        namespaces.unshare(namespaces.CLONE_NEWNET)
        # The supervisor works on the network while the root is put together.
        channel.send_namespace()
    namespaces.unshare(kinds)
    pid = os.fork()
    if pid:
        os.write(announce, f"{pid}\n".encode())
        os._exit(0)
    os.close(announce)
    os.setsid()
    socket.sethostname(plan["hostname"])
    mounts.move_mount(root, libc.AT_FDCWD, _MEETING_POINT)
    os.close(root)
    top = os.open(_MEETING_POINT, O_DIR | os.O_CLOEXEC)
    kernel = procfs.mount_kernel_views(top, system, groups, plan["cgroup_view"], own_network=plan["network"] == "own")
    console = devices.mount_dev(top, nodes, tty=process["tty"])
    procfs.mask(top, kernel, plan["masked"])
    procfs.lock(kernel, plan["locked"])
    for mount, source in prepared:
        _attach(top, mount, source)
    for target, source in etc:
        _place(top, f"/etc/{target}", source)
    _write_files(top, contents)
    if secrets:
        _place(top, "/run/secrets", vault)
    if plan["read_only"]:
        mounts.mount_setattr(top, set_=mounts.MOUNT_ATTR_RDONLY)
    os.fchdir(top)
    mounts.pivot_root(".", ".")
    mounts.umount(".")
    os.chdir("/")
    ready = prepare_process(process, identity, stdio, console, channel, filter_, with_console=True)
    channel.wait()
    execute(ready, channel)


def join_cgroups(files_: list[str]) -> None:
    """Moves the caller into its control groups."""
    for path in files_:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)


def read_inside(root: int, path: str, limit: int = 1 << 20) -> str:
    """The text of a regular file of the container, at most `limit` bytes; "" when there is none."""
    try:
        descriptor = files.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except KernelError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, limit).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def identify(root: int, user: str) -> users.Identity:
    """Whom `user` means in the image."""
    return users.resolve(user, read_inside(root, "/etc/passwd"), read_inside(root, "/etc/group"))


def read_file(path: str) -> bytes:
    """A file of the host, whole."""
    with open(path, "rb") as file:
        return file.read()


def _source(mount: MountPlan, root: int, owners: int, first: int, identity: users.Identity) -> int:
    """The detached mount of a volume or bind; -1 for a tmpfs, which is made inside."""
    if mount["kind"] == "tmpfs":
        return -1
    source = mount["source"]
    try:
        # Opened once: what is mounted is what was looked at, whoever exchanges it meanwhile.
        opened = os.open(source, os.O_PATH | os.O_CLOEXEC)
        status = os.fstat(opened)
    except OSError as error:
        text = (error.strerror or "").lower()
        raise InvalidConfig(f"mount source {source}: {text}", hint="make it before, or use a named volume") from None
    recursive = mounts.AT_RECURSIVE if mount["kind"] == "bind" else 0
    descriptor = mounts.open_tree(opened, "", mounts.OPEN_TREE_CLONE | recursive)
    os.close(opened)
    # Nothing that is mounted into a container may bring privileges or devices of the host along.
    guard = mounts.MOUNT_ATTR_NODEV | (mounts.MOUNT_ATTR_NOSUID if mount["kind"] == "bind" else 0)
    mounts.mount_setattr(descriptor, set_=guard, recursive=bool(recursive))
    mapping = owners
    if mount["ids"] == "owner":
        mapping = namespaces.user_namespace(
            bind_map(first, identity.user, status.st_uid), bind_map(first, identity.group, status.st_gid)
        )
    try:
        mounts.mount_setattr(descriptor, users=mapping, recursive=bool(recursive))
    except KernelError as error:
        if error.errno != errno.EINVAL or mount["kind"] == "volume":
            raise
        # A file system below without idmapped mounts: the bind shows plain IDs, which inside are nobody's.
    if mapping is not owners:
        os.close(mapping)
    if mount["fill"] and wants_filling(source):
        _fill(root, mount["target"], descriptor, first)
    return descriptor


def _fill(root: int, target: str, volume: int, first: int) -> None:
    """Gives an empty volume what the image has at its target, as Docker does."""
    try:
        folder = files.open_in_root(root, target, os.O_RDONLY | os.O_DIRECTORY)
    except KernelError:
        return
    try:
        inside = files.open_beneath(volume, ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with rootfs.mapped_root(first):
                fill(folder, inside)
        finally:
            os.close(inside)
    finally:
        os.close(folder)


def _target(root: int, path: str, *, folder: bool) -> int:
    """A descriptor of a mount's target, made when it is missing; never one of procfs or sysfs."""
    try:
        descriptor = files.open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        if folder:
            descriptor = files.make_folders(root, path)
        else:
            parent = files.make_folders(root, os.path.dirname(path))
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(os.path.basename(path), flags, 0o644, dir_fd=parent))
            finally:
                os.close(parent)
            descriptor = files.open_in_root(root, path, os.O_PATH)
    if files.file_system_type(descriptor) in (files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC):
        os.close(descriptor)
        raise InvalidConfig(f"mount target `{path}` leads into /proc or /sys")
    return descriptor


def _place(root: int, path: str, source: int) -> None:
    """Attaches a detached mount at `path` of the container."""
    is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
    target = _target(root, path, folder=is_folder)
    try:
        if stat.S_ISDIR(os.fstat(target).st_mode) != is_folder:
            kinds = ("a folder", "a file") if is_folder else ("a file", "a folder")
            raise InvalidConfig(f"cannot mount {kinds[0]} on {kinds[1]}: {path}")
        mounts.move_mount(source, target, "")
    finally:
        os.close(target)
        os.close(source)


def _attach(root: int, mount: MountPlan, source: int) -> None:
    attributes = mounts.MOUNT_ATTR_RDONLY if mount["read_only"] else 0
    if mount["kind"] == "tmpfs":
        guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV
        source = mounts.new_mount("tmpfs", dict(mount["options"]), attributes | guard)
    elif attributes:
        mounts.mount_setattr(source, set_=attributes, recursive=mount["kind"] == "bind")
    _place(root, mount["target"], source)


def _write_files(root: int, contents: list[tuple[Any, bytes]]) -> None:
    """Places rendered files; an existing file is replaced, a link at the target is not followed out of its folder."""
    for file, content in contents:
        folder, name = os.path.split(file["target"])
        parent = files.make_folders(root, folder)
        try:
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise libc.failure(f"replace {file['target']}", error.errno) from None
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, file["mode"], dir_fd=parent)
            with open(descriptor, "wb") as target:
                target.write(content)
                os.fchmod(descriptor, file["mode"])
        finally:
            os.close(parent)


def _shut_away(secrets: list[tuple[str, bytes]], first: int, identity: users.Identity) -> int:
    """A detached tmpfs with a file for each secret, read-only once they are written.

    It is made with the host's rights, since only those may have it kept out of the swap.
    """
    options = {"mode": "755", "size": "16m", "uid": str(first), "gid": str(first)}
    guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
    mount = mounts.new_memory(options, guard)
    for name, value in secrets:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o400, dir_fd=mount)
        with open(descriptor, "wb") as file:
            file.write(value)
            os.fchown(descriptor, first + identity.user, first + identity.group)
    mounts.mount_setattr(mount, set_=mounts.MOUNT_ATTR_RDONLY)
    return mount
