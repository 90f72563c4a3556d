"""create, start and run: from a bundle to a process that waits to be started, and to its program."""

from __future__ import annotations

import array
import json
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from stackpy_runtime.errors import (
    EngineError,
    EngineUnavailable,
    InvalidConfig,
    KernelError,
    ProcessFailed,
    from_wire,
)
from stackpy_runtime.linux import scheduling
from stackpy_runtime.linux.proc import start_time
from stackpy_runtime.oci import bundle, devices, groups, hooks, outside, resources, state
from stackpy_runtime.oci.fields import Fields
from stackpy_runtime.oci.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.linux.bpf import DeviceRule
    from stackpy_runtime.oci.plan import BundlePlan, Filter, Program
    from stackpy_runtime.oci.state import Folder, Record


class Options(NamedTuple):
    """How a container is created, but for its bundle."""

    console_socket: str = ""
    pid_file: str = ""
    pidfd_socket: str = ""
    descriptors: int = 0  # --preserve-fds
    no_pivot: bool = False
    no_session: bool = False  # --no-new-keyring

    def absolute(self) -> Options:
        """The same with paths that a change of the working folder does not change."""
        pid_file, console, pidfd = (
            os.path.abspath(path) if path else "" for path in (self.pid_file, self.console_socket, self.pidfd_socket)
        )
        return self._replace(pid_file=pid_file, console_socket=console, pidfd_socket=pidfd)


def create(
    root: str,
    identity: str,
    path: str,
    options: Options,
    warn: Callable[[str], None],
    *,
    terminal: list[int] | None = None,
) -> Record:
    """Creates a container of the bundle in `path`; its first process waits to be started.

    terminal: takes the controlling side of the container's terminal in place of a console socket
    """
    folder = state.Folder(root, identity)
    path = os.path.abspath(path)
    # Hooks and the first stage are called in the bundle's folder; what options name is meant from the caller's.
    options = options.absolute()
    document = bundle.load(path)
    passed = int(os.environ.get("LISTEN_FDS", "0") or 0) if os.environ.get("LISTEN_PID") == str(os.getpid()) else 0
    plan = bundle.plan(document, path, identity, descriptors=options.descriptors + passed, warn=warn)
    if passed and plan["program"]:
        variables = plan["program"]["plan"]["environment"]
        variables["LISTEN_FDS"], variables["LISTEN_PID"] = str(passed), "1"
    plan["no_pivot"], plan["no_session"] = options.no_pivot, options.no_session
    check_terminal(plan["program"], options.console_socket, has_other=terminal is not None)
    group = groups.Group(plan["cgroups_path"])
    asked = Fields(document, "").object("linux").object("resources")
    limits = resources.writes(asked, group.version)
    rules = devices.rules(asked)
    record = state.new(identity, path, plan["rootfs"], plan["annotations"], plan["version"], plan["cgroups_path"])
    folder.make(record, document)
    try:
        group.create()
    except BaseException:
        # Whoever is in that group has nothing to do with us.
        group.unmake()
        folder.remove()
        raise
    try:
        with folder.locked():
            creation = _Creation(folder, record, plan, group, options, terminal)
            creation.limit = lambda: _limit(group, limits, rules)
            creation.run()
    except BaseException:
        _undo(folder, group, record, plan, warn)
        raise
    return record


def _limit(group: groups.Group, limits: list[resources.Write], rules: list[DeviceRule]) -> None:
    group.apply(limits)
    group.permit(rules)


def check_terminal(program: Program | None, console_socket: str, *, has_other: bool) -> None:
    """InvalidConfig where a terminal has nobody to take it, or somebody waits for one that there will not be."""
    wanted = bool(program and program["plan"]["tty"])
    if wanted and not console_socket and not has_other:
        raise InvalidConfig("process.terminal is true: --console-socket is needed to hand the terminal to somebody")
    if console_socket and not wanted:
        raise InvalidConfig("--console-socket is given, but process.terminal is not true")


class Talk:
    """The side of whoever creates a process that talks through a Line."""

    def __init__(self, console_socket: str, terminal: list[int] | None) -> None:
        self.console_socket, self.terminal = console_socket, terminal
        self.pid = 0

    def follow(self, ours: socket.socket, answers: dict[str, Callable[[], dict[str, Any]]]) -> None:
        """Reads what the process says until it is ready and has been answered; raises what it fails at.

        answers: what to do at a point, returning what to answer
        """
        while True:
            data, ancillary, _, _ = ours.recvmsg(1 << 16, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise EngineUnavailable("the process to start in has ended before it was ready")
            message, found = json.loads(data), array.array("i")
            for _, _, raw in ancillary:
                found.frombytes(raw)
            if "error" in message:
                raise from_wire(message["error"])
            at = message["at"]
            if at == "standing":
                self.pid = message["pid"]
            elif at == "terminal":
                self._hand_on(found[0])
            else:
                ours.send(json.dumps(answers[at]()).encode())
                if at == "ready":
                    return

    def _hand_on(self, console: int) -> None:
        if self.terminal is not None:
            from stackpy_runtime.oci import running

            running.keep_line_ends(console)
            self.terminal.append(console)
            return
        try:
            _send("--console-socket", self.console_socket, b"/dev/ptmx", console)
        finally:
            os.close(console)


def send_pidfd(path: str, pid: int, name: str) -> None:
    """Sends a pidfd of the process to whoever listens at `path`, if that is given. name: as runc calls what it is of"""
    if not path:
        return
    pidfd = os.pidfd_open(pid)
    try:
        _send("--pidfd-socket", path, name.encode(), pidfd)
    finally:
        os.close(pidfd)


def _send(option: str, path: str, name: bytes, descriptor: int) -> None:
    """Sends a descriptor to whoever listens at a socket, as runc does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        try:
            with _near(os.path.dirname(path)) as near:
                line.connect(f"{near}/{os.path.basename(path)}")
            socket.send_fds(line, [name], [descriptor])
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise KernelError(f"{option} `{path}`: {reason}", errno=error.errno or 0) from None


def connect_agent(filter_: Filter | None) -> int:
    """A descriptor connected to a filter's seccomp agent; -1 when it has none."""
    if not filter_ or not filter_["listener"]:
        return -1
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        agent.connect(filter_["listener"])
    except OSError as error:
        agent.close()
        reason = (error.strerror or str(error)).lower()
        raise InvalidConfig(f"linux.seccomp.listenerPath `{filter_['listener']}`: {reason}") from None
    return agent.detach()


def agent_state(record: Record, filter_: Filter | None, pid: int) -> dict[str, Any]:
    """What a seccomp agent is told of the process (config-linux.md, "Container Process State")."""
    document: dict[str, Any] = {
        "ociVersion": bundle.VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": state.shown(record, "creating" if pid == record["pid"] else "running"),
    }
    if filter_ and filter_["metadata"]:
        document["metadata"] = filter_["metadata"]
    return document


def set_priorities(pid: int, program: Program) -> None:
    """What the process shall have, set from here, with the host's rights."""
    wanted = program["priorities"]
    for number, soft, hard in wanted["limits"]:
        try:
            resource.prlimit(pid, number, (soft, hard))
        except (OSError, ValueError) as error:
            name = next((key for key in dir(resource) if getattr(resource, key) == number and "RLIMIT" in key), number)
            raise KernelError(f"process.rlimits: {name} {soft}:{hard}: {str(error).lower()}") from None
    try:
        if wanted["oom_score"] is not None:
            with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
                file.write(str(wanted["oom_score"]))
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise KernelError(
            f"process.oomScoreAdj: {wanted['oom_score']}: {reason}",
            errno=error.errno or 0,
            hint="less than the caller's own takes CAP_SYS_RESOURCE",
        ) from None
    if wanted["scheduler"]:
        scheduling.set_scheduler(pid, wanted["scheduler"])
    if wanted["io"] is not None:
        scheduling.set_io_priority(pid, wanted["io"])


class _Creation:
    """One `create`, from the group that stands to the process that waits."""

    limit: Callable[[], None]

    def __init__(
        self,
        folder: Folder,
        record: Record,
        plan: BundlePlan,
        group: groups.Group,
        options: Options,
        terminal: list[int] | None,
    ) -> None:
        self.folder, self.record, self.plan, self.group, self.options = folder, record, plan, group, options
        self.talk = Talk(options.console_socket, terminal)

    def run(self) -> None:
        """Forks the first stage and does our part until all is set."""
        listener = _listen(self.folder)
        agent = connect_agent(self.plan["filter"])
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.chdir(self.plan["bundle"])
        shown = [(_shown(hierarchy.names), path) for hierarchy, path in self.group.folders()]
        first = os.fork()
        if not first:
            ours.close()
            outside.enter(self.plan, self.group.procs(), shown, Line(theirs.detach(), listener.detach(), agent))
        theirs.close()
        listener.close()
        if agent >= 0:
            os.close(agent)
        with ours:
            try:
                self.talk.follow(ours, {"namespaces": self._namespaces, "ready": self._ready})
            finally:
                os.waitpid(first, 0)
                if self.talk.pid and not self.record["pid"]:
                    self._remember()

    def _remember(self) -> None:
        self.record["pid"] = self.talk.pid
        self.record["start"] = start_time(self.talk.pid, ended=True)

    def _namespaces(self) -> dict[str, Any]:
        """The namespaces are there and the host's tree is still seen: limits, and the hooks of this moment."""
        self._remember()
        self.limit()
        shown = json.dumps(state.shown(self.record, "creating"))
        for name in ("prestart", "createRuntime"):
            hooks.call_all(self.plan["hooks"].get(name, []), shown)
        return {"state": shown}

    def _ready(self) -> dict[str, Any]:
        """All is set: what is done from here, and then it is created."""
        if self.plan["program"]:
            set_priorities(self.talk.pid, self.plan["program"])
        write_pid(self.options.pid_file, self.talk.pid)
        send_pidfd(self.options.pidfd_socket, self.talk.pid, "standard")
        self.folder.write(self.record)
        return {
            "state": json.dumps(state.shown(self.record, "created")),
            "process": agent_state(self.record, self.plan["filter"], self.talk.pid),
        }


def _shown(names: tuple[str, ...]) -> str:
    """How a hierarchy's folder is called in the container; "" for version 2."""
    return ",".join(name.removeprefix("name=") for name in names)


def _listen(folder: Folder) -> socket.socket:
    """The socket on which `start` is awaited."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with _near(folder.path) as near:
        listener.bind(f"{near}/start")
    listener.listen(1)
    return listener


class _near:
    """A short path of a folder: a socket's address has room for 107 bytes (unix(7))."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> str:
        self.descriptor = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self.descriptor}"

    def __exit__(self, *exception: object) -> None:
        os.close(self.descriptor)


def write_pid(path: str, pid: int) -> None:
    """Writes a PID file, whole or not at all."""
    if not path:
        return
    aside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    try:
        with open(aside, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(aside, path)
    except OSError as error:
        raise KernelError(f"--pid-file `{path}`: {(error.strerror or '').lower()}", errno=error.errno or 0) from None


def _undo(folder: Folder, group: groups.Group, record: Record, plan: BundlePlan, warn: Callable[[str], None]) -> None:
    """What a `create` that failed has made goes."""
    try:
        if record["pid"] and state.lives(record):
            os.kill(record["pid"], signal.SIGKILL)
        group.signal_all(signal.SIGKILL)
        group.remove()
    except (EngineError, OSError) as error:
        warn(f"what was made of container {record['id']} could not be removed: {error}")
    if record["pid"]:
        # It was stopped: the lifecycle goes on with the hooks after that.
        shown = json.dumps(state.shown(record, "stopped"))
        hooks.call_all(plan["hooks"].get("poststop", []), shown, warn=warn)
    folder.remove()


def start(root: str, identity: str) -> None:
    """Has a created container execute its program; returns when it runs. Raises what that fails at."""
    folder = state.Folder(root, identity)
    with folder.locked():
        record = folder.record()
        state.need(state.status(folder, record), ("created",), identity)
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        with line:
            try:
                with _near(folder.path) as near:
                    line.connect(f"{near}/start")
            except OSError:
                raise EngineError(f"container {identity} is stopped, not created") from None
            os.unlink(f"{folder.path}/start")
            try:
                data = line.recv(1 << 16)
            except ConnectionResetError:
                data = b""
        if data:
            raise from_wire(json.loads(data)["error"])
        try:
            _after_start(folder, record)
        except ProcessFailed:
            group = groups.Group(record["cgroups_path"])
            group.signal_all(signal.SIGKILL)
            raise


def _after_start(folder: Folder, record: Record) -> None:
    document = folder.document()
    if not (document.get("hooks") or {}).get("poststart"):
        return
    found = bundle.read_hooks(document)["poststart"]
    hooks.call_all(found, json.dumps(state.shown(record, "running")))
