"""A further process in a running container: what `exec` and health checks start.

Until execve the process is one of ours inside the container's namespaces. It is not dumpable, so that nobody there can
trace it or look at /proc/PID/fd (CVE-2016-9962), and holds nothing of the host but its standard streams.
"""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING, NotRequired, TypedDict

from stackpy_runtime.container import users
from stackpy_runtime.container.devices import open_terminal
from stackpy_runtime.container.execution import Channel, become, execute, prepare_process
from stackpy_runtime.container.sandbox import identify, join_cgroups, prepare_limits, read_file
from stackpy_runtime.container.standby import KEYRING
from stackpy_runtime.errors import Conflict
from stackpy_runtime.linux import files, namespaces, proc, processes

if TYPE_CHECKING:
    from stackpy_runtime.container.plan import HandedTo, ProcessPlan

ENDING = 200  # milliseconds
_KINDS = (
    namespaces.CLONE_NEWUSER
    | namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWCGROUP
)


class JoinPlan(TypedDict):
    """A process to start in the container whose PID 1 is `pid`, started at `start` (clock ticks after boot)."""

    name: str
    pid: int
    start: int
    own_network: bool
    cgroups: list[str]  # cgroup.procs files
    process: ProcessPlan
    stands_by: NotRequired[bool]  # with `name` and `cgroups` alone: the rest comes through the channel
    handed_to: NotRequired[HandedTo]  # the external runtime that has the container
    kinds: NotRequired[int]  # CLONE_NEW… of the namespaces to join, in place of all and `own_network`


def join(plan: JoinPlan, channel: Channel, stdio: list[int], announce: int) -> None:
    """Runs in a fork of the keeper; never returns. `announce`: pipe to the keeper, told the new process's PID."""
    try:
        if "handed_to" in plan:
            from stackpy_runtime.container import handing_over  # still on the host, and for few

            handing_over.execute(plan, channel, stdio, announce)
        else:
            _join(plan, channel, stdio, announce)
    except BaseException as error:
        channel.fail(error, f"container {plan['name']}")
    os._exit(0)


def _has_ended(pidfd: int) -> bool:
    """Whether the process is gone: then its group and namespaces go, and joining them fails in many ways.

    They may be gone a moment before the process says that it is.
    """
    gone = select.poll()
    gone.register(pidfd, select.POLLIN)
    return bool(gone.poll(ENDING))


def enter(plan: JoinPlan, announce: int) -> None:
    """Moves into the container; goes on there as root, in a fork whose PID `announce` is told.

    Raises Conflict when the container has ended.
    """
    try:
        target = os.pidfd_open(plan["pid"])
    except ProcessLookupError:
        raise Conflict(f"container {plan['name']} is not running") from None
    # The pidfd is of the right process if that one is still there after it was opened.
    if proc.start_time(plan["pid"]) != plan["start"]:
        raise Conflict(f"container {plan['name']} is not running")
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    kinds = plan.get("kinds", _KINDS | (namespaces.CLONE_NEWNET if plan["own_network"] else 0))
    try:
        join_cgroups(plan["cgroups"])
        prepare_limits(plan["process"], "self")
        if kinds:
            namespaces.setns(target, kinds)
        # Before anybody in its PID namespace sees the process.
        become(users.Identity(0, 0, (), "/"))
        pid = os.fork()
    except OSError as error:
        if _has_ended(target):
            raise Conflict(f"container {plan['name']} is not running") from None
        if error.errno == errno.EAGAIN:
            raise Conflict(
                f"container {plan['name']} may have no further process",
                hint="raise its pids_limit, or init=True where it leaves ended ones behind",
            ) from None
        raise
    os.close(target)
    if pid:
        os.write(announce, f"{pid}\n".encode())
        os._exit(0)
    os.close(announce)
    # Of the container, and only where its user namespace is nobody else's: names are the namespace's.
    processes.join_session_keyring("" if "kinds" in plan else KEYRING)
    os.setsid()


def _join(plan: JoinPlan, channel: Channel, stdio: list[int], announce: int) -> None:
    if plan.get("stands_by"):
        processes.prctl(processes.PR_SET_DUMPABLE, 0)
        join_cgroups(plan["cgroups"])
        document, [line, *stdio] = channel.receive()
        plan = document["plan"]
        plan["cgroups"] = []
        stdio = stdio if document["stdin"] else [-1, *stdio]
        # Whoever asks hears it without us; the one that it stood by with is closed with the rest.
        channel.become(line)
    process = plan["process"]
    filter_ = read_file(process["filter"]) if process["filter"] else b""
    enter(plan, announce)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    identity = identify(root, process)
    console = -1
    if process["tty"]:
        device = files.open_beneath(root, "dev", os.O_PATH | os.O_DIRECTORY)
        console = open_terminal(device)
        os.close(device)
    execute(prepare_process(process, identity, stdio, console, channel, filter_, make_folder=False), channel)
