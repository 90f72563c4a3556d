"""Starts containers and sees them end."""

from __future__ import annotations

import array
import fcntl
import json
import os
import queue
import signal
import socket
import struct
import termios
import threading
import time

from stackpy_runtime.container import cgroups, plan, ranges, restart, seccomp, security, state
from stackpy_runtime.container.stopping import signal_name, signal_number
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import (
    Conflict,
    EngineError,
    EngineUnavailable,
    InvalidConfig,
    ProcessFailed,
    from_wire,
)
from stackpy_runtime.host import checks
from stackpy_runtime.host.endings import Endings
from stackpy_runtime.host.live import Live
from stackpy_runtime.host.skeleton import lowers
from stackpy_runtime.host.spares import Spares
from stackpy_runtime.linux.proc import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.networking import Networking
    from stackpy_runtime.host.spares import Spare
    from stackpy_runtime.model import ContainerState
    from stackpy_runtime.store.store import Store

KILL_WAIT = 10.0
NEVER_BEGAN = -1  # in place of an exit code: the process to start in was gone before it could say why
TURNS = 4


def limits(config: Any) -> cgroups.Limits:
    """A configuration's limits for its control group."""
    return cgroups.Limits(config.get("mem_limit") or 0, float(config.get("cpus") or 0.0), config.get("pids_limit") or 0)


class Lifecycle:
    """Everything between `created` and `exited`. Methods run in worker threads unless they say otherwise."""

    def __init__(
        self,
        store: Store,
        keeper: KeeperLink,
        networking: Networking,
        watch: Callable[[Live], None],
        unwatch: Callable[[Live], None],
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.store, self.keeper, self.networking = store, keeper, networking
        self.watch, self.unwatch, self.later = watch, unwatch, later
        self.lives: dict[str, Live] = {}
        self.lock = threading.Lock()
        self.started: dict[str, tuple[int, int, int]] = {}  # reference → PID, start, pidfd, as the keeper announced
        self.announced = threading.Condition()
        self.executions: dict[str, int | None] = {}  # exec reference → exit code once it has ended
        self.on_running: Callable[[Live], None] = lambda live: None
        self.on_ended: Callable[[Live], None] = lambda live: None
        self.boot = boot_id()
        self.endings = Endings(store, keeper, later)
        # More at once would only take turns at the interpreter's lock. Ends have turns of their own: a start that fills
        # a large volume must not keep them waiting.
        self.turns = threading.Semaphore(TURNS)
        self.ends = threading.Semaphore(TURNS)
        self.flusher: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._flush, daemon=True).start()
        self.spares = Spares(store.root.path, keeper)

    def _flush(self) -> None:
        """Closes the root file systems of containers that have ended."""
        while True:
            os.close(self.flusher.get())

    # --- finding -----------------------------------------------------------------------------------------------------

    def live(self, reference: str) -> Live:
        """The container that a name, ID or ID prefix means."""
        container = self.store.container(reference)
        with self.lock:
            known = self.lives.get(container["id"])
            if known is None:
                probe = checks.of_container(self.store, container)
                known = self.lives[container["id"]] = Live(self.store.root.path, container, probe)
            return known

    def running(self) -> list[Live]:
        """Containers with a process, that are about to have one, or whose end is not finished."""
        with self.lock:
            return [
                live
                for live in self.lives.values()
                if live.launching or live.pid or live.restart_timer or live.unfinished
            ]

    # --- the keeper's word, called in the loop's thread ---------------------------------------------------------------

    def heard_started(self, reference: str, pid: int, start: int, pidfd: int) -> None:
        """A second stage runs as `pid`."""
        with self.announced:
            self.started[reference] = (pid, start, pidfd)
            self.announced.notify_all()

    def heard_failed(self, reference: str) -> None:
        """A first stage has ended without a second."""
        with self.announced:
            if reference in self.executions:
                self.executions[reference] = NEVER_BEGAN
            self.announced.notify_all()

    def heard_exit(self, kind: str, reference: str, code: int | None, when: float) -> None:
        """A process has ended."""
        if kind == "exec":
            with self.announced:
                self.executions[reference] = code
                self.announced.notify_all()
            return
        with self.lock:
            live = self.lives.get(reference)
        if live:
            with live.changed:
                live.ended = (code, when)
            self.unwatch(live)
            threading.Thread(target=self.finish, args=(live,), daemon=True).start()

    def take_started(self, reference: str, timeout: float = 30.0) -> tuple[int, int, int]:
        """What the keeper announced for a reference."""
        with self.announced:
            if not self.announced.wait_for(lambda: reference in self.started, timeout):
                raise EngineUnavailable("the keeper did not announce the process", subject=reference[:12])
            return self.started.pop(reference)

    # --- start -------------------------------------------------------------------------------------------------------

    def start(self, live: Live, stdin: int = -1) -> None:
        """Starts a container; raises ProcessFailed with Docker's exit codes when its command cannot be executed."""
        with live.verb:
            if live.removed:
                raise Conflict("it is being removed", subject=f"container {live.name}")
            self._cancel_restart(live)
            if live.pid:
                return
            with live.changed:
                live.launching, live.ended = True, None
                live.state = {**live.state, "stopped": False, "error": ""}
            try:
                with self.turns:
                    self._launch(live, stdin)
            except BaseException as error:
                self._fail(live, error)
                raise
            finally:
                with live.changed:
                    live.launching = False
                    live.changed.notify_all()
        self.on_running(live)

    def _launch(self, live: Live, stdin: int) -> None:
        config = live.config
        image = self.store.image(live.container["image_id"])
        hostname = config.get("hostname") or live.id[:12]
        for name in ("process", "exit"):
            try:
                os.unlink(f"{live.folder}/{name}")
            except FileNotFoundError:
                pass
        own = config.get("network_mode") != "host"
        capabilities = security.capabilities(config.get("cap_add", []), config.get("cap_drop", []))
        volumes = {
            mount["source"]: self.store.volume(mount["source"])["mountpoint"]
            for mount in config.get("mounts", [])
            if mount["type"] == "volume"
        }
        mounts = plan.mounts(config, volumes)
        etc = self.networking.write_etc(live, hostname)
        process = plan.process(config, image["config"], hostname, self.filter(capabilities))
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
            "masked": list(security.MASKED_PATHS),
            "locked": list(security.READ_ONLY_PATHS),
            "scratch": f"{self.store.root.run}/mnt",
            "process": process,
        }
        live.open_recorder()
        tty = config.get("tty", False)
        null = -1
        streams: list[int] = []
        try:
            if tty:
                null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
                streams = [null, os.dup(null)]
            else:
                streams = live.open_output()
                self.keeper.hold(f"io/{live.id}", streams)
            self._watch_channel(live, sandbox, limits(config), -1 if tty else stdin, streams)
        finally:
            for descriptor in streams:
                os.close(descriptor)
        self._has_started(live)
        self.watch(live)

    def launch_step(self, live: Live, sandbox: plan.SandboxPlan, output: int, given: int = -1) -> None:
        """Starts a build step, whose output goes to its client's descriptor and into no log; it reads `given`."""
        with live.changed:
            live.launching = True
        try:
            self._watch_channel(live, sandbox, cgroups.Limits(), given, [output, output])
            self._has_started(live)
        except BaseException:
            self._release(live)
            raise
        finally:
            with live.changed:
                live.launching = False
                live.changed.notify_all()

    def _has_started(self, live: Live) -> None:
        """Takes up the process that the keeper has announced."""
        pid, start, pidfd = self.take_started(live.id)
        ranges.bind(live.first_id, pid)
        now = time.time()
        with live.changed:
            live.pid, live.start, live.pidfd, live.born = pid, start, pidfd, time.monotonic()
            live.state = {
                **live.state,
                "status": "running",
                "pid": pid,
                "pid_start": start,
                "boot": self.boot,
                "exit_code": None,
                "oom_killed": False,
                "started_at": timestamp(now),
                "finished_at": "",
                "health": "starting" if live.probe is not None else "",
            }
            if live.ended is None and live.container["image_id"]:
                self.store.update_container(live.id, state=live.state)
            live.changed.notify_all()

    def filter(self, capabilities: frozenset[str]) -> str:
        """The file with the compiled seccomp program for a set of capabilities."""
        return seccomp.written(self.store.root.run, capabilities)

    def _watch_channel(
        self, live: Live, sandbox: plan.SandboxPlan, bounds: cgroups.Limits, stdin: int, streams: list[int]
    ) -> None:
        """Gives the plan to a process that stands by, and does our part when it says how far it is."""
        for last in (False, False, True):
            spare = self.spares.take()
            live.group, live.first_id = spare.group, spare.first_id
            live.group.limit(bounds, fresh=True)
            sandbox["cgroup_view"] = {"": ""} if live.group.layout.version == 2 else live.group.paths()
            self.keeper.assign(spare.token, live.id)
            if self._hand_over(
                spare, {"plan": sandbox, "stdin": stdin >= 0}, [*([stdin] if stdin >= 0 else []), *streams]
            ):
                break
            # It has ended meanwhile: its last word says why, but another may do better.
            if not last:
                spare.discard()
        with spare.channel as ours:
            try:
                if sandbox["network"] == "own":
                    # While the root is put together.
                    self.networking.attach(live, spare.network)
            finally:
                spare.release_network()
            while True:
                try:
                    data, ancillary, _, _ = ours.recvmsg(1 << 16, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
                except ConnectionResetError:
                    raise EngineUnavailable(
                        "the process to start in has ended", subject=f"container {live.name}"
                    ) from None
                if not data:
                    return
                message, descriptors = json.loads(data), array.array("i")
                for _, _, raw in ancillary:
                    descriptors.frombytes(raw)
                if "error" in message:
                    error = from_wire(message["error"])
                    error.subject = error.subject or f"container {live.name}"
                    raise error
                if message["at"] == "root":
                    live.root_mount = descriptors[0]
                elif message["at"] == "terminal":
                    with live.changed:
                        live.terminal = descriptors[0]
                    os.set_blocking(live.terminal, False)
                    self.keeper.hold(f"io/{live.id}", [live.terminal])
                elif message["at"] == "ready":
                    self.networking.publish(live)
                    ours.send(b"g")

    def _hand_over(self, spare: Spare, document: dict[str, Any], descriptors: list[int]) -> bool:
        """Sends a document through a memory file, since a message has no room for it; False when nobody is there."""
        memory = os.memfd_create("plan", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(json.dumps(document).encode())
            socket.send_fds(spare.channel, [b"p"], [memory, *descriptors])
        except (BrokenPipeError, ConnectionResetError):
            return False
        finally:
            os.close(memory)
        return True

    def _fail(self, live: Live, error: BaseException) -> None:
        """A start that did not come to execve: what it has made goes, and the state says why."""
        with self.announced:
            _, _, pidfd = self.started.pop(live.id, (0, 0, -1))
        if pidfd >= 0:
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.close(pidfd)
        code = error.exit_code if isinstance(error, ProcessFailed) else 125
        live.state = {
            **live.state,
            "status": "exited",
            "exit_code": code,
            "error": str(error),
            "pid": 0,
            "finished_at": timestamp(time.time()),
        }
        self._release(live)
        self.endings.record(live, live.state)

    # --- end ---------------------------------------------------------------------------------------------------------

    def finish(self, live: Live, *, adopted: bool = False) -> None:
        """Everything that follows from the end of a container's first process; `adopted`: nobody has seen it run."""
        live.wait_until(lambda: not live.launching)
        with live.changed:
            if live.ended is None or not (live.pid or adopted):
                # The end of a start that has failed: `_fail` has said how.
                return
            code, when = live.ended
            live.ended = None
            ran = time.monotonic() - live.born
        with self.ends:
            self._finish(live, code, when, ran)
        self.on_ended(live)

    def _finish(self, live: Live, code: int | None, when: float, ran: float) -> None:
        live.pump(last=True)
        killed = live.group is not None and live.group.oom_kills() > 0
        self._release(live)
        policy, stopped = live.config.get("restart", "no"), live.state.get("stopped", False)
        again = restart.wanted(policy, code or 0, live.state["restart_count"], stopped=stopped) and not live.removed
        ended: ContainerState = {
            **live.state,
            "status": "restarting" if again else "exited",
            "pid": 0,
            "exit_code": code,
            "oom_killed": killed,
            "error": state.UNKNOWN_END if code is None else "",
            "finished_at": timestamp(when),
            "health": "",
        }
        with live.changed:
            live.state = ended
            live.close_process()
            if not live.removed and live.container["image_id"]:
                self.endings.record(live, ended)
            live.pause = restart.pause(live.pause, ran) if again else 0.0
            if again:
                live.restart_timer = self.later(live.pause, lambda: self._restart(live))
            live.changed.notify_all()

    def _restart(self, live: Live) -> None:
        """Called in the loop's thread when a restart is due."""

        def again() -> None:
            with live.verb:
                if live.restart_timer is None or live.removed:
                    return
                live.state = {**live.state, "restart_count": live.state["restart_count"] + 1}
                try:
                    self.start(live)
                except EngineError as error:
                    if live.removed:
                        return
                    with live.changed:
                        live.pause = restart.pause(live.pause, 0.0)
                        live.state = {**live.state, "status": "restarting", "error": str(error)}
                        live.restart_timer = self.later(live.pause, lambda: self._restart(live))
                        self.store.update_container(live.id, state=live.state)
                        live.changed.notify_all()

        threading.Thread(target=again, daemon=True).start()

    def _cancel_restart(self, live: Live) -> None:
        with live.changed:
            if live.restart_timer is not None:
                live.restart_timer.cancel()
                live.restart_timer = None

    def _release(self, live: Live) -> None:
        """Gives back what a running container holds of the host."""
        self.networking.detach(live)
        self.endings.close_output(live)
        if live.root_mount >= 0:
            # The last reference: closing it unmounts, and overlayfs then syncs the whole file system below.
            self.flusher.put(live.root_mount)
            live.root_mount = -1
        group, live.group = live.group, None
        if group:
            self.endings.remove_group(group)
        if live.first_id:
            ranges.release(live.first_id)
            live.first_id = 0

    # --- stop --------------------------------------------------------------------------------------------------------

    def stop(self, live: Live, timeout: float | None = None, number: int | None = None) -> str:
        """Stops a container: its stop signal, and SIGKILL after `timeout` seconds; returns how it went, for people."""
        from stackpy_runtime.container.stopping import can_take

        with live.verb:
            self._cancel_restart(live)
            with live.changed:
                live.state = {**live.state, "stopped": True}
                if not live.pid:
                    if live.state["status"] == "restarting":
                        live.state = {**live.state, "status": "exited"}
                    self.store.update_container(live.id, state=live.state)
                    live.changed.notify_all()
                    return "it was not running"
                pid = live.pid
                self.store.update_container(live.id, state=live.state)
            grace = live.config.get("stop_grace_period", 10.0) if timeout is None else timeout
            wanted = number or self.stop_signal(live)
            how = f"stopped by {signal_name(wanted)}"
            if wanted != signal.SIGKILL and grace > 0 and can_take(pid, wanted):
                live.signal(wanted)
                if live.wait_until(lambda: not live.pid, grace):
                    return how
                how = f"killed: it did not end within {grace:g} s of {signal_name(wanted)}"
            elif wanted != signal.SIGKILL and grace > 0:
                how = f"killed at once: its first process ignores {signal_name(wanted)}"
            live.signal(signal.SIGKILL)
            if not live.wait_until(lambda: not live.pid, KILL_WAIT):
                if live.group:
                    live.group.kill()
                if not live.wait_until(lambda: not live.pid, KILL_WAIT):
                    raise EngineError("it does not end even by SIGKILL", subject=f"container {live.name}")
            return how

    def stop_signal(self, live: Live) -> int:
        """The container's stop signal: its own, the image's, or SIGTERM."""
        if name := live.config.get("stop_signal"):
            return signal_number(name)
        try:
            return signal_number(self.store.image(live.container["image_id"])["config"].get("StopSignal", "TERM"))
        except InvalidConfig:
            # An image's mistake must not make a container that cannot be stopped.
            return signal.SIGTERM

    def resize(self, live: Live, rows: int, columns: int) -> None:
        """Sets the size of a container's terminal."""
        with live.changed:
            if live.terminal >= 0:
                fcntl.ioctl(live.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
