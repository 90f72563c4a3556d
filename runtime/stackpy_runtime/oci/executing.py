"""exec: a further process in a container that runs."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from stackpy_runtime.container import joining
from stackpy_runtime.errors import EngineError, InvalidConfig, from_wire
from stackpy_runtime.linux import scheduling
from stackpy_runtime.oci import bundle, creating, groups, inside, process, seccomp, state
from stackpy_runtime.oci.fields import Fields
from stackpy_runtime.oci.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.oci.plan import BundlePlan, Program
    from stackpy_runtime.oci.state import Record

_NAMES = {"time": "time", "cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "network": "net", "pid": "pid",
          "user": "user", "uts": "uts"}  # fmt: skip


class Options(NamedTuple):
    """What `exec` is told besides the program."""

    console_socket: str = ""
    pid_file: str = ""
    pidfd_socket: str = ""
    descriptors: int = 0
    paused: bool = False  # --ignore-paused
    group: str = ""  # --cgroup: a group below the container's


def process_document(
    document: dict[str, Any],
    arguments: list[str],
    *,
    cwd: str = "",
    env: list[str] | None = None,
    user: str = "",
    groups_: list[int] | None = None,
    terminal: bool = False,
    capabilities: list[str] | None = None,
    no_new_privileges: bool = False,
    apparmor: str = "",
    label: str = "",
) -> dict[str, Any]:
    """The document of a process that command-line options describe, over the container's own."""
    found: dict[str, Any] = {**(document.get("process") or {})}
    found["args"] = arguments
    found["terminal"] = terminal
    found.pop("consoleSize", None)
    if cwd:
        found["cwd"] = cwd
    found.setdefault("cwd", "/")
    found["env"] = [*(found.get("env") or []), *(env or [])]
    if user or groups_:
        owner: dict[str, Any] = {**(found.get("user") or {})}
        uid, colon, gid = user.partition(":")
        for key, text in (("uid", uid), ("gid", gid)):
            if text:
                if not text.isascii() or not text.isdigit():
                    raise InvalidConfig(f"--user {user}: `{text}` is not a number", hint="UID, or UID:GID")
                owner[key] = int(text)
        if user and not colon:
            owner["gid"] = 0
        if groups_:
            owner["additionalGids"] = [*(owner.get("additionalGids") or []), *groups_]
        found["user"] = owner
    if capabilities:
        sets = {**(found.get("capabilities") or {})}
        for name in process.SETS:
            # Never inheritable ones that the container has not itself (CVE-2022-29162).
            given = capabilities
            if name == "ambient":
                given = [each for each in capabilities if each in (sets.get("inheritable") or [])]
            if name != "inheritable":
                sets[name] = [*(sets.get(name) or []), *given]
        found["capabilities"] = sets
    if no_new_privileges:
        found["noNewPrivileges"] = True
    if apparmor:
        found["apparmorProfile"] = apparmor
    if label:
        found["selinuxLabel"] = label
    return found


def execute(
    root: str,
    identity: str,
    given: Callable[[dict[str, Any]], dict[str, Any]],
    options: Options,
    warn: Callable[[str], None],
    *,
    terminal: list[int] | None = None,
) -> int:
    """Starts a process in a container; returns its PID.

    given: the container's document → the process's
    """
    folder = state.Folder(root, identity)
    record = folder.record()
    group = groups.Group(record["cgroups_path"])
    now = state.status(folder, record, frozen=not options.paused and group.frozen())
    if now == "paused":
        raise EngineError(f"cannot exec in a paused container: {identity}", hint="`resume` it, or `--ignore-paused`")
    state.need(now, ("running", "created"), identity)
    document = folder.document()
    own_users = _joins(record, "user") != 0
    available = process.available_capabilities(own_users=own_users)
    fields = Fields(given(document), "process")
    program = process.read(fields, available, options.descriptors, warn, executing=True)
    creating.check_terminal(program, options.console_socket, has_other=terminal is not None)
    plan = _plan(record, document, program, warn)
    kinds = 0
    for kind in bundle.KINDS:
        kinds |= _joins(record, kind)
    joining_: JoinPlan = {
        "name": identity,
        "pid": record["pid"],
        "start": record["start"],
        "own_network": False,
        "cgroups": _procs(group, options.group),
        "process": program["plan"],
        "kinds": kinds,
    }
    if "affinity" in program and program["affinity"][0]:
        os.sched_setaffinity(0, program["affinity"][0])
    return _start(record, plan, joining_, options, terminal)


def _procs(group: groups.Group, below: str) -> list[str]:
    """The files by which to join the container's group, or one below it."""
    if not below:
        return group.procs()
    if ".." in below.split("/"):
        raise InvalidConfig(f"--cgroup {below} is not below the container's own")
    found = [f"{folder}/{below.strip('/')}/cgroup.procs" for _, folder in group.folders()]
    for path in found:
        if not os.path.exists(path):
            raise InvalidConfig(f"--cgroup {below}: there is no {os.path.dirname(path)}")
    return found


def _joins(record: Record, kind: str) -> int:
    """The CLONE_NEW… flag of a namespace in which the container is and this process is not; else 0."""
    name = _NAMES[kind]
    try:
        same = os.stat(f"/proc/self/ns/{name}").st_ino == os.stat(f"/proc/{record['pid']}/ns/{name}").st_ino
    except FileNotFoundError:
        # A kernel without that kind.
        return 0
    return 0 if same else bundle.KINDS[kind]


def _plan(record: Record, document: dict[str, Any], program: Program, warn: Callable[[str], None]) -> BundlePlan:
    """What execute_program needs of a plan: the rest was done when the container was created."""
    linux = Fields(document, "").object("linux")
    program["personality"] = process.personality(linux.object("personality"))
    return {
        "id": record["id"],
        "version": record["version"],
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "read_only": False,
        "propagation": 0,
        "spaces": {"new": 0, "joined": [], "users": [], "groups": [], "user_path": "", "clocks": ""},
        "hostname": "",
        "domainname": "",
        "mounts": [],
        "devices": [],
        "masked": [],
        "locked": [],
        "sysctl": {},
        "mount_label": "",
        "program": program,
        "filter": seccomp.compiled(linux.object("seccomp"), warn),
        "cgroups_path": record["cgroups_path"],
        "hooks": {},
        "annotations": {},
        "no_pivot": False,
        "no_session": False,
    }


def _own_stdio(record: Record, program: Program) -> None:
    """Gives the standard streams to the process's user, by the mapping of the container as the kernel has it."""
    from stackpy_runtime.oci import outside

    maps = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{record['pid']}/{name}", encoding="ascii") as file:
            rows = [tuple(int(each) for each in line.split()) for line in file]
        maps.append([(row[0], row[1], row[2]) for row in rows])
    outside.give_stdio(program, maps[0], maps[1])


def _start(record: Record, plan: BundlePlan, joining_: JoinPlan, options: Options, terminal: list[int] | None) -> int:
    program = plan["program"]
    assert program
    _own_stdio(record, program)
    agent = creating.connect_agent(plan["filter"])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard, announce = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if not helper:
        line = Line(theirs.detach(), -1, agent)
        try:
            ours.close()
            os.close(heard)
            joining.enter(joining_, announce)
            if "affinity" in program and program["affinity"][1]:
                os.sched_setaffinity(0, program["affinity"][1])
            elif "affinity" not in program:
                scheduling.use_every_cpu()
            inside.execute_program(program, plan, line, inside.open_console(program))
        except BaseException as error:
            line.fail(error)
        os._exit(0)
    theirs.close()
    os.close(announce)
    if agent >= 0:
        os.close(agent)
    talk = creating.Talk(options.console_socket, terminal)

    def ready() -> dict[str, Any]:
        creating.set_priorities(talk.pid, program)
        creating.write_pid(options.pid_file, talk.pid)
        creating.send_pidfd(options.pidfd_socket, talk.pid, "setns")
        return {"state": "", "process": creating.agent_state(record, plan["filter"], talk.pid)}

    with ours:
        try:
            os.waitpid(helper, 0)
            talk.pid = int(os.read(heard, 32) or b"0")
            os.close(heard)
            talk.follow(ours, {"ready": ready})
            data = ours.recv(1 << 16)
        except ConnectionResetError:
            data = b""
    if data:
        raise from_wire(json.loads(data)["error"])
    return talk.pid
