"""A container that the supervisor looks after: its process, its output, and who waits for it."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container.logs import DEFAULT_MAX_FILE, DEFAULT_MAX_SIZE, STREAMS, Recorder

if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.container.cgroups import Group
    from stackpy_runtime.container.journald import Journal
    from stackpy_runtime.model import Container, ContainerState, Probe
    from stackpy_runtime.store.store import Store

# Seconds in which a client that has lost a supervisor comes back to the next.
RESUMING = 10.0
BEGUN_WITHIN = 5.0  # seconds between the word to begin and the end of its start
MOST_AT_ONCE = 4 << 20
# Of output that an attached client has yet to take.
MOST_BEHIND = 32 << 20


_OUTPUT = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


def _held_by(pid: int, number: int, path: str) -> int:
    """Our end of the FIFO that a process has as its descriptor `number`; of a new one at `path` where it has none."""
    try:
        # Looked at before it is opened: the process may put anything else in its place meanwhile.
        pinned = os.open(f"/proc/{pid}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        pinned = -1  # it has just ended, or closed it
    try:
        if pinned >= 0 and _is_ours(pinned, os.path.dirname(path)):
            return os.open(f"/proc/self/fd/{pinned}", _OUTPUT)
    finally:
        if pinned >= 0:
            os.close(pinned)
    os.mkfifo(path, 0o600)
    return os.open(path, _OUTPUT)


def _is_ours(descriptor: int, folder: str) -> bool:
    """Whether it is a FIFO of `folder` without a name, and not another that the container has in its place."""
    status = os.fstat(descriptor)
    return stat.S_ISFIFO(status.st_mode) and not status.st_nlink and status.st_dev == os.stat(folder).st_dev


class Ended(NamedTuple):
    """The end of a container's first process: exit code (None: nobody saw it), when, and the signal that ended it."""

    code: int | None
    when: float
    signal: int = 0
    executed: bool = True  # its program, as opposed to what was to execute it


class Live:
    """State in memory of one container.

    probe: its health check, or its image's
    verb: held by whoever starts, stops, updates or removes it; changed: guards and announces everything else.
    """

    def __init__(self, root: str, container: Container, probe: Probe | None = None) -> None:
        self.id, self.name, self.config = container["id"], container["name"], container["config"]
        self.container, self.probe = container, probe
        self.state: ContainerState = container["state"]
        self.folder = f"{root}/containers/{self.id}"
        self.fifos = [f"{root}/run/io/{self.id}.{name}" for name in STREAMS]
        self.group: Group | None = None  # while it runs
        self.verb = threading.RLock()
        self.changed = threading.Condition(threading.RLock())
        self.launching = False
        self.pid, self.start, self.pidfd = 0, 0, -1
        self.ended: Ended | None = None
        self.hook = ""  # the execution of the hook that a start waits for
        self.interrupted = False  # that hook is not wanted any more
        self.first_id = 0  # of its host IDs; 0: they are the host's
        self.sharer = 0  # the PID by which it is noted in the range of another, whose namespaces it shares
        self.attached: dict[str, str] = {}  # IDs of the networks that it is on, by name
        self.sources: list[int] = []  # FIFOs, or one terminal
        self.terminal = -1
        self.stdin = -1  # our end of its standard input, which the keeper holds too
        self.root_mount = -1  # its root file system, so that the flush to disk at its end holds up nobody
        self.recorder: Recorder | None = None
        self.readers: dict[object, list[int]] = {}  # attached clients: offset of each spool
        self.resumable = 0.0  # until when a client may come back that an earlier supervisor has served
        self.awaited = False  # the end, by such a client: until then it is not removed
        self.held = False  # waits for an attached client
        self.refused = False  # by a full disk: output waits in the FIFOs
        self.unfinished: set[str] = set()  # what of its end is still to be done
        self.removed = False
        self.pause = 0.0
        self.leaving = False  # it gets no new connections that others can have
        self.born = 0.0  # when it was told to begin, on the monotonic clock
        self.begun = 0.0  # the same by the clock on the wall
        self.restart_timer: Any = None

    # --- output ------------------------------------------------------------------------------------------------------

    def open_output(self) -> list[int]:
        """Makes and opens the FIFOs; returns the container's own two descriptors, the caller's to close."""
        theirs = []
        for path in self.fifos:
            try:
                os.mkfifo(path, 0o600)
            except FileExistsError:
                pass
            theirs.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        self.reopen_output()
        return theirs

    def reopen_output(self) -> None:
        """Opens our end of FIFOs that are there already."""
        with self.changed:
            self.sources = [os.open(path, _OUTPUT) for path in self.fifos]

    def recover_output(self, held: list[int]) -> None:
        """Opens our end of the output of a process that runs, also where a FIFO has lost its name.

        The supervisor before us may have been killed in the midst of its start, and what it had made been swept: the
        keeper has the FIFO all the same, and so has the process (proc_pid_fd(5)).

        held: the keeper's descriptors of them, or none where it has been killed as well
        """
        with self.changed:
            self.sources = []
            for index, path in enumerate(self.fifos):
                try:
                    self.sources.append(os.open(path, _OUTPUT))
                except FileNotFoundError:
                    if len(held) == len(self.fifos):
                        self.sources.append(os.open(f"/proc/self/fd/{held[index]}", _OUTPUT))
                    else:
                        self.sources.append(_held_by(self.pid, index + 1, path))

    def open_stdin(self) -> int:
        """Makes the pipe of its standard input; returns the container's end, the caller's to close."""
        with self.changed:
            theirs, self.stdin = os.pipe2(os.O_CLOEXEC)
            # Ours alone: each end of a pipe has flags of its own.
            os.set_blocking(self.stdin, False)
        # A process of any user may open it again as /dev/stdin; nobody else can reach it.
        os.fchmod(theirs, 0o666)
        return theirs

    def close_stdin(self) -> None:
        """Closes our end of its standard input."""
        with self.changed:
            if self.stdin >= 0:
                os.close(self.stdin)
                self.stdin = -1

    def open_recorder(self) -> None:
        """Opens log and spools."""
        with self.changed:
            if self.recorder is None:
                self.recorder = Recorder(
                    self.folder,
                    self.config.get("log_max_size", DEFAULT_MAX_SIZE),
                    self.config.get("log_max_file", DEFAULT_MAX_FILE),
                    keep=self.config.get("log_driver") != "none",
                    journal=self.journal() if self.config.get("log_driver") == "journald" else None,
                )
                self.recorder.kept = self._kept

    def journal(self) -> Journal:
        """The line to journald, with Docker's fields."""
        from stackpy_runtime.container import journald  # few containers log there

        config = self.config
        tag = journald.tag(
            config.get("log_tag", ""),
            identity=self.id,
            name=self.name,
            image_id=self.container["image_id"],
            image=config["image"],
        )
        labels = config.get("labels", {})
        return journald.Journal(
            {
                "CONTAINER_ID": self.id[:12],
                "CONTAINER_ID_FULL": self.id,
                "CONTAINER_NAME": self.name,
                "CONTAINER_TAG": tag,
                "SYSLOG_IDENTIFIER": tag,
                "IMAGE_NAME": config["image"],
                **{journald.field(name): labels[name] for name in config.get("log_labels", []) if name in labels},
            }
        )

    def _kept(self, index: int) -> int:
        assert self.recorder
        if self.resumable and time.monotonic() < self.resumable:
            return 0
        return self._taken(index)

    def _taken(self, index: int) -> int:
        assert self.recorder
        return min((offsets[index] for offsets in self.readers.values()), default=self.recorder.spools[index].end)

    def keep_for_resuming(self, seconds: float) -> None:
        """Leaves the spools whole for a while: a client may come back who has not been sent all of them."""
        self.resumable = time.monotonic() + seconds

    def behind(self) -> int:
        """Bytes that the slowest attached client has yet to be sent."""
        with self.changed:
            if self.recorder is None:
                return 0
            return max(spool.end - self._taken(index) for index, spool in enumerate(self.recorder.spools))

    def pump(self, *, last: bool = False) -> bool:
        """Moves what has been written into spools and log.

        False when looking again at once is no use: a terminal is closed for good, the disk is full, or an attached
        client is so far behind that the container has to wait for it, as on a terminal.
        """
        with self.changed:
            if self.recorder is None:
                return False
            open_still, self.refused = True, False
            try:
                if self.terminal >= 0:
                    open_still = self._pump_terminal()
                else:
                    self.held = not last and self.behind() > MOST_BEHIND
                    for source, spool in zip(self.sources, self.recorder.spools, strict=False):
                        if not self.held:
                            # Bounded, or one that writes faster than it is read would keep the others waiting.
                            spool.take(source, (1 << 62) if last else MOST_AT_ONCE)
                    open_still = not self.held
                self.recorder.record(last=last)
            except OSError as error:
                # A full disk: the FIFO keeps what it has, the container waits, and the next pump tries again.
                if error.errno not in (28, 122):
                    raise
                open_still, self.refused = self.terminal >= 0, self.terminal < 0
            self.changed.notify_all()
            return open_still

    def note(self, data: bytes) -> None:
        """Adds to the log what a hook has written."""
        with self.changed:
            if self.recorder is None:
                return
            try:
                self.recorder.spools[0].append(data)
                self.recorder.record()
            except OSError:
                # A full disk: the spool has it in memory, and the next pump tries again.
                pass
            self.changed.notify_all()

    def _pump_terminal(self) -> bool:
        assert self.recorder
        self.recorder.spools[0].append(b"")
        while True:
            try:
                data = os.read(self.terminal, 65536)
            except BlockingIOError:
                return True
            except OSError:
                # EIO: nobody has the other side open any more.
                return False
            if not data:
                return False
            self.recorder.spools[0].append(data)

    def give_up_output(self) -> list[int]:
        """Removes the FIFOs after the last pump; returns our ends, or the terminal, the caller's to close."""
        with self.changed:
            ours = [*self.sources, *([self.terminal] if self.terminal >= 0 else [])]
            self.sources, self.terminal = [], -1
            for path in self.fifos:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    # A broken disk; the next start takes it as it is, the next supervisor removes it.
                    print(f"container {self.name}: `{path}` is left: {error.strerror}", file=sys.stderr)
            return ours

    def close_recorder(self) -> None:
        """Closes log and spools."""
        with self.changed:
            if self.recorder:
                self.recorder.close()
                self.recorder = None

    # --- state -------------------------------------------------------------------------------------------------------

    def keep(self, store: Store, **changes: Any) -> None:
        """Changes its state, in the index first: what a full disk refuses has not happened here either."""
        with self.changed:
            changed: Any = {**self.state, **changes}
            store.update_container(self.id, state=changed)
            self.state = changed
            self.changed.notify_all()

    # --- process -----------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> bool:
        """Sends a signal to PID 1; False when it is gone."""
        import signal

        with self.changed:
            if self.pidfd < 0:
                return False
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                return False
            return True

    def close_process(self) -> None:
        """Forgets the process that has ended."""
        with self.changed:
            if self.pidfd >= 0:
                os.close(self.pidfd)
            self.pidfd, self.pid, self.start = -1, 0, 0

    def await_begun(self) -> None:
        """Waits for a start that has told its process to begin: whoever looks at that process sees it run already."""
        self.wait_until(lambda: self.pid or not self.launching or self.hook, BEGUN_WITHIN)

    def wait_until(self, condition: Any, timeout: float | None = None) -> bool:
        """Waits until `condition()` holds; False after `timeout` seconds."""
        with self.changed:
            return bool(self.changed.wait_for(condition, timeout))
