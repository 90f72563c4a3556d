"""How a container begins: its sandbox as a plan, handed to a process that stands by.

The keeper announces what it has forked (`heard_…`, called in the loop's thread); everything else runs in worker
threads.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import threading
import time

from stackpy_runtime.container import cgroups, confinement, masks, plan, ranges, seccomp
from stackpy_runtime.container.execution import set_size
from stackpy_runtime.container.stopping import signal_name
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import EngineUnavailable, from_wire
from stackpy_runtime.host.handing_over import hand_over
from stackpy_runtime.host.skeleton import lowers
from stackpy_runtime.host.spares import Spares
from stackpy_runtime.host.wire import close_all
from stackpy_runtime.linux.proc import boot_id, executes, start_time
from stackpy_runtime.store import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.errors import EngineError
    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.host.networking import Networking
    from stackpy_runtime.model import ContainerConfig, Limits
    from stackpy_runtime.store.store import Store

WORD_OF_END = 5.0  # seconds in which the keeper tells of an end that the kernel has told of
NEVER_EXECUTED = -3  # in place of an exit code: it was killed before it had executed its program
NEVER_BEGAN = -1  # in place of an exit code: the process to start in was gone before it could say why (keeper.py)


def code_of_execution(code: int | None, number: int, *, executed: bool) -> int | None:
    """What stands for the end of a process of exec: its exit code, or that it was killed before it had a program."""
    return code if executed or not number else NEVER_EXECUTED


def _kill(pidfd: int) -> None:
    """Kills a process and closes its pidfd; -1 is one that had ended when it was announced."""
    if pidfd < 0:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.close(pidfd)


class Beginnings:
    """Starts processes in sandboxes."""

    def __init__(self, store: Store, keeper: KeeperLink, networking: Networking) -> None:
        self.store, self.keeper, self.networking = store, keeper, networking
        self.started: dict[str, tuple[int, int, int]] = {}  # reference → PID, start, pidfd, as the keeper announced
        self.current: dict[str, int] = {}  # reference → PID of the process that its start now goes on with
        self.attempts: dict[str, str] = {}  # reference → token of the process that stood by, with which it goes on
        self.announced = threading.Condition()
        self.executions: dict[str, int | None] = {}  # exec reference → exit code once it has ended
        self.adopted: dict[str, str] = {}  # what clients of an earlier supervisor know an execution by → its reference
        self.boot = boot_id()
        self.spares = Spares(store.root.path, keeper)

    def heard_started(self, reference: str, pid: int, start: int, pidfd: int) -> None:
        """A second stage runs as `pid`."""
        with self.announced:
            self.started[reference] = (pid, start, pidfd)
            self.current[reference] = pid
            self.announced.notify_all()

    def heard_failed(self, reference: str, token: str = "") -> None:
        """A first stage has ended without a second. token: of the one that stood by; "" for one that did not

        What is said late of one in whose place another is, or of a start before, is not the end of this one.
        """
        with self.announced:
            if token and self.attempts.get(reference, token) != token:
                return
            if reference in self.executions:
                self.executions[reference] = NEVER_BEGAN
            self.current[reference] = NEVER_BEGAN
            self.announced.notify_all()

    def heard_execution_exit(self, reference: str, code: int | None) -> None:
        """A process of exec has ended. code: as `code_of_execution` gives it"""
        with self.announced:
            # One that nobody waits for any more, or that another supervisor has started, is nobody's.
            if reference in self.executions:
                self.executions[reference] = code
                self.announced.notify_all()

    def attempt(self, reference: str, token: str) -> None:
        """From now on a start goes on with this process that stood by."""
        with self.announced:
            self.attempts[reference] = token
            self.current.pop(reference, None)

    def take_started(self, reference: str, timeout: float = 30.0) -> tuple[int, int, int]:
        """What the keeper announced for a reference."""
        with self.announced:
            self._await(reference, timeout)
            self.attempts.pop(reference, None)
            return self.started.pop(reference)

    def _await(self, reference: str, timeout: float) -> None:
        """Waits until a process is announced; raises EngineUnavailable when none will be."""

        def known() -> bool:
            return reference in self.started or self.current.get(reference) == NEVER_BEGAN

        self.announced.wait_for(known, timeout)
        if reference not in self.started:
            raise EngineUnavailable("the process to start in has ended before there was a container")

    def await_started(self, reference: str, timeout: float = 30.0) -> tuple[int, int]:
        """PID and start of a process that is about to be announced, or is; it stays there to be taken."""
        with self.announced:
            self._await(reference, timeout)
            return self.started[reference][:2]

    def forget(self, reference: str) -> int:
        """Kills a process that was announced and that nobody has taken up, if there is one; when it was started."""
        with self.announced:
            self.current.pop(reference, None)
            self.attempts.pop(reference, None)
            _, start, pidfd = self.started.pop(reference, (0, 0, -1))
        if pidfd >= 0:
            _kill(pidfd)
        return start

    def leave(self, reference: str) -> None:
        """Lets go of what was announced of a process that a supervisor before us has started."""
        with self.announced:
            pidfd = self.started.pop(reference, (0, 0, -1))[2]
        if pidfd >= 0:
            os.close(pidfd)

    def launch(self, live: Live, size: tuple[int, int] | None = None, before: Callable[[], None] | None = None) -> None:
        """Starts a container in a process that stands by; raises what the process says it failed at.

        size: rows and columns of its terminal
        before: what is done when the sandbox stands and its program is not executed yet
        """
        config = live.config
        image = self.store.image(live.container["image_id"])
        hostname = config.get("hostname") or live.id[:12]
        plain = confinement.is_plain(config)
        if not plain or config.get("network_mode") == "host":
            from stackpy_runtime.host import confining

            hostname = confining.hostname_of(self.store, config, live.id)
        for name in ("process", "exit"):
            try:
                os.unlink(f"{live.folder}/{name}")
            except FileNotFoundError:
                pass
        if config.get("auto_remove"):
            # Where it was started before: overlayfs takes no upper folder whose mount before was not flushed to disk.
            trees.remove(f"{live.folder}/work/work/incompat")
        own = config.get("network_mode") != "host"
        volumes = {
            mount["source"]: self.store.volume(mount["source"])["mountpoint"]
            for mount in config.get("mounts", [])
            if mount["type"] == "volume"
        }
        mounts = plan.mounts(config, volumes)
        etc = self.networking.write_etc(live, hostname)
        process = plan.process(config, image["config"], hostname, self.filter_of(config))
        if config.get("learn"):
            process["learn"] = True
        sandbox: plan.SandboxPlan = {
            "name": live.name,
            "lowers": lowers(self.store.root, live, image["layers"], mounts),
            "writable": live.folder,
            "hostname": hostname,
            "network": "own" if own else "host",
            "read_only": config.get("read_only", False),
            "volatile": config.get("auto_remove", False),
            "mounts": mounts,
            "files": [
                {"source": f"{live.folder}/files/{index}", "target": file["target"], "mode": file["mode"]}
                for index, file in enumerate(config.get("files", []))
            ],
            "secrets": [
                {"source": f"{self.store.root.secrets}/{secret['secret']}", "target": secret["target"]}
                for secret in config.get("secrets", [])
            ],
            "etc": etc,
            "cgroup_view": {},
            "masked": masks.masked_paths(),
            "locked": list(masks.READ_ONLY_PATHS),
            "scratch": f"{self.store.root.run}/mnt",
            "process": process,
        }
        for key in ("domainname", "shm_size", "init"):
            if key in config:
                sandbox[key] = config[key]
        if not plain:
            confining.arrange(self.store, live, sandbox)
        if config.get("runtime"):
            from stackpy_runtime.host import external

            external.arrange(self.store.root, live, sandbox)
        live.open_recorder()
        stdin = -1
        streams: list[int] = []
        try:
            if config.get("tty"):
                null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
                streams = [null, os.dup(null)]
            else:
                streams = live.open_output()
                self.keeper.hold(f"io/{live.id}", streams)
                if config.get("stdin_open"):
                    stdin = live.open_stdin()
                    self.keeper.hold(f"stdin/{live.id}", [live.stdin])
            self.enter(live, sandbox, config, stdin, streams, size, before)
        finally:
            close_all([*streams, *([stdin] if stdin >= 0 else [])])
        self.take_up(live)

    def take_up(self, live: Live) -> None:
        """Takes up the process that the keeper has announced."""
        pid, start, pidfd = self.take_started(live.id)
        try:
            # The keeper, out of descriptors, could not read it.
            start = start or start_time(pid, ended=True)
            if pidfd < 0 and start:
                pidfd = os.pidfd_open(pid)
            if not start:
                raise EngineUnavailable("its process cannot be told from others: /proc cannot be read")
            if not live.config.get("runtime"):
                # Another runtime's word that it has begun may come before it has.
                self._check_executed(live, pid, start)
            if live.sharer:
                ranges.share(live.first_id, pid)
                ranges.leave(live.first_id, live.sharer)
                live.sharer = pid
            elif live.first_id:
                ranges.bind(live.first_id, pid)
        except BaseException:
            # Its program runs by now, and nobody else knows of it.
            _kill(pidfd)
            live.state = {**live.state, "pid_start": start}
            raise
        with live.changed:
            live.pid, live.start, live.pidfd = pid, start, pidfd
            live.state = {
                **live.state,
                "status": "running",
                "pid": pid,
                "pid_start": start,
                "boot": self.boot,
                "group": live.group.name.rpartition("/")[2] if live.group else "",
                "exit_code": None,
                "oom_killed": False,
                "started_at": timestamp(live.begun),
                "finished_at": "",
                "health": "starting" if live.probe is not None else "",
            }
            if live.ended is None and live.container["image_id"]:
                self.store.update_container(live.id, state=live.state)
            live.changed.notify_all()

    def _check_executed(self, live: Live, pid: int, start: int) -> None:
        """Raises where a process was killed between the word to go on and execve: its line has ended all the same."""
        if executes(pid, start):
            return
        # Ended: the keeper has looked before it collected it, and its word is on the way or here.
        live.wait_until(lambda: live.ended is not None, WORD_OF_END)
        if live.ended is not None and not live.ended.executed:
            by = signal_name(live.ended.signal)
            raise self._ended_early(live, f"was killed by {by} before it had executed the program")

    def _ended_early(self, live: Live, how: str) -> EngineError:
        """The error of a start whose process ended before there was a program. how: after “the process to start in”"""
        why, hint = "", ""
        if live.group is not None and live.group.oom_kills():
            limit = live.config.get("mem_limit") or 0
            why, hint = ": out of memory", "raise mem_limit" if limit else ""
        return EngineUnavailable(f"the process to start in {how}{why}", subject=f"container {live.name}", hint=hint)

    def filter(self, capabilities: frozenset[str], profile: str = "") -> str:
        """The file with the compiled seccomp program for a set of capabilities, and a profile of the user's (JSON)."""
        return seccomp.written(self.store.root.run, capabilities, profile)

    def filter_of(self, config: ContainerConfig, capabilities: frozenset[str] | None = None) -> str:
        """The same for a container, or one of its processes that holds `capabilities`; "" where nothing is filtered."""
        wanted, profile = confinement.filtered(config)
        if not wanted:
            return ""
        return self.filter(confinement.capabilities(config) if capabilities is None else capabilities, profile)

    def enter(
        self,
        live: Live,
        sandbox: plan.SandboxPlan,
        bounds: Limits,
        stdin: int,
        streams: list[int],
        size: tuple[int, int] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Gives the plan to a process that stands by, and does our part when it says how far it is."""
        for last in (False, False, True):
            spare = self.spares.take(live.config.get("cgroup_parent", ""))
            live.group, live.first_id = spare.group, spare.first_id
            try:
                live.group.limit(bounds)
            except BaseException:
                # Its group goes with the container's; these nobody else would close.
                spare.release_network()
                spare.channel.close()
                raise
            sandbox["cgroup_view"] = {"": ""} if live.group.layout.version == 2 else cgroups.shown(live.group.paths())
            if not confinement.is_plain(live.config):
                self._confine(live, sandbox)
            self.attempt(live.id, spare.token)
            self.keeper.assign(spare.token, live.id)
            if hand_over(
                spare.channel, {"plan": sandbox, "stdin": stdin >= 0}, [*([stdin] if stdin >= 0 else []), *streams]
            ):
                break
            # It has ended meanwhile: its last word says why, but another may do better.
            if not last:
                spare.discard()
        with spare.channel as ours:
            try:
                if sandbox["network"] == "own" and "spaces" not in sandbox and "handed_to" not in sandbox:
                    # While the root is put together.
                    self.networking.attach(live, spare.network)
            finally:
                spare.release_network()
            ready = False
            while True:
                try:
                    data, ancillary, _, _ = ours.recvmsg(1 << 16, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
                except ConnectionResetError:
                    raise self._ended_early(live, "has ended") from None
                if not data and not ready:
                    raise self._ended_early(live, "has ended before it could execute the program")
                if not data:
                    return
                message, descriptors = json.loads(data), array.array("i")
                for _, _, raw in ancillary:
                    descriptors.frombytes(raw)
                if "error" in message:
                    error = from_wire(message["error"])
                    error.subject = error.subject or f"container {live.name}"
                    raise error
                if message["at"] == "network":
                    # A network namespace that did not stand by.
                    try:
                        self.networking.attach(live, descriptors[0])
                    finally:
                        os.close(descriptors[0])
                elif message["at"] == "root":
                    live.root_mount = descriptors[0]
                elif message["at"] == "terminal":
                    with live.changed:
                        live.terminal = descriptors[0]
                    os.set_blocking(live.terminal, False)
                    if size:
                        set_size(live.terminal, *size)
                    self.keeper.hold(f"io/{live.id}", [live.terminal])
                elif message["at"] == "ready":
                    ready = True
                    if wanted := live.config.get("sysctls"):
                        self._set_sysctls(live, wanted)
                    if before:
                        before()
                    self.networking.publish(live)
                    # What ends at once has ended when we look next.
                    live.born, live.begun = time.monotonic(), time.time()
                    ours.send(b"g")
                    if live.config.get("learn"):
                        self._learn(live)

    def _announced(self, live: Live) -> tuple[int, int]:
        """PID and pidfd of a process that is not taken up yet; (0, -1) when the keeper says nothing of it."""
        with self.announced:
            self.announced.wait_for(lambda: live.id in self.started, 30.0)
            pid, _, pidfd = self.started.get(live.id, (0, 0, -1))
        return pid, pidfd

    def _learn(self, live: Live) -> None:
        from stackpy_runtime.host import learning

        pid, pidfd = self._announced(live)
        if pidfd >= 0:
            learning.begin(live, pid, pidfd)

    def _set_sysctls(self, live: Live, wanted: dict[str, str]) -> None:
        """Once its networks are there, since some of the settings are those of their interfaces."""
        from stackpy_runtime.container import sysctls

        _, pidfd = self._announced(live)
        if pidfd >= 0:
            sysctls.write(wanted, pidfd, live.first_id)

    def _confine(self, live: Live, sandbox: plan.SandboxPlan) -> None:
        from stackpy_runtime.host import confining

        if "first_id" in sandbox:
            # The range that stood by is not needed.
            ranges.release(live.first_id)
            live.first_id = sandbox["first_id"]
            if live.first_id:
                # Before it is seen whether the other is still there: from now on the range is nobody else's.
                live.sharer = os.getpid()
                ranges.share(live.first_id, live.sharer)
        confining.permit(live, sandbox)
