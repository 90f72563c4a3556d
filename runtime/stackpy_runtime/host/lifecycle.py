"""Starts containers and sees them end."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from functools import partial

from stackpy_runtime.container import confinement, ending, plan, restart, state
from stackpy_runtime.container.execution import set_size
from stackpy_runtime.container.stopping import signal_name, signal_number
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import (
    Conflict,
    EngineError,
    InvalidConfig,
    NotFound,
    ProcessFailed,
)
from stackpy_runtime.host import checks, hooks
from stackpy_runtime.host.beginnings import Beginnings, code_of_execution
from stackpy_runtime.host.endings import Endings
from stackpy_runtime.host.events import of_container, of_networks, of_volumes
from stackpy_runtime.host.joiners import Joiners
from stackpy_runtime.host.live import Ended, Live
from stackpy_runtime.host.pausing import is_paused, resume
from stackpy_runtime.store import event_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.networking import Networking
    from stackpy_runtime.host.outputs import Outputs
    from stackpy_runtime.model import Asked, ContainerState, Event
    from stackpy_runtime.store.store import Store

KILL_WAIT = 10.0
PARTNER_WAIT = 0.5
FLUSH_PAUSE = 0.5  # seconds after the end of a container that is removed
TURNS = 4


class Lifecycle:
    """Everything between `created` and `exited`. Methods run in worker threads unless they say otherwise."""

    def __init__(
        self,
        store: Store,
        keeper: KeeperLink,
        networking: Networking,
        outputs: Outputs,
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.store, self.keeper, self.networking = store, keeper, networking
        self.outputs, self.later = outputs, later
        self.lives: dict[str, Live] = {}
        self.lock = threading.Lock()
        self.beginnings = Beginnings(store, keeper, networking)
        self.joiners = Joiners(keeper)
        self.on_running: Callable[[Live], None] = lambda live: None
        self.on_ended: Callable[[Live], None] = lambda live: None
        self.endings = Endings(store, keeper, outputs, later)
        # More at once would only take turns at the interpreter's lock. Ends have turns of their own: a start that fills
        # a large volume must not keep them waiting.
        self.turns = threading.Semaphore(TURNS)
        self.ends = threading.Semaphore(TURNS)
        self.signals: dict[str, int] = {}  # stop signals of images, whose IDs are those of what they say
        self.flusher: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._flush, daemon=True).start()

    def _flush(self) -> None:
        """Closes the root file systems of containers that have ended."""
        while True:
            os.close(self.flusher.get())

    # --- finding -----------------------------------------------------------------------------------------------------

    def live(self, reference: str) -> Live:
        """The container that a name, ID or ID prefix means."""
        with self.lock:
            known = self.lives.get(reference)
        if known is not None and known.container["image_id"]:
            return known  # by its whole ID, as plans do
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

    def heard_exit(self, kind: str, reference: str, pid: int, ended: Ended) -> None:
        """A process has ended. One of a start that has failed says nothing of the next start's."""
        if kind == "exec":
            code = code_of_execution(ended.code, ended.signal, executed=ended.executed)
            self.beginnings.heard_execution_exit(reference, code)
            return
        with self.lock:
            live = self.lives.get(reference)
        if live:
            with live.changed:
                if pid not in (live.pid, self.beginnings.current.get(reference)):
                    return
                live.ended = ended
                live.changed.notify_all()
            self.joiners.discard(live.id)
            threading.Thread(target=self.finish, args=(live,), daemon=True).start()

    # --- start -------------------------------------------------------------------------------------------------------

    def start(self, live: Live, size: tuple[int, int] | None = None, *, again: bool = False) -> None:
        """Starts a container; raises ProcessFailed with Docker's exit codes when its command cannot be executed.

        size: rows and columns of its terminal from the beginning
        again: its restart policy does
        """
        with live.verb:
            if live.removed:
                raise Conflict("it is being removed", subject=f"container {live.name}")
            self.settle(live)
            self._cancel_restart(live)
            if is_paused(live):
                raise Conflict(
                    "it is paused", subject=f"container {live.name}", hint=f"`stackpy unpause {live.name}` has it go on"
                )
            if live.pid:
                return
            with live.changed:
                live.launching, live.ended, live.interrupted = True, None, False
                self.beginnings.current.pop(live.id, None)
                live.state = {**live.state, "stopped": False, "error": ""}
                live.state.pop("asked", None)
                live.state.pop("halted", None)
                if not again:
                    live.state["restart_count"] = 0
            before = partial(hooks.before_start, self, live) if live.config.get("pre_start") else None
            try:
                for reference in confinement.shared_with(live.config).values():
                    self._await_partner(reference)
                with self.turns:
                    self.beginnings.launch(live, size, before)
                    self.outputs.watch(live)
                self._tell(
                    *of_networks(live, "connect", live.attached),
                    *of_volumes(live, "mount"),
                    of_container(live, "start"),
                )
            except BaseException as error:
                if isinstance(error, EngineError):
                    error.subject = error.subject or f"container {live.name}"
                # Where the keeper has died the next supervisor ends what has begun, and its client asks for it again.
                if not self.keeper.is_gone():
                    self._fail(live, error)
                raise
            finally:
                with live.changed:
                    live.launching = False
                    live.changed.notify_all()
        self.on_running(live)
        if live.config.get("post_start"):
            hooks.after_start(self, live)

    def settle(self, live: Live) -> None:
        """Waits until the end of a process that has ended, as everybody can see, has been taken into account."""
        if live.pid and not state.is_alive(live.pid, live.start, ""):
            live.wait_until(lambda: not live.pid, KILL_WAIT)

    def launch_step(self, live: Live, sandbox: plan.SandboxPlan, output: int, given: int = -1) -> None:
        """Starts a build step, whose output goes to its client's descriptor and into no log; it reads `given`."""
        with live.changed:
            live.launching = True
        try:
            self.beginnings.enter(live, sandbox, live.config, given, [output, output])
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
        if start := self.beginnings.forget(live.id):
            live.state = {**live.state, "pid_start": start}
        if live.pid:
            live.signal(signal.SIGKILL)
            live.close_process()
        code = error.exit_code if isinstance(error, ProcessFailed) else 125
        live.state = {
            **live.state,
            "status": "exited",
            "exit_code": code,
            "error": str(error),
            "ending": {
                "cause": "start",
                "text": getattr(error, "message", str(error)),
                "hint": getattr(error, "hint", ""),
            },
            "pid": 0,
            # Tried since the host was started, so that it is not tried again whenever our processes come back.
            "boot": self.beginnings.boot,
            "finished_at": timestamp(time.time()),
        }
        self._release(live)
        self.endings.record(live, live.state)
        self.endings.keep_crash(live, live.state)
        self._tell(of_container(live, "die", exitCode=str(code), error=str(error)))

    def _await_partner(self, reference: str) -> None:
        """Waits a moment for a container whose namespace is to be shared: both may have been asked for at once."""
        try:
            other = self.live(reference)
        except NotFound:
            # The start says so.
            return
        other.wait_until(lambda: other.pid and not other.launching, PARTNER_WAIT)

    # --- end ---------------------------------------------------------------------------------------------------------

    def finish(self, live: Live, *, adopted: bool = False) -> None:
        """Everything that follows from the end of a container's first process; `adopted`: nobody has seen it run."""
        live.wait_until(lambda: not live.launching)
        with live.changed:
            if live.ended is None or not (live.pid or adopted):
                # The end of a start that has failed: `_fail` has said how.
                return
            ended, live.ended = live.ended, None
            ran = time.monotonic() - live.born
        with self.ends:
            self._finish(live, ended, ran)
        self.on_ended(live)

    def _finish(self, live: Live, end: Ended, ran: float) -> None:
        try:
            live.pump(last=True)
        except OSError as error:
            # A broken disk takes the last output, but must not keep the end from being known.
            print(f"container {live.name}: its last output is lost: {error}", file=sys.stderr)
        why, memory = self.endings.explain(live, end, self.beginnings.boot)
        attached = live.attached
        try:
            self._release(live)
        except (EngineError, OSError) as error:
            # What is left goes with the next start or the next supervisor; that it has ended must be known now.
            print(f"container {live.name}: not all that it held could be given back: {error}", file=sys.stderr)
        again = not live.removed and restart.wanted(
            live.config.get("restart", "no"),
            end.code or 0,
            live.state["restart_count"],
            stopped=live.state.get("stopped", False) or live.state.get("halted", False),
            unhealthy=why["cause"] == "unhealthy" and live.config.get("on_unhealthy") == "restart",
        )
        ended: ContainerState = {
            **live.state,
            "status": "restarting" if again else "exited",
            "pid": 0,
            "exit_code": end.code,
            "oom_killed": memory.kills > 0,
            "error": why["text"] if end.code is None else "",
            "ending": why,
            "finished_at": timestamp(end.when),
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
            if live.container["image_id"]:
                # Before whoever waits for the end goes on, and may remove it.
                self._tell(
                    *([of_container(live, "oom")] if memory.kills else []),
                    of_container(live, "die", **_how(end.code, ran), reason=why["text"]),
                    *of_networks(live, "disconnect", attached),
                    *of_volumes(live, "unmount"),
                )
            live.changed.notify_all()
        if ending.is_crash(why, end.code):
            self.endings.keep_crash(live, ended)

    def _tell(self, *events: Event) -> None:
        event_log.record(self.store.root, *events)

    def _restart(self, live: Live) -> None:
        """Called in the loop's thread when a restart is due."""

        def again() -> None:
            with live.verb:
                if live.restart_timer is None or live.removed:
                    return
                live.state = {**live.state, "restart_count": live.state["restart_count"] + 1}
                try:
                    self.start(live, again=True)
                except EngineError as error:
                    if live.removed or live.restart_timer is not None or live.interrupted:
                        # A post_start hook that failed has ended it: that end has a timer of its own.
                        return
                    with live.changed:
                        live.pause = restart.pause(live.pause, 0.0)
                        live.state = {**live.state, "status": "restarting", "error": str(error)}
                        live.restart_timer = self.later(live.pause, lambda: self._restart(live))
                        live.changed.notify_all()
                        with contextlib.suppress(EngineError):
                            # A full disk: the next try says so itself, or how it ended.
                            self.store.update_container(live.id, state=live.state)

        threading.Thread(target=again, daemon=True).start()

    def _cancel_restart(self, live: Live) -> None:
        with live.changed:
            if live.restart_timer is not None:
                live.restart_timer.cancel()
                live.restart_timer = None

    def _release(self, live: Live) -> None:
        """Gives back what a running container holds of the host; what fails is tried again, and keeps nothing else."""
        self.endings.detach(live, self.networking.detach)
        self.endings.close_output(live)
        if live.root_mount >= 0:
            # The last reference: closing it unmounts, and overlayfs then syncs the whole file system below.
            # Of one that is removed in a while: its files are deleted meanwhile, which would wait for that.
            mount, live.root_mount = live.root_mount, -1
            if live.removed:
                self.later(FLUSH_PAUSE, lambda: self.flusher.put(mount))
            else:
                self.flusher.put(mount)
        if live.config.get("runtime"):
            from stackpy_runtime.host import external

            external.forget(self.store.root, live)
        group, live.group = live.group, None
        if group:
            self.endings.remove_group(group)
        if live.first_id:
            self.endings.release_range(live.first_id, live.sharer)
        live.first_id = live.sharer = 0
        if live.config.get("ipc") == "shareable":
            from stackpy_runtime.host import confining

            confining.unmount(confining.shared_memory(self.store, live.id))

    # --- stop --------------------------------------------------------------------------------------------------------

    def stop(self, live: Live, timeout: float | None = None, asked: Asked | None = None, number: int = 0) -> str:
        """Stops a container: its stop signal, and SIGKILL after `timeout` seconds; returns how it went, for people.

        timeout: negative is for ever; number: of another signal than the container's own
        """
        if live.launching or live.hook:
            hooks.interrupt(self, live)
        with live.verb:
            asked = asked or {"verb": "stop"}
            with live.changed:
                if not live.pid:
                    status = live.state["status"]
                    live.keep(self.store, stopped=True, status="exited" if status == "restarting" else status)
                    self._cancel_restart(live)
                    return "it was not running"
                if live.removed and live.config.get("restart", "no") == "no":
                    # Nothing would start it again, should we be killed before its row is gone.
                    live.state = {**live.state, "stopped": True, "asked": asked}
                else:
                    live.keep(self.store, stopped=True, asked=asked)
            self.networking.serving.leave(live)
            return self._end(live, timeout, asked, number)

    def halt(self, live: Live, asked: Asked) -> None:
        """Ends a container until the engine is started again, which is no user's stop."""
        if live.launching or live.hook:
            hooks.interrupt(self, live)
        with live.verb:
            with live.changed:
                if not live.pid:
                    if live.state["status"] == "restarting":
                        live.keep(self.store, status="exited", halted=True)
                        self._cancel_restart(live)
                    return
                live.state = {**live.state, "asked": asked, "halted": True}
                with contextlib.suppress(EngineError):
                    # A full disk keeps nothing alive that is to end; its end is written when there is room.
                    self.store.update_container(live.id, state=live.state)
            self._end(live, None, asked)

    def unhealthy(self, live: Live, pid: int, text: str) -> None:
        """Ends a container whose health check fails, for its `on_unhealthy`; `pid`: of the run that was checked."""
        self.end(live, {"verb": "health", "how": text}, pid, stopped=live.config.get("on_unhealthy") == "stop")

    def end(self, live: Live, asked: Asked, pid: int, *, stopped: bool = False) -> None:
        """Ends one run of a container for a reason of our own; what follows is up to its restart policy.

        stopped: as if a user had stopped it, so that nothing follows
        """
        with live.verb:
            with live.changed:
                if live.pid != pid or live.removed:
                    return
                live.state = {**live.state, "asked": asked, "stopped": stopped or live.state.get("stopped", False)}
                with contextlib.suppress(EngineError):
                    # A full disk keeps nothing alive that is to end; its end is written when there is room.
                    self.store.update_container(live.id, state=live.state)
            self._end(live, None, asked)

    def _end(self, live: Live, timeout: float | None, asked: Asked, number: int = 0) -> str:
        """Ends the first process of a container that runs, and waits until it has."""
        from stackpy_runtime.container.stopping import can_take, remedy

        pid = live.pid
        grace = live.config.get("stop_grace_period", 10.0) if timeout is None else timeout
        if live.config.get("pre_stop"):
            resume(self.store, live)
        if grace and live.config.get("pre_stop") and (problem := hooks.before_stop(self, live, grace)):
            live.note(f"{problem}\n".encode())
        wanted = number or self.stop_signal(live)
        how = f"stopped by {signal_name(wanted)}"
        unusual: Asked = {**asked}
        if wanted != signal.SIGKILL and grace and can_take(pid, wanted):
            self.signal(live, wanted)
            if live.wait_until(lambda: live.pid != pid, grace if grace > 0 else None):
                self._tell(of_container(live, "stop"))
                return how
            how = f"killed: it did not end within {grace:g} s of {signal_name(wanted)}"
            unusual["how"] = how
        elif wanted != signal.SIGKILL and grace:
            how = f"killed at once: its first process has no handler for {signal_name(wanted)}"
            unusual["how"], unusual["hint"] = how, remedy(pid, wanted)
        with live.changed:
            if live.pid == pid:
                if asked["verb"] not in ("health", "hook"):
                    live.state = {**live.state, "asked": {**unusual, "signal": "SIGKILL"}}
                self.signal(live, signal.SIGKILL)
        if live.removed:
            self.networking.give_up(live)
        if not live.wait_until(lambda: live.pid != pid, KILL_WAIT):
            if live.group:
                live.group.kill()
            if not live.wait_until(lambda: live.pid != pid, KILL_WAIT):
                raise EngineError("it does not end even by SIGKILL", subject=f"container {live.name}")
        self._tell(of_container(live, "stop"))
        return f"{how}; to have it end by itself: {unusual['hint']}" if "hint" in unusual else how

    def signal(self, live: Live, number: int) -> None:
        """Sends a signal to a container's first process, which goes on for it where it was paused."""
        live.signal(number)
        self._tell(of_container(live, "kill", signal=str(number)))
        resume(self.store, live, firmly=True)

    def stop_signal(self, live: Live) -> int:
        """The container's stop signal: its own, the image's, or SIGTERM."""
        if name := live.config.get("stop_signal"):
            return signal_number(name)
        image = live.container["image_id"]
        if image not in self.signals:
            try:
                self.signals[image] = signal_number(self.store.image_config(image).get("StopSignal", "TERM"))
            except InvalidConfig:
                # An image's mistake must not make a container that cannot be stopped.
                self.signals[image] = signal.SIGTERM
        return self.signals[image]

    def resize(self, live: Live, rows: int, columns: int) -> None:
        """Sets the size of a container's terminal."""
        with live.changed:
            if live.terminal >= 0:
                set_size(live.terminal, rows, columns)


def _how(code: int | None, ran: float) -> dict[str, str]:
    """The attributes of a container's end. ran: seconds"""
    return {**({} if code is None else {"exitCode": str(code)}), "execDuration": str(int(ran))}
