"""Starts containers and sees them end."""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import struct
import termios
import threading
import time

from stackpy_runtime.container import cgroups, plan, ranges, restart, state
from stackpy_runtime.container.stopping import signal_name, signal_number
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import (
    Conflict,
    EngineError,
    InvalidConfig,
    ProcessFailed,
)
from stackpy_runtime.host import checks
from stackpy_runtime.host.beginnings import Beginnings
from stackpy_runtime.host.endings import Endings
from stackpy_runtime.host.live import Live

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.networking import Networking
    from stackpy_runtime.model import ContainerState
    from stackpy_runtime.store.store import Store

KILL_WAIT = 10.0
TURNS = 4


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
        self.beginnings = Beginnings(store, keeper, networking)
        self.on_running: Callable[[Live], None] = lambda live: None
        self.on_ended: Callable[[Live], None] = lambda live: None
        self.endings = Endings(store, keeper, later)
        # More at once would only take turns at the interpreter's lock. Ends have turns of their own: a start that fills
        # a large volume must not keep them waiting.
        self.turns = threading.Semaphore(TURNS)
        self.ends = threading.Semaphore(TURNS)
        self.flusher: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._flush, daemon=True).start()

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

    def heard_exit(self, kind: str, reference: str, code: int | None, when: float) -> None:
        """A process has ended."""
        if kind == "exec":
            self.beginnings.heard_execution_exit(reference, code)
            return
        with self.lock:
            live = self.lives.get(reference)
        if live:
            with live.changed:
                live.ended = (code, when)
            self.unwatch(live)
            threading.Thread(target=self.finish, args=(live,), daemon=True).start()

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
                    self.beginnings.launch(live, stdin)
                    self.watch(live)
            except BaseException as error:
                self._fail(live, error)
                raise
            finally:
                with live.changed:
                    live.launching = False
                    live.changed.notify_all()
        self.on_running(live)

    def launch_step(self, live: Live, sandbox: plan.SandboxPlan, output: int, given: int = -1) -> None:
        """Starts a build step, whose output goes to its client's descriptor and into no log; it reads `given`."""
        with live.changed:
            live.launching = True
        try:
            self.beginnings.enter(live, sandbox, cgroups.Limits(), given, [output, output])
            self.beginnings.take_up(live)
        except BaseException:
            self._release(live)
            raise
        finally:
            with live.changed:
                live.launching = False
                live.changed.notify_all()

    def _fail(self, live: Live, error: BaseException) -> None:
        """A start that did not come to execve: what it has made goes, and the state says why."""
        pidfd = self.beginnings.forget(live.id)
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
