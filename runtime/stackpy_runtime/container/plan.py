"""The sandbox as data: what a container's start will do, decided before anything is done.

`plan` is pure: an engine configuration and an image in, a SandboxPlan out. container/sandbox.py carries it out.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from stackpy_runtime.container import confinement
from stackpy_runtime.errors import InvalidConfig

if TYPE_CHECKING:
    from stackpy_runtime.model import ContainerConfig, ImageConfig, Mount, Ulimit

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONGEST_TARGET = 1024


class MountPlan(TypedDict):
    """One mount. `ids` says how owners on disk meet those inside: the container's own, or the bind's rule."""

    # Those of build steps alone (container/parts.py): part, layers, memory, socket.
    kind: Literal["bind", "volume", "tmpfs", "part", "layers", "memory", "socket"]
    source: str  # absolute host path; "" for tmpfs and memory; layers: holds upper/ and work/
    target: str
    read_only: bool
    ids: Literal["container", "owner"]
    options: dict[str, str]  # tmpfs
    fill: bool  # an empty volume is filled from the image
    file: NotRequired[bool]  # it is no folder
    within: NotRequired[str]  # part, layers, volume: what is shown of it, "." for all
    propagation: NotRequired[str]  # bind: absent is rprivate
    recursive: NotRequired[str]  # bind: disabled | writable
    lowers: NotRequired[list[str]]  # layers: bottom first
    content: NotRequired[str]  # memory: base64
    owner: NotRequired[list[int]]  # memory: user and group inside
    mode: NotRequired[int]  # memory
    executable: NotRequired[bool]  # memory; tmpfs: absent, as for build steps, is yes


class FilePlan(TypedDict):
    """A file to place: its bytes stand ready on the host at `source`."""

    source: str
    target: str
    mode: int


class SecretPlan(TypedDict):
    """A secret to show: its bytes lie on a tmpfs of the host at `source`."""

    source: str
    target: str


class CapabilitySets(TypedDict):
    """What a process holds of each of its capability sets (capabilities(7)); names without CAP_."""

    bounding: list[str]
    permitted: list[str]
    effective: list[str]
    inheritable: list[str]
    ambient: list[str]


class ProcessPlan(TypedDict):
    """The process to execute, at start or by exec."""

    argv: list[str]
    environment: dict[str, str]
    working_dir: str
    user: str
    capabilities: list[str]
    tty: bool
    filter: str  # file with the compiled seccomp program, "" for none
    groups: NotRequired[list[str]]  # further ones, by name or number
    ulimits: NotRequired[dict[str, Ulimit]]
    score: NotRequired[int]  # of the out-of-memory killer
    sets: NotRequired[CapabilitySets]  # in place of `capabilities`
    filter_flags: NotRequired[int]  # SECCOMP_FILTER_FLAG_…
    new_privileges: NotRequired[bool]  # set-id programs and file capabilities may add rights
    umask: NotRequired[int]  # absent: 0o022
    size: NotRequired[list[int]]  # rows and columns of its terminal
    callers_limits: NotRequired[bool]  # resource limits stay as whoever starts it has them
    learn: NotRequired[bool]  # each system call waits until it has been noted
    apparmor: NotRequired[str]  # the AppArmor profile that the program runs under
    label: NotRequired[str]  # its SELinux label
    descriptors: NotRequired[int]  # so many of those from 3 on are the program's


class SpacesPlan(TypedDict):
    """The namespaces of a container that shares some, in place of those that stand by."""

    users: Literal["own", "host", "joined"]  # the user namespace
    new: int  # CLONE_NEW… of those made for it
    joined: list[list[int]]  # PID and start (clock ticks after boot) of a container's PID 1, and CLONE_NEW…


class NodePlan(TypedDict):
    """A device node to show at `target`."""

    target: str
    kind: int  # S_IFCHR | S_IFBLK
    number: int
    mode: int
    group: int  # inside, the same number as on the host


class HandedTo(TypedDict):
    """The external OCI runtime that a container is handed over to."""

    program: str
    root: str  # folder of what it knows
    id: str
    seccomp: NotRequired[dict[str, Any]]  # `linux.seccomp`; absent: nothing is filtered


class SandboxPlan(TypedDict):
    """All that a start does. Folders are absolute paths on the host."""

    name: str
    lowers: list[str]  # bottom first
    writable: str  # holds upper/ and work/
    hostname: str
    network: Literal["own", "host", "shared"]  # shared: with another container
    read_only: bool
    volatile: bool  # what it writes need not outlive a power cut: its layer is thrown away, or flushed by a build
    mounts: list[MountPlan]
    files: list[FilePlan]
    secrets: list[SecretPlan]
    etc: dict[str, str]  # target under /etc → host file
    cgroup_view: dict[str, str]  # controllers → host folder to show read-only; {"": ""}: a cgroup2 of its own
    masked: list[str]
    locked: list[str]  # read-only paths
    scratch: str  # a folder of the host to mount on while the root is put together
    process: ProcessPlan
    container: NotRequired[str]
    handed_to: NotRequired[HandedTo]
    domainname: NotRequired[str]
    shm_size: NotRequired[int]
    init: NotRequired[bool]
    spaces: NotRequired[SpacesPlan]
    first_id: NotRequired[int]  # of its host IDs, where they are not those of the range that stands by
    nodes: NotRequired[list[NodePlan]]
    own_nodes: NotRequired[list[NodePlan]]  # likewise, and made by a container that may do so itself
    devices: NotRequired[list[str]]  # folders of mounts whose device nodes may be opened
    open_kernel: NotRequired[bool]  # /sys and its control groups can be written, binds keep devices and set-id files
    shared_memory: NotRequired[str]  # host folder to show as /dev/shm; "" for none at all


def argv(config: ContainerConfig, image: ImageConfig) -> list[str]:
    """ENTRYPOINT and CMD as the Dockerfile reference combines them: a given entrypoint drops the image's command."""
    if "entrypoint" in config:
        command = config.get("command", [])
        vector = [*config["entrypoint"], *command]
    else:
        vector = [*image.get("Entrypoint", []), *config.get("command", image.get("Cmd", []))]
    if not vector or not vector[0]:
        raise InvalidConfig("no command: neither the container nor its image has one", hint="give a command")
    return vector


def environment(config: ContainerConfig, image: ImageConfig, hostname: str) -> dict[str, str]:
    """The image's Env, then the container's own. An entry without `=` is nobody's (never the engine's environment)."""
    result = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if config.get("tty"):
        result["TERM"] = "xterm"
    for entry in image.get("Env", []):
        name, equals, value = entry.partition("=")
        if equals and name:
            result[name] = value
    result.update(config.get("environment", {}))
    return result


def check_target(target: str) -> str:
    """A mount's target in normal form; raises InvalidConfig where mounting would undo the sandbox."""
    if not target.startswith("/"):
        raise InvalidConfig(f"mount target `{target}` is not absolute")
    if len(target) > LONGEST_TARGET:
        raise InvalidConfig(f"mount target `{target[:60]}…` is longer than {LONGEST_TARGET} characters")
    path = posixpath.normpath(target.replace("//", "/"))
    if path == "/":
        raise InvalidConfig("a mount on `/` would hide the image")
    for forbidden in ("/proc", "/sys", "/dev"):
        inside = path.startswith(f"{forbidden}/")
        if path == forbidden or (inside and forbidden != "/dev"):
            raise InvalidConfig(f"mount target `{path}` lies in {forbidden}, which the engine guards")
    return path


def check_subpath(path: str) -> str:
    """A path in a volume in normal form; raises InvalidConfig for one that is not beneath its top."""
    normal = posixpath.normpath(path)
    if not path or path.startswith("/") or normal == "." or normal.split("/")[0] == "..":
        raise InvalidConfig(f"subpath `{path}` is no path in a volume", hint="such as a/b")
    return normal


def mount_plan(mount: Mount, volume_folders: dict[str, str]) -> MountPlan:
    """One mount of the configuration as the sandbox makes it."""
    options: dict[str, str] = {}
    source, ids = "", "container"
    if mount["type"] == "tmpfs":
        if "mode" in mount:
            options["mode"] = f"{mount['mode']:o}"
        options |= {key: str(mount[key]) for key in ("size", "nr_inodes", "uid", "gid") if key in mount}
    elif mount["type"] == "volume":
        source = volume_folders[mount["source"]]
    else:
        source = mount["source"]
        ids = "container" if mount.get("owner") == "plain" else "owner"
    plan: MountPlan = {
        "kind": mount["type"],
        "source": source,
        "target": check_target(mount["target"]),
        "read_only": mount["read_only"],
        "ids": "owner" if ids == "owner" else "container",
        "options": options,
        "fill": mount["type"] == "volume" and not mount.get("nocopy", False),
    }
    if mount["type"] == "tmpfs" and not mount.get("executable", False):
        plan["executable"] = False
    if mount["type"] == "bind" and mount.get("propagation", "rprivate") != "rprivate":
        plan["propagation"] = mount["propagation"]
    if mount["type"] == "bind" and "recursive" in mount:
        plan["recursive"] = mount["recursive"]
    if mount["type"] == "volume" and "subpath" in mount:
        plan["within"] = check_subpath(mount["subpath"])
    return plan


def mounts(config: ContainerConfig, volume_folders: dict[str, str]) -> list[MountPlan]:
    """All mounts, outer before inner; two on one target are refused."""
    result = [mount_plan(mount, volume_folders) for mount in config.get("mounts", [])]
    seen: set[str] = set()
    for mount in result:
        if mount["target"] in seen:
            raise InvalidConfig(f"two mounts on `{mount['target']}`")
        seen.add(mount["target"])
    return sorted(result, key=lambda mount: mount["target"].count("/"))


def process(config: ContainerConfig, image: ImageConfig, hostname: str, filter_: str) -> ProcessPlan:
    """The container's first process."""
    result: ProcessPlan = {
        "argv": argv(config, image),
        "environment": environment(config, image, hostname),
        "working_dir": config.get("working_dir") or image.get("WorkingDir") or "/",
        "user": config.get("user", image.get("User", "")),
        "capabilities": sorted(confinement.capabilities(config)),
        "tty": config.get("tty", False),
        "filter": filter_,
    }
    if "group_add" in config:
        result["groups"] = config["group_add"]
    if "ulimits" in config:
        result["ulimits"] = config["ulimits"]
    if "oom_score_adj" in config:
        result["score"] = config["oom_score_adj"]
    if config.get("security_opt") or config.get("privileged"):
        confinement.grant(config, result)
    return result


def bind_map(first: int, inside: int, outside: int) -> list[tuple[int, int, int]]:
    """The ID map of a bind mount: disk ID, ID in the first namespace, count.

    The owner of the source folder outside is the container's configured user inside, so what it makes there belongs
    to the right person. Other IDs keep their number, except that root of the host appears only in a folder that is
    root's: a container cannot make a set-uid root file in a user's folder.
    """
    pairs = [(outside, first + inside, 1)]
    start = 1
    for gap in (*sorted({outside, inside}), 65536):
        if gap < start:
            continue
        if gap > start:
            pairs.append((start, first + start, min(gap, 65536) - start))
        start = gap + 1
        if start >= 65536:
            break
    return sorted(pairs)
