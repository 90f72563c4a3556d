"""The keeper: forks every container, is its parent, keeps descriptors, writes exit codes, restarts the supervisor.

It is single-threaded and does nothing that can fail slowly: the work of a start happens in the fork. What it imports
is what every fork inherits, so the list is short, and all that a fork needs is imported here beforehand: inside a
container's root not a single module may be loaded.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - used by name look-ups in forks; must not be loaded inside a container
import gc
import json
import marshal
import os
import select
import signal
import time
import warnings  # noqa: F401 - os.execvpe imports it

from stackpy_runtime.container import joining, sandbox
from stackpy_runtime.container.execution import Channel
from stackpy_runtime.host.wire import Closed, Connection, close_all
from stackpy_runtime.linux import proc, processes, scheduling
from stackpy_runtime.linux.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOST_ORPHANS = 1000
MOST_ENDS = 1000
DISOWNED = "disowned"  # in place of a container's ID
NEVER_BEGAN = -1  # in place of an exit code: the first stage ended without a second
# What processes of containers begin with, nobody's score and nobody's login (proc_pid_oom_score_adj(5), …_loginuid(5)).
USUAL = {"oom_score_adj": "0", "loginuid": "4294967295"}
RESTART_PAUSES = (0.0, 0.1, 0.5, 2.0, 5.0)


def write_aside(path: str, document: dict[str, Any]) -> None:
    """Writes a JSON file so that readers see the old one or the new one."""
    aside = f"{path}.new"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(document, file)
    os.rename(aside, path)


def _looked_up(look: Callable[[], Any], otherwise: Any) -> Any:
    """What /proc tells, or `otherwise` where no descriptor is left to read it: the keeper goes on."""
    try:
        return look()
    except OSError:
        return otherwise


def readable(descriptor: int) -> bool:
    """Whether there is something to read, or an end. Not by select(2): it knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class Keeper:
    """State of the keeper: children by PID, forks that have yet to announce theirs, held descriptors."""

    def __init__(self, root: str, listener: int, supervisor_command: list[str]) -> None:
        self.root, self.listener, self.command = root, listener, supervisor_command
        self.boot = proc.boot_id()
        self.children: dict[int, dict[str, Any]] = {}
        self.announcing: dict[int, tuple[dict[str, Any], int]] = {}  # read end → (reference, first stage)
        # PID → exit code and signal of a child that ended before its PID was announced
        self.orphans: dict[int, tuple[int, int]] = {}
        self.unwritten: list[tuple[str, dict[str, Any]]] = []  # exit codes that a full disk has refused
        # Reference → how a client's process of `exec` has ended, until the supervisor has told: none of it is on disk.
        self.ends: dict[str, dict[str, Any]] = {}
        self.held: dict[str, list[int]] = {}
        # Of whoever started us, and nothing that a container should have: most often there is none of it.
        self.foreign = [(name, usual) for name, usual in USUAL.items() if proc.own(name) not in (usual, "")]
        self.connection: Connection | None = None
        self.supervisor = 0
        self.deaths = 0
        self.born = 0.0
        self.restart_at = 0.0
        self.leaving = False
        self.retired = False  # a keeper of another version has taken our place, but is not our children's parent
        self.poll = select.poll()
        self.wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.poll.register(self.wakeup, select.POLLIN)

    def run(self) -> None:
        """Until the supervisor says that there is nothing left to keep."""
        self.start_supervisor()
        # An exit code that a full disk has refused is nowhere but here.
        while not self.leaving or self.unwritten:
            timeout: float | None = None
            if self.retired:
                if not (self.children or self.announcing or self.supervisor or self.unwritten):
                    return
                timeout = 500 if self.unwritten else None
            elif not self.supervisor:
                timeout = max(0.0, self.restart_at - time.monotonic()) * 1000
            elif self.unwritten:
                timeout = 500
            for descriptor, _ in self.poll.poll(timeout):
                # One that was dealt with may have taken what another had to say, or its number may be another's now: to
                # read what is not there would be to wait for it.
                if descriptor == self.wakeup:
                    os.read(self.wakeup, 4096)
                    self.reap()
                elif descriptor in self.announcing and readable(descriptor):
                    self.read_announcement(descriptor)
                elif self.connection and descriptor == self.connection.fileno():
                    self.listen()
            self.write_exits()
            if not self.supervisor and not self.retired and time.monotonic() >= self.restart_at:
                self.start_supervisor()

    def start_supervisor(self) -> None:
        """Starts the supervisor: descriptor 3 is the listening socket, 4 the line to the keeper."""
        import _socket

        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
        pid = os.fork()
        if not pid:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                line = os.dup(theirs.fileno())
                listener = os.dup(self.listener)
                os.dup2(listener, 3)
                os.dup2(line, 4)
                os.closerange(5, processes.MOST_DESCRIPTORS)
                os.execv(self.command[0], self.command)
            finally:
                os._exit(127)
        theirs.close()
        self.connection = Connection(ours.detach())
        self.poll.register(self.connection.fileno(), select.POLLIN)
        self.supervisor, self.born = pid, time.monotonic()

    def lose_supervisor(self) -> None:
        """Forgets a supervisor that has ended and plans the next, later each time it dies young."""
        # What it has said last is said: descriptors to hold, and whose a process is.
        self.listen()
        if self.connection:
            self.poll.unregister(self.connection.fileno())
            self.connection.close()
            self.connection = None
        lived = time.monotonic() - self.born
        self.deaths = 0 if lived > 10 else self.deaths + 1
        self.restart_at = time.monotonic() + RESTART_PAUSES[min(self.deaths, len(RESTART_PAUSES) - 1)]
        self.supervisor = 0

    def tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Sends an event; one that nobody hears is read from disk or `list` by the next supervisor."""
        if self.connection:
            try:
                self.connection.send(message, descriptors)
            except OSError:
                # It has just died; `reap` will see.
                pass

    def listen(self) -> None:
        """Answers what lies unread."""
        while self.connection and readable(self.connection.fileno()):
            self.serve()

    def serve(self) -> None:
        """Answers one message of the supervisor."""
        assert self.connection
        try:
            message, descriptors = self.connection.receive()
        except (Closed, OSError):
            self.poll.unregister(self.connection.fileno())
            self.connection.close()
            self.connection = None
            return
        operation = message["op"]
        if operation == "spawn":
            self.spawn(message, descriptors)
        elif operation == "assign":
            self.assign(message["token"], message["ref"], message.get("of", ""))
        elif operation == "told":
            close_all(descriptors)
            self.ends.pop(message["ref"], None)
        elif operation == "hold":
            close_all(self.held.pop(message["name"], []))
            self.held[message["name"]] = descriptors
        elif operation == "release":
            close_all(descriptors)
            close_all(self.held.pop(message["name"], []))
        elif operation == "list":
            close_all(descriptors)
            for name, held in self.held.items():
                self.tell({"event": "held", "name": name}, tuple(held))
            self.hear_announcements()
            for pid, reference in self.children.items():
                self.tell({"event": "child", "pid": pid, **reference})
            for reference, _ in self.announcing.values():
                if reference["kind"] == "container":
                    # Whoever was to go on with it is gone, and it ends for that: which says nothing of the next start.
                    reference["ref"] = DISOWNED
                elif reference["of"]:
                    # Of a client's exec, which is about to begin; what stands by is nobody's.
                    self.tell({"event": "child", "pid": 0, **reference})
            for end in self.ends.values():
                self.tell({"event": "end", **end})
            self.tell({"event": "listed"})
        elif operation == "retire":
            close_all(descriptors)
            self.retired = True
            os.close(self.listener)
            # Terminals stay open until their containers end, whatever becomes of the copies that go to the next keeper.
            for name in [name for name in self.held if not name.startswith("io/")]:
                close_all(self.held.pop(name))
        elif operation == "quit":
            close_all(descriptors)
            self.leaving = True

    def spawn(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Forks the first stage of a container or of a process in one. descriptors: channel, then standard streams."""
        channel, *stdio = descriptors
        heard, announce = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if not pid:
            try:
                signal.set_wakeup_fd(-1)
                set_title(f"stackpy-init {message['plan']['name']}")
                self.forget_all(keep={channel, announce, *stdio})
                for name, value in self.foreign:
                    proc.set_own(name, value)
                streams = stdio if message["stdin"] else [-1, *stdio]
                line = Channel(channel)
                if message["kind"] == "container":
                    sandbox.enter(message["plan"], line, announce)
                else:
                    joining.join(message["plan"], line, streams, announce)
            finally:
                os._exit(125)
        os.close(announce)
        close_all(descriptors)
        reference = {"kind": message["kind"], "ref": message["ref"], "of": message.get("of", "")}
        self.announcing[heard] = (reference, pid)
        self.poll.register(heard, select.POLLIN)

    def assign(self, token: str, reference: str, of: str) -> None:
        """Gives a process that stands by the name of the container that it will be, or of the execution in one."""
        for known, _ in self.announcing.values():
            if known["ref"] == token:
                known["ref"], known["of"], known["token"] = reference, of, token

    def forget_all(self, keep: set[int]) -> None:
        """In a fork: closes every descriptor of the keeper but these."""
        first = 3
        for descriptor in (*sorted(keep), processes.MOST_DESCRIPTORS):
            os.closerange(first, descriptor)
            first = descriptor + 1

    def read_announcement(self, descriptor: int) -> None:
        """Learns the PID of a second stage, or that there will be none."""
        # The supervisor says whose it is before it lets the first stage go on, but that may lie unread here.
        self.listen()
        if descriptor not in self.announcing:
            return  # a supervisor that has just come up has had it read
        reference, _ = self.announcing.pop(descriptor)
        self.poll.unregister(descriptor)
        text = os.read(descriptor, 32)
        os.close(descriptor)
        if not text:
            self.keep_end(reference, {"pid": 0, "code": NEVER_BEGAN, "time": time.time()})
            self.tell({"event": "failed", **reference})
            return
        pid = int(text)
        start = _looked_up(lambda: proc.start_time(pid, ended=True), 0)
        if reference["kind"] == "container":
            folder = f"{self.root}/containers/{reference['ref']}"
            try:
                found = {"pid": pid, "start": start, "boot": self.boot, "time": time.time()}
                write_aside(f"{folder}/process", {**found, "group": reference.get("token", "")})
            except OSError:
                # A full disk: the supervisor knows the PID as well, and so does this process.
                pass
        self.children[pid] = {**reference, "start": start}
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            # It has ended and is collected, or no descriptor is left: the supervisor has some of its own.
            self.tell({"event": "started", "pid": pid, "start": start, **reference})
        else:
            self.tell({"event": "started", "pid": pid, "start": start, **reference}, (pidfd,))
            os.close(pidfd)
        if pid in self.orphans:
            ending = self.orphans.pop(pid)
            # One that is there has the number of another that ended before.
            if not start:
                self.ended(pid, *ending)

    def hear_announcements(self) -> None:
        """Learns what lies unread."""
        for descriptor in list(self.announcing):
            if descriptor in self.announcing and readable(descriptor):
                self.read_announcement(descriptor)

    def reap(self) -> None:
        """Collects every child that has ended.

        Each is looked at first and collected last: as long as it is there, uncollected, nobody takes it for a process
        that ended with nobody there to see how. So what has been announced is heard of before.
        """
        self.hear_announcements()
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            pid = info.si_pid
            if pid != self.supervisor and pid not in self.children:
                # Announced since, it may be: only as long as it lies here can it be told when it began.
                self.hear_announcements()
            number = 0 if info.si_code == os.CLD_EXITED else info.si_status
            code = 128 + number if number else info.si_status
            if pid == self.supervisor:
                self.lose_supervisor()
            elif pid in self.children:
                self.ended(pid, code, number)
            elif self.announcing and all(pid != stage for _, stage in self.announcing.values()):
                self.orphans[pid] = code, number
                if len(self.orphans) > MOST_ORPHANS:
                    # What a container in the host's PID namespace leaves behind comes to us as well.
                    self.orphans.pop(next(iter(self.orphans)))
            os.waitpid(pid, 0)

    def ended(self, pid: int, code: int, number: int) -> None:
        """Writes the exit code, and the signal where one ended it, to disk, then tells.

        And whether it had come to execute its program, which nobody can see any more once it is collected.
        """
        reference = self.children.pop(pid)
        executed = _looked_up(lambda: proc.has_executed(pid), True)
        document = {"pid": pid, "code": code, "signal": number, "time": time.time(), "executed": executed}
        if reference["kind"] == "container":
            self.unwritten.append((f"{self.root}/containers/{reference['ref']}/exit", document))
            self.write_exits()
        self.keep_end(reference, document)
        self.tell({"event": "exited", **reference, **document})

    def keep_end(self, reference: dict[str, Any], document: dict[str, Any]) -> None:
        """Remembers the end of a process of `exec` that a client waits for."""
        if reference["of"].startswith("exec/"):
            self.ends[reference["ref"]] = {**reference, **document}
            if len(self.ends) > MOST_ENDS:
                self.ends.pop(next(iter(self.ends)))

    def write_exits(self) -> None:
        """Writes what a full disk has refused before; a container's folder that is gone needs no exit code."""
        while self.unwritten:
            path, document = self.unwritten[0]
            try:
                write_aside(path, document)
            except FileNotFoundError:
                pass
            except OSError:
                return
            self.unwritten.pop(0)


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _remove_socket(root: str, path: str, ours: tuple[int, int, int] | None) -> None:
    """Removes the socket unless a client has put another in its place.

    A client that finds us leaving starts the next pair of processes at once: were their socket removed, yet another
    pair would be started beside them, and sweep away what they are just starting.
    """
    import fcntl

    lock = os.open(f"{root}/run/launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if ours is not None and _identity(path) == ours:
            os.unlink(path)
    except BlockingIOError:
        pass  # somebody is starting the next pair, and replaces the socket
    finally:
        os.close(lock)


def main(root: str, listener: int, supervisor_command: list[str], held: int) -> None:
    """The keeper's process.

    listener: the supervisor's listening socket, opened by whoever starts us
    held: a memory file with what a keeper before us held, descriptors by name; -1: nothing
    """
    os.umask(0o022)
    os.chdir("/")
    set_title(f"stackpy keeper --root {root}")
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    # The supervisor inherits it: each container costs it ten descriptors, and us four.
    processes.raise_descriptor_limit()
    # What whoever started us ignored, containers would ignore as well.
    processes.default_signals()
    # Nor are they to run on the one CPU, or at the low priority, that a command was given.
    scheduling.begin_as_init_did()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    keeper = Keeper(root, listener, supervisor_command)
    if held >= 0:
        with open(held, "rb") as file:
            names: dict[str, int] = marshal.loads(file.read())  # noqa: S302 - whoever starts us has written it
        for name, descriptor in names.items():
            os.set_inheritable(descriptor, False)
            keeper.held.setdefault(name.partition("#")[0], []).append(descriptor)
    # Forks touch less memory when the collector leaves what is here alone.
    gc.collect()
    gc.freeze()
    path = f"{root}/run/supervisor.sock"
    ours = _identity(path)
    keeper.run()
    if not keeper.retired:
        _remove_socket(root, path, ours)
