"""What of a start is done before anybody knows what is to be started.

A first stage, which keeps the host's rights, and the container's PID 1 stand by as two processes: the first in its
control groups, the second in the container's namespaces too. A start then hands the second what the first has opened.
Forking it and making the namespaces take a quarter of a start.
"""

from __future__ import annotations

import marshal
import os
import select
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from stackpy_runtime.container.devices import make_dev, open_host_nodes
from stackpy_runtime.container.execution import ENGINE_FAILED, become
from stackpy_runtime.container.procfs import make_views
from stackpy_runtime.container.users import Identity
from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux import libc, mounts, namespaces, processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.container.devices import Dev
    from stackpy_runtime.container.execution import Channel
    from stackpy_runtime.container.procfs import Views

_AT_ONCE = 200  # descriptors in one message; the kernel takes 253 (SCM_MAX_FD)
_HEAD = 64  # bytes of a message that goes along with descriptors
_KINDS = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWCGROUP
)
# Any folder that every host has serves to attach a new root for the moment before pivot_root; not one that proc or
# sysfs would have to be "fully visible" beneath.
_MEETING_POINT = "/etc"
KEYRING = "_ses"  # the session keyring of a container whose user namespace is its own; names are the namespace's
ROOT = "/root"  # where PID 1 that stands by puts the container's root, for the moment before pivot_root


class StandBy(TypedDict):
    """What a first stage does before it knows what it will be."""

    name: str
    parent: str  # the engine root's control group
    group: str  # its own, in that
    first_id: int  # of its range of host IDs


class Handed(NamedTuple):
    """What PID 1 gets of the first stage: plain values, and descriptors in an order that both know."""

    values: dict[str, Any]
    descriptors: list[int]


class Standing(NamedTuple):
    """What PID 1 has made beforehand, as detached mounts."""

    views: Views
    dev: Dev
    nodes: dict[str, int]  # of the host's /dev


class First:
    """A container's PID 1 that stands by.

    pid: as the host counts
    line: to it
    network: its network namespace, or -1 where that is the host's
    """

    def __init__(self, pid: int, line: socket.socket, network: int) -> None:
        self.pid, self.line, self.network = pid, line, network

    def let_go(self) -> None:
        """It is not needed, and ends."""
        self.line.close()
        if self.network >= 0:
            os.close(self.network)


class Spaces(NamedTuple):
    """The namespaces that a process is put into.

    new: those made for it, CLONE_NEW… flags
    joined: those that are there, as descriptor and CLONE_NEW… flag
    clocks: what to write into timens_offsets of a time namespace among the new (time_namespaces(7))
    """

    new: int
    joined: tuple[tuple[int, int], ...] = ()
    clocks: str = ""


def fork_first(
    owners: int,
    channel: Channel,
    announce: int,
    inside: Callable[[Standing, Handed, Channel], None],
    *,
    own_network: bool,
    spaces: Spaces | None = None,
    system: bool | None = None,
    writable: bool = False,
) -> First:
    """Forks PID 1 of a new container, in the user namespace `owners` and new namespaces of the other kinds.

    owners: -1 for the host's
    inside: what it does once it is told; never returns
    spaces: the namespaces, in place of new ones of all kinds
    system, writable: of its /sys (procfs.make_views)
    """
    # With the host's rights: the clones of these mounts are the host's.
    nodes = open_host_nodes()

    def stand(line: socket.socket) -> None:
        if owners < 0:
            # A mount namespace of the host's user namespace has its mounts shared with it.
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        views = make_views(own_network=own_network, system=system, writable=writable)
        standing = Standing(views, make_dev(), nodes)
        # Found again by what `exec` starts there, where others of its user namespace have theirs.
        processes.join_session_keyring("" if spaces else KEYRING)
        _leave_host()
        inside(standing, _take_over(line), channel)

    kinds = _KINDS | (namespaces.CLONE_NEWNET if own_network else 0)
    first = fork_beneath(owners, spaces or Spaces(kinds), channel, announce, stand)
    for node in nodes.values():
        os.close(node)
    return first


def fork_beneath(
    owners: int, spaces: Spaces, channel: Channel, announce: int, body: Callable[[socket.socket], None]
) -> First:
    """Forks a process into namespaces and the user namespace `owners` (-1: the caller's).

    announce: a descriptor that it is not to hold, or -1
    body: what it does with the line to us; never returns
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    helper = os.fork()
    if not helper:
        # A new PID namespace begins with the next fork; this process, between the two, is gone after it.
        try:
            ours.close()
            if announce >= 0:
                os.close(announce)
            # It is nobody's but the host's root's, since this process is not dumpable.
            clocks = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC) if spaces.clocks else -1
            # With the caller's rights: what is joined may belong to another user namespace than `owners`.
            for descriptor, kind in spaces.joined:
                namespaces.setns(descriptor, kind)
                os.close(descriptor)
            if owners >= 0:
                namespaces.setns(owners, namespaces.CLONE_NEWUSER)
                become(Identity(0, 0, (), "/"))
            if spaces.new:
                namespaces.unshare(spaces.new)
            if clocks >= 0:
                os.write(clocks, spaces.clocks.encode())
                os.close(clocks)
            own = spaces.new & namespaces.CLONE_NEWNET
            network = [os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)] if own else []
            pid = os.fork()
            if pid:
                socket.send_fds(theirs, [str(pid).encode()], network)
                os._exit(0)
            for descriptor in network:
                os.close(descriptor)
            if spaces.joined:
                # Processes of others are in the same namespaces: none may look into this one (CVE-2016-9962).
                processes.prctl(processes.PR_SET_DUMPABLE, 0)
            os.setsid()
            body(theirs)
        except BaseException as error:
            channel.fail(error)
        os._exit(ENGINE_FAILED)
    theirs.close()
    os.waitpid(helper, 0)
    text, network, _, _ = socket.recv_fds(ours, _HEAD, 1)
    if not text:
        # It has said itself what it failed at.
        os._exit(ENGINE_FAILED)
    return First(int(text), ours, network[0] if network else -1)


def _leave_host() -> None:
    """Exchanges the host's mounts for an empty root, as long as nothing else is there: a copy would keep them busy."""
    guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
    empty = mounts.new_mount("tmpfs", {"mode": "755", "size": "4k"}, guard)
    os.mkdir(ROOT[1:], 0o755, dir_fd=empty)
    mounts.move_mount(empty, libc.AT_FDCWD, _MEETING_POINT)
    os.close(empty)
    os.chdir(_MEETING_POINT)
    mounts.pivot_root(".", ".")
    mounts.umount(".")
    os.chdir("/")


def await_plan(channel: Channel, first: First) -> None:
    """Waits until there is something to do; ends where PID 1 has ended meanwhile, so that another pair is taken."""
    poll = select.poll()
    poll.register(channel.socket, select.POLLIN)
    poll.register(first.line, select.POLLIN)
    if {descriptor for descriptor, _ in poll.poll()} == {first.line.fileno()}:
        os._exit(ENGINE_FAILED)


def hand_over(line: socket.socket, handed: Handed) -> None:
    """Gives PID 1 what it shall go on with. Raises KernelError when it has ended."""
    memory = os.memfd_create("handed", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(marshal.dumps((handed.values, len(handed.descriptors))))
        socket.send_fds(line, [b"v"], [memory])
        for start in range(0, len(handed.descriptors), _AT_ONCE):
            socket.send_fds(line, [b"d"], handed.descriptors[start : start + _AT_ONCE])
    except OSError as error:
        raise KernelError("the process to start in has ended", errno=error.errno or 0) from None
    finally:
        os.close(memory)


def _take_over(line: socket.socket) -> Handed:
    """What the first stage hands over; the process ends with the first stage."""
    data, [*memories], _, _ = socket.recv_fds(line, _HEAD, 1)
    if not data:
        os._exit(ENGINE_FAILED)
    with open(memories[0], "rb") as file:
        file.seek(0)
        # From the first stage, which has more rights than this process.
        values, count = marshal.loads(file.read())  # noqa: S302
    descriptors: list[int] = []
    while len(descriptors) < count:
        data, found, _, _ = socket.recv_fds(line, _HEAD, _AT_ONCE)
        if not data:
            os._exit(ENGINE_FAILED)
        descriptors += found
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return Handed(values, descriptors)
