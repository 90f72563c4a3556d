"""Carries out a sandbox plan in two processes that have stood by for it (container/standby.py).

`enter` runs in a fork of the keeper: the first stage, in the container's control groups and still with the host's
rights. It makes the user namespace, and opens everything of the host that the container shall see (layers, volumes,
binds, devices) as detached mounts. The second, PID 1 of the container, has waited in its namespaces; it attaches those
mounts by descriptor, pivots, waits for the network, gives up every right and executes.

Nothing here follows a path of the container twice: targets are opened once with openat2(RESOLVE_IN_ROOT) and acted on
as descriptors. Modules are imported by the keeper before the fork; none is imported here.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from stackpy_runtime.container import devices, init_process, parts, procfs, propagation, rootfs, ulimits, users
from stackpy_runtime.container.cgroups import Group
from stackpy_runtime.container.execution import execute, prepare_process
from stackpy_runtime.container.plan import bind_map
from stackpy_runtime.container.sources import open_source
from stackpy_runtime.container.standby import ROOT, Handed, Spaces, await_plan, fork_first, hand_over
from stackpy_runtime.errors import Conflict, InvalidConfig, KernelError
from stackpy_runtime.filling import fill, wants_filling
from stackpy_runtime.linux import files, libc, mounts, namespaces, proc
from stackpy_runtime.linux.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from stackpy_runtime.container.execution import Channel
    from stackpy_runtime.container.plan import FilePlan, MountPlan, ProcessPlan, SandboxPlan
    from stackpy_runtime.container.standby import First, StandBy, Standing

O_DIR = os.O_PATH | os.O_DIRECTORY
# Of /proc/PID/ns, by CLONE_NEW…
_NAMESPACE_FILES = {namespaces.CLONE_NEWNET: "net", namespaces.CLONE_NEWPID: "pid", namespaces.CLONE_NEWIPC: "ipc"}


def enter(stand_by: StandBy, channel: Channel, announce: int) -> None:
    """First stage; never returns. `announce`: pipe to the keeper, told the PID of the second stage.

    The plan, and with it the descriptors for the standard streams, comes through the channel once there is one.
    """
    try:
        join_cgroups(Group(stand_by["parent"], stand_by["group"]).create())
        whole = [(0, stand_by["first_id"], 65536)]
        owners = namespaces.user_namespace(whole, whole, stand_by["first_id"])

        first = fork_first(owners, channel, announce, _inside, own_network=True)
        channel.send({"at": "standing"}, (first.network,))
        await_plan(channel, first)
        document, descriptors = channel.receive()
        plan: SandboxPlan = document["plan"]
        set_title(f"stackpy-init {plan['name']}")
        first_id = plan.get("first_id", stand_by["first_id"])
        if "spaces" in plan:
            first.let_go()
            owners, first = _shared_spaces(plan, owners, channel, announce)
        elif plan["network"] == "host":
            first.let_go()
            first = fork_first(owners, channel, announce, _inside, own_network=False)
        stdio = descriptors if document["stdin"] else [-1, *descriptors]
        if "handed_to" in plan:
            from stackpy_runtime.container import handing_over  # still on the host, and for few

            first.let_go()
            group = Group(stand_by["parent"], stand_by["group"])
            handing_over.enter(
                plan, first_id, group, _outside(plan, first_id, owners, channel, stdio), channel, announce
            )
            os._exit(0)
        prepare_limits(plan["process"], first.pid)
        handed = _outside(plan, first_id, owners, channel, stdio)
        # Before it can execute anything: what runs is always somebody's, whoever is killed on the way.
        os.write(announce, f"{first.pid}\n".encode())
        hand_over(first.line, handed)
    except BaseException as error:
        channel.fail(error)
    os._exit(0)


def _shared_spaces(plan: SandboxPlan, owners: int, channel: Channel, announce: int) -> tuple[int, First]:
    """Forks PID 1 into the namespaces that the plan names; with the user namespace that it is in, -1 for the host's.

    owners: the user namespace that stood by
    """
    spaces = plan["spaces"]
    joined: list[tuple[int, int]] = []
    if spaces["users"] == "host":
        owners = -1
    for pid, start, kind in spaces["joined"]:
        try:
            descriptor = os.open(f"/proc/{pid}/ns/{_NAMESPACE_FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
            users_ = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise Conflict("the container whose namespace it shares has ended") from None
        if proc.start_time(pid) != start:
            raise Conflict("the container whose namespace it shares has ended")
        joined.append((descriptor, kind))
        if spaces["users"] == "joined":
            if len(joined) > 1 and not os.path.sameopenfile(owners, users_):
                raise InvalidConfig("two containers whose namespaces it shares have different user namespaces")
            owners = users_
    if owners >= 0 and os.path.samestat(os.fstat(owners), os.stat("/proc/self/ns/user")):
        # That container uses the host's.
        owners = -1
    own = bool(spaces["new"] & namespaces.CLONE_NEWNET)
    first = fork_first(
        owners,
        channel,
        announce,
        _inside,
        own_network=own,
        spaces=Spaces(spaces["new"], tuple(joined)),
        system=plan["network"] != "host" or owners < 0,
        writable=plan.get("open_kernel", False),
    )
    for descriptor, _ in joined:
        os.close(descriptor)
    if own:
        channel.send({"at": "network"}, (first.network,))
    return owners, first


def _outside(plan: SandboxPlan, first: int, owners: int, channel: Channel, stdio: list[int]) -> Handed:
    """With the host's rights: opens all that the container shall see of the host, as detached mounts."""
    process = plan["process"]
    # While the host's mounts are seen as they are: from here on nothing spreads to or from them.
    spreading = {
        number: propagation.opened(mount) for number, mount in enumerate(plan["mounts"]) if "propagation" in mount
    }
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    root = rootfs.overlay(plan["lowers"], plan["writable"], owners, first, plan["scratch"], volatile=plan["volatile"])
    if not plan["volatile"]:
        channel.send({"at": "root"}, (root,))
    identity = identify(root, process)
    for descriptor in stdio[1:]:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.fchown(descriptor, first + identity.user, first + identity.group)
    sources = [
        parts.opened(mount, owners, first, plan["scratch"])
        if mount["kind"] in parts.KINDS
        else open_mount(mount, root, owners, first, identity, _guard(plan, mount), spreading.get(number, -1))
        for number, mount in enumerate(plan["mounts"])
    ]
    etc = [rootfs.idmapped_clone(source, owners) for source in plan["etc"].values()]
    secrets = [(secret["target"], read_file(secret["source"])) for secret in plan["secrets"]]
    vault = [_shut_away(secrets, first, identity)] if secrets else []
    # For the container's own network the kernel mounts sysfs anew; the host's is shown as it is.
    system = (
        [mounts.open_tree(libc.AT_FDCWD, "/sys", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)]
        if plan["network"] == "host" and owners >= 0
        else []
    )
    groups = [mounts.open_tree(libc.AT_FDCWD, source) for source in plan["cgroup_view"].values() if source]
    nodes = plan.get("nodes", [])
    shown = devices.make_nodes(nodes, first, lambda top, name: parts.part(top, name, plan["scratch"])) if nodes else []
    shared = [mounts.open_tree(libc.AT_FDCWD, path)] if (path := plan.get("shared_memory")) else []
    values = {
        "plan": plan,
        "identity": tuple(identity),
        "contents": [read_file(file["source"]) for file in plan["files"]],
        "filter": read_file(process["filter"]) if process["filter"] else b"",
        "made inside": [source < 0 for source in sources],
        "stdin": stdio[0] >= 0,
        "system": bool(system),
    }
    given = [descriptor for descriptor in stdio if descriptor >= 0]
    opened = [source for source in sources if source >= 0]
    return Handed(values, [root, *given, *opened, *etc, *vault, *system, *groups, *shown, *shared])


def _inside(standing: Standing, handed: Handed, channel: Channel) -> None:
    """PID 1: puts the root together, gives up every right and executes."""
    values, given = handed.values, iter(handed.descriptors)
    plan: SandboxPlan = values["plan"]
    process, identity = plan["process"], users.Identity(*values["identity"])
    set_title(f"stackpy-init {plan['name']}")
    root = next(given)
    stdio = [next(given) if values["stdin"] else -1, next(given), next(given)]
    sources = [-1 if inside else next(given) for inside in values["made inside"]]
    etc = [(target, next(given)) for target in plan["etc"]]
    vault = next(given) if plan["secrets"] else -1
    system = next(given) if values["system"] else -1
    groups = [(name, next(given)) for name, source in plan["cgroup_view"].items() if source]
    nodes = [(node["target"], next(given)) for node in plan.get("nodes", ())]
    dev = devices.resized(standing.dev, plan["shm_size"]) if "shm_size" in plan else standing.dev
    if "shared_memory" in plan:
        os.close(dev.shared)
        dev = dev._replace(shared=next(given) if plan["shared_memory"] else -1)
    if plan["hostname"]:
        socket.sethostname(plan["hostname"])
    if domain := plan.get("domainname"):
        namespaces.set_domain_name(domain)
    mounts.move_mount(root, libc.AT_FDCWD, ROOT)
    os.close(root)
    top = os.open(ROOT, O_DIR | os.O_CLOEXEC)
    writable = plan.get("open_kernel", False)
    kernel = procfs.mount_views(top, standing.views, system, groups, plan["cgroup_view"], writable=writable)
    console = devices.mount_dev(top, dev, standing.nodes, tty=process["tty"])
    procfs.mask(top, kernel, plan["masked"])
    procfs.lock(kernel, plan["locked"])
    if plan.get("own_nodes"):
        device = files.open_beneath(top, "dev", O_DIR)
        devices.make_own_nodes(device, plan["own_nodes"])
        os.close(device)
    for target, node in nodes:
        place(top, target, node)
    for mount, source in zip(plan["mounts"], sources, strict=True):
        attach_mount(top, mount, source)
    for target, source in etc:
        place(top, f"/etc/{target}", source)
    write_files(top, plan["files"], values["contents"])
    if vault >= 0:
        place(top, "/run/secrets", vault)
    if plan["read_only"]:
        mounts.mount_setattr(top, set_=mounts.MOUNT_ATTR_RDONLY)
    os.fchdir(top)
    mounts.pivot_root(".", ".")
    mounts.umount(".")
    os.chdir("/")
    ready = prepare_process(process, identity, stdio, console, channel, values["filter"], with_console=True)
    channel.wait()
    execute(init_process.beneath(ready) if plan.get("init") else ready, channel)


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


def identify(root: int, process: ProcessPlan) -> users.Identity:
    """Whom a process's user and groups mean in the image."""
    passwd, group = read_inside(root, "/etc/passwd"), read_inside(root, "/etc/group")
    return users.resolve(process["user"], passwd, group, tuple(process.get("groups", ())))


def prepare_limits(process: ProcessPlan, pid: int | Literal["self"]) -> None:
    """Does for a process what only the host's rights allow: a higher limit, a lower score."""
    if ulimits_ := process.get("ulimits"):
        ulimits.raise_hard(ulimits_, 0 if pid == "self" else pid)
    if "score" in process:
        set_score(process["score"], pid)


def set_score(score: int, pid: int | Literal["self"]) -> None:
    """Sets the score of the out-of-memory killer (proc_pid_oom_score_adj(5))."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(score))
    except PermissionError:
        raise InvalidConfig(
            f"oom_score_adj {score} is lower than the engine may give", hint="it needs CAP_SYS_RESOURCE for that"
        ) from None


def read_file(path: str) -> bytes:
    """A file of the host, whole."""
    with open(path, "rb") as file:
        return file.read()


def _guard(plan: SandboxPlan, mount: MountPlan) -> int:
    """What a mount may not bring along: privileges and devices of the host."""
    if plan.get("open_kernel"):
        return 0
    guard = mounts.MOUNT_ATTR_NODEV | (mounts.MOUNT_ATTR_NOSUID if mount["kind"] == "bind" else 0)
    if mount["kind"] == "bind" and plan.get("devices") and f"{mount['source']}/".startswith("/dev/"):
        # Its control group says which of the devices there may be used.
        guard &= ~mounts.MOUNT_ATTR_NODEV
    return guard


def open_mount(
    mount: MountPlan, root: int, owners: int, first: int, identity: users.Identity, guard: int, spreading: int = -1
) -> int:
    """The detached mount of a volume or bind; -1 for a tmpfs, which is made inside.

    spreading: the detached mount of a bind that was opened before; -1 for none
    """
    if mount["kind"] == "tmpfs":
        return -1
    recursive = mounts.AT_RECURSIVE if mount["kind"] == "bind" and mount.get("recursive") != "disabled" else 0
    descriptor = spreading
    if descriptor < 0:
        opened = open_source(mount)
        descriptor = mounts.open_tree(opened, "", mounts.OPEN_TREE_CLONE | recursive)
        os.close(opened)
    status = os.fstat(descriptor)
    if guard:
        mounts.mount_setattr(descriptor, set_=guard, recursive=bool(recursive))
    mapping = owners
    same = owners < 0 and (identity.user, identity.group) == (status.st_uid, status.st_gid)
    if mount["ids"] == "owner" and not same:
        mapping = namespaces.user_namespace(
            bind_map(first, identity.user, status.st_uid), bind_map(first, identity.group, status.st_gid)
        )
    try:
        if mapping >= 0:
            mounts.mount_setattr(descriptor, users=mapping, recursive=bool(recursive))
    except KernelError as error:
        if error.errno != errno.EINVAL or mount["kind"] == "volume":
            raise
        # A file system below without idmapped mounts: the bind shows plain IDs, which inside are nobody's.
    if mapping not in (owners, -1):
        os.close(mapping)
    if mount["fill"] and stat.S_ISDIR(status.st_mode) and wants_filling(f"/proc/self/fd/{descriptor}"):
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
            files.make_file(root, path)
            descriptor = files.open_in_root(root, path, os.O_PATH)
    if files.file_system_type(descriptor) in (files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC):
        os.close(descriptor)
        raise InvalidConfig(f"mount target `{path}` leads into /proc or /sys")
    return descriptor


def place(root: int, path: str, source: int) -> None:
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


def attach_mount(root: int, mount: MountPlan, source: int) -> None:
    """Makes one mount of the plan in the tree at `root`, a folder's descriptor.

    source: descriptor of what is mounted; a tmpfs is made here, and needs none
    Raises InvalidConfig where a folder would stand on a file, or a file on a folder.
    """
    attributes = mounts.MOUNT_ATTR_RDONLY if mount["read_only"] else 0
    if mount["kind"] == "tmpfs":
        guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV
        if not mount.get("executable", True):
            guard |= mounts.MOUNT_ATTR_NOEXEC
        options: dict[str, str | None] = {**mount["options"]}
        if "mode" not in options and (mode := files.folder_mode(root, mount["target"])) is not None:
            # As Docker does: the tmpfs takes the place of a folder, which may have been only its user's.
            options["mode"] = f"{mode:o}"
        source = mounts.new_mount("tmpfs", options, attributes | guard)
    elif attributes:
        recursive = mount["kind"] == "bind" and "recursive" not in mount
        mounts.mount_setattr(source, set_=attributes, recursive=recursive)
    place(root, mount["target"], source)


def write_files(root: int, placed: list[FilePlan], contents: list[bytes]) -> None:
    """Places rendered files; an existing file is replaced, a link at the target is not followed out of its folder."""
    for file, content in zip(placed, contents, strict=True):
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
