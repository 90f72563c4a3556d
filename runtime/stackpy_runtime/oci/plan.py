"""What a bundle asks for, as data: bundle.py decides it, outside.py and inside.py carry it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from stackpy_runtime.container.plan import ProcessPlan
    from stackpy_runtime.linux.namespaces import IdMap


class Attributes(TypedDict):
    """What mount_setattr(2) is told: MOUNT_ATTR_… to set and to clear."""

    set: int
    clear: int


class BundleMount(TypedDict):
    """A mount of the bundle, in the order of the bundle.

    kind: `inside` for file systems that belong to the container's namespaces, `outside` for those that the host mounts
    """

    where: str  # mounts[3], for messages
    kind: Literal["bind", "inside", "outside", "cgroup", "remount"]
    type: str  # of the file system
    source: str
    target: str
    options: dict[str, str | None]  # the file system's own; None: a flag
    top: Attributes
    whole: Attributes  # of the mount and all below it
    propagation: list[tuple[int, bool]]  # MS_SHARED … and whether it is meant for all below as well
    recursive: bool  # a bind: with what is mounted below
    copy_up: bool  # a tmpfs: filled with what it covers
    idmap: Literal["", "top", "whole"]
    users: IdMap  # of idmap; both empty: those of the user namespace
    groups: IdMap


class Device(TypedDict):
    """A node that the container's /dev shall have."""

    where: str
    path: str
    type: Literal["c", "b", "p"]
    number: int  # makedev
    mode: int
    user: int
    group: int


class Spaces(TypedDict):
    """The namespaces of a container."""

    new: int  # CLONE_NEW… but CLONE_NEWUSER
    joined: list[tuple[str, int]]  # path, CLONE_NEW…
    users: IdMap  # of a new user namespace
    groups: IdMap
    user_path: str  # of one that is there; all empty: the host's
    clocks: str  # timens_offsets


class Priorities(TypedDict):
    """What is set for the process from outside, with the host's rights."""

    limits: list[tuple[int, int, int]]  # RLIMIT_…, soft, hard
    oom_score: int | None
    scheduler: dict[str, int]  # fields of struct sched_attr
    io: int | None  # ioprio_set(2)


class Program(TypedDict):
    """The process of a bundle, or one to execute besides."""

    plan: ProcessPlan
    identity: tuple[int, int, tuple[int, ...], str]  # user, group, further groups, home
    priorities: Priorities
    personality: int | None
    apparmor: str
    label: str  # SELinux
    console_size: tuple[int, int] | None  # rows, columns
    affinity: NotRequired[tuple[list[int], list[int]]]  # exec: CPUs before and after it has joined the control group


class Hook(TypedDict):
    """A program to call at a moment of the container's life."""

    where: str
    path: str
    args: list[str]
    env: list[str] | None
    timeout: int | None  # seconds


class Filter(TypedDict):
    """A seccomp filter that is compiled."""

    program: bytes
    flags: int  # SECCOMP_FILTER_FLAG_…
    listener: str  # socket of a seccomp agent, "" for none
    metadata: str


class BundlePlan(TypedDict):
    """All that `create` does."""

    id: str
    version: str
    bundle: str  # absolute
    rootfs: str  # absolute
    read_only: bool
    propagation: int  # MS_… of the root; 0: private
    spaces: Spaces
    hostname: str
    domainname: str
    mounts: list[BundleMount]
    devices: list[Device]
    masked: list[str]
    locked: list[str]
    sysctl: dict[str, str]
    mount_label: str
    program: Program | None
    filter: Filter | None
    cgroups_path: str  # absolute in every hierarchy
    hooks: dict[str, list[Hook]]
    annotations: dict[str, str]
    no_pivot: bool
    no_session: bool  # no keyring of its own
