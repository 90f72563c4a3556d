"""A container that is kept apart otherwise than usual: what of its start, its exec and its end that changes."""

from __future__ import annotations

import os

from stackpy_runtime.container import cgroups, confinement, device_rules, ranges
from stackpy_runtime.container.devices import SHM_SIZE
from stackpy_runtime.errors import Conflict, EngineError, NotFound
from stackpy_runtime.linux import libc, mounts, namespaces, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.container.confinement import Confinement
    from stackpy_runtime.container.plan import NodePlan, SandboxPlan
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import Container, ContainerConfig
    from stackpy_runtime.store.store import Store

_USUAL = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWCGROUP
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
)


def shared_memory(store: Store, identity: str) -> str:
    """Where the shared memory of a container with ipc=shareable is mounted."""
    return f"{store.root.run}/shm/{identity}"


def partner(store: Store, reference: str, field: str) -> Container:
    """The running container whose namespace is to be shared; Conflict when it does not run."""
    try:
        container = store.container(reference)
    except NotFound as error:
        raise NotFound(f"{field}: there is no container `{reference}`", hint="create and start it first") from error
    state = container["state"]
    pid, start = state["pid"], state.get("pid_start", 0)
    if state["status"] not in ("running", "paused") or not pid or proc.start_time(pid) != start:
        raise Conflict(
            f"{field}: container `{container['name']}` is not running, and only a running one has namespaces to share",
            hint=f"stackpy start {container['name']}",
        )
    return container


def hostname_of(store: Store, config: ContainerConfig, identity: str) -> str:
    """The host name that a container has: its own, the host's, or that of the container whose network it shares."""
    if config.get("uts") == "host":
        return os.uname().nodename
    if reference := confinement.shared_with(config).get("network_mode"):
        try:
            other = store.container(reference)
        except NotFound:
            # Removed while this one runs on.
            return identity[:12]
        return hostname_of(store, other["config"], other["id"])
    if config.get("network_mode") == "host" and not config.get("hostname"):
        return os.uname().nodename
    return config.get("hostname") or identity[:12]


def arrange(store: Store, live: Live, sandbox: SandboxPlan) -> None:
    """Adds to a container's plan what its configuration says of isolation; raises Conflict where a partner is gone."""
    config = live.config
    found = confinement.of(config)
    others = {field: partner(store, reference, field) for field, reference in found.joined.items()}
    if found.users != "own" or found.new != _USUAL:
        sandbox["spaces"] = {
            "users": found.users,
            "new": found.new,
            "joined": [
                [other["state"]["pid"], other["state"]["pid_start"], confinement.SHAREABLE[field]]
                for field, other in others.items()
            ],
        }
        # What is the host's needs no CLONE_NEW… and nothing to join.
        if found.users == "host":
            sandbox["first_id"] = 0
        elif found.users == "joined":
            sandbox["first_id"] = ranges.of_process(next(iter(others.values()))["state"]["pid"])
    if other := others.get("network_mode"):
        sandbox["network"] = "shared"
        sandbox["hostname"] = hostname_of(store, config, other["id"])
        sandbox["etc"] = {name: f"{store.root.containers}/{other['id']}/etc/{name}" for name in sandbox["etc"]}
    if config.get("uts") == "host":
        # It is there, and stays what it is.
        sandbox["hostname"] = ""
    if found.privileged or found.options.unmasked:
        sandbox["masked"], sandbox["locked"] = [], []
    if found.privileged:
        sandbox["open_kernel"] = True
    _add_devices(config, found, sandbox)
    _add_shared_memory(store, live, others.get("ipc"), sandbox)


def _add_devices(config: ContainerConfig, found: Confinement, sandbox: SandboxPlan) -> None:
    if found.privileged:
        sandbox["own_nodes"] = [_plan(node) for node in device_rules.every_node()]
    if config.get("device_cgroup_rules"):
        sandbox["devices"] = ["/dev"]
    if config.get("devices"):
        pairs = device_rules.nodes([device_rules.parse(text) for text in config["devices"]])
        sandbox["nodes"] = [_plan(node) for node, _ in pairs]


def _plan(node: device_rules.Node) -> NodePlan:
    return {
        "target": node.target, "kind": node.kind, "number": node.number, "mode": node.mode, "group": node.group,
    }  # fmt: skip


def _add_shared_memory(store: Store, live: Live, other: Container | None, sandbox: SandboxPlan) -> None:
    mode = live.config.get("ipc", "private")
    if mode == "none":
        sandbox["shared_memory"] = ""
    elif mode == "host":
        sandbox["shared_memory"] = "/dev/shm"  # noqa: S108 - the host's, as asked for
    elif mode == "shareable":
        # Not before its IDs are known: `enter` mounts it there.
        sandbox["shared_memory"] = shared_memory(store, live.id)
    elif other is not None:
        path = shared_memory(store, other["id"])
        if other["config"].get("ipc") != "shareable" or not os.path.ismount(path):
            raise Conflict(
                f"ipc: container `{other['name']}` does not share its memory",
                hint=f"give `{other['name']}` ipc=shareable",
            )
        sandbox["shared_memory"] = path


def permit(live: Live, sandbox: SandboxPlan) -> None:
    """Tells the control group which devices may be used, and mounts shared memory; before the plan is handed over."""
    config = live.config
    group = live.group
    assert group is not None
    if sandbox.get("open_kernel"):
        group.permit_devices(device_rules.EVERYTHING)
    elif config.get("devices") or config.get("device_cgroup_rules") or sandbox.get("first_id") == 0:
        rules = [rule for _, rule in device_rules.nodes([device_rules.parse(t) for t in config.get("devices", [])])]
        rules += [device_rules.rule(text) for text in config.get("device_cgroup_rules", [])]
        group.permit_devices([*device_rules.DEFAULT, *rules])
    if config.get("cgroup") == "host":
        sandbox["cgroup_view"] = cgroups.shown(group.layout.mounts)
    if config.get("ipc") == "shareable":
        _mount_shared_memory(sandbox["shared_memory"], sandbox.get("first_id", live.first_id), config)


def _mount_shared_memory(path: str, first: int, config: dict[str, Any] | ContainerConfig) -> None:
    unmount(path)
    os.makedirs(path, mode=0o711, exist_ok=True)
    size = str(config.get("shm_size") or SHM_SIZE)
    options: dict[str, str | None] = {"mode": "1777", "size": size, "uid": str(first), "gid": str(first)}
    guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
    mount = mounts.new_mount("tmpfs", options, guard)
    try:
        mounts.move_mount(mount, libc.AT_FDCWD, path)
    finally:
        os.close(mount)


def unmount(path: str) -> None:
    """Takes shared memory down; whoever still has it goes on having it."""
    try:
        mounts.umount(path)
    except EngineError:
        # It was not mounted.
        pass
    try:
        os.rmdir(path)
    except OSError:
        pass


def namespaces_of(live: Live, pid: int) -> int | None:
    """CLONE_NEW… of the namespaces that a process which joins a container is put into; None: the usual ones.

    pid: of its first process
    """
    config = live.config
    if confinement.is_plain(config):
        return None
    found = confinement.of(config)
    if found.users == "own" and found.new == _USUAL:
        return None
    kinds = found.new
    for field in found.joined:
        kinds |= confinement.SHAREABLE[field]
    if config.get("network_mode") == "host":
        kinds &= ~namespaces.CLONE_NEWNET
    try:
        same = os.path.samestat(os.stat(f"/proc/{pid}/ns/user"), os.stat("/proc/self/ns/user"))
    except OSError:
        raise Conflict("it is not running", subject=f"container {live.name}") from None
    # A process cannot join the user namespace that it is in.
    return kinds | (0 if same else namespaces.CLONE_NEWUSER)
