"""The verbs on containers that clients ask for, over Lifecycle."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from functools import partial

from stackpy_runtime import labels, volume
from stackpy_runtime.container import log_reading, restart, state
from stackpy_runtime.container.stopping import signal_name, signal_number
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound, ProcessFailed
from stackpy_runtime.host import captured, changing, checks, creation, hooks, requests
from stackpy_runtime.host.events import of_changed_networks, of_container
from stackpy_runtime.host.lifecycle import KILL_WAIT
from stackpy_runtime.host.live import RESUMING, Live
from stackpy_runtime.host.pausing import is_paused
from stackpy_runtime.host.probes import Watch
from stackpy_runtime.store import event_log, trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.container.cgroups import Group
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.model import Asked, ContainerConfig, Health

TAIL_OF_FAILURE = 20
RUBBISH_TRIES, RUBBISH_PAUSE = 5, 0.2  # seconds between two tries to remove what is left of a container


class Containers:
    """Create, remove, update, wait; start and stop are Lifecycle's."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle, self.store = lifecycle, lifecycle.store
        self.rubbish: queue.Queue[tuple[str, Callable[[], None]]] = queue.Queue()
        threading.Thread(target=self._remove_rubbish, daemon=True).start()
        lifecycle.on_running = self.begin_watch
        lifecycle.on_ended = self.ended

    def create(self, config: ContainerConfig, identity: str = "") -> Live:
        """Makes a container. identity: its ID, which whoever asks has chosen"""
        container = creation.create(self.store, config, identity)
        live = Live(self.store.root.path, container, checks.of_container(self.store, container))
        with self.lifecycle.lock:
            self.lifecycle.lives[live.id] = live
        event_log.record(self.store.root, of_container(live, "create"))
        return live

    def up(self, config: ContainerConfig, identity: str = "") -> Live:
        """Makes and starts one; a start that fails leaves it `exited`, to be looked at."""
        live = self.create(config, identity)
        self.lifecycle.start(live)
        return live

    def restart(self, live: Live, timeout: float | None, by: str = "", number: int = 0) -> str:
        """Stops and starts; arguments and answer as of Lifecycle.stop."""
        if live.launching or live.hook:
            hooks.interrupt(self.lifecycle, live)
        with live.verb:
            # Its end is none for which it would be removed.
            awaited, live.awaited = live.awaited, True
            try:
                how = self.lifecycle.stop(live, timeout, {"verb": "restart", "by": by}, number)
                self.lifecycle.start(live)
            finally:
                live.awaited = awaited
        event_log.record(self.store.root, of_container(live, "restart"))
        return how

    def kill(self, live: Live, number: int, by: str = "", verb: str = "kill") -> None:
        """Sends a signal; one that ends the container is a user's stop, and SIGKILL returns when it has ended.

        by: the user who does; verb: by which command
        """
        asked: Asked = {"verb": verb, "by": by, "signal": signal_name(number), "at": time.time()}
        live.await_begun()
        with live.changed:
            if not live.pid:
                raise Conflict("it is not running", subject=f"container {live.name}")
            pid = live.pid
            if number == signal.SIGKILL:
                live.keep(self.store, asked=asked, stopped=True)
            else:
                live.state = {**live.state, "asked": asked}
        configured = live.config.get("stop_signal")
        if is_paused(live) and number != signal.SIGKILL and configured and number != signal_number(configured):
            # Docker's rule: only what may end it has a paused container go on.
            live.signal(number)
            event_log.record(self.store.root, of_container(live, "kill", signal=str(number)))
            return
        self.lifecycle.signal(live, number)
        if number == signal.SIGKILL:
            # As docker's: whoever looks next, a plan for one, sees that it has ended.
            live.wait_until(lambda: live.pid != pid, KILL_WAIT)

    def remove(self, live: Live, *, force: bool, volumes: bool, grace: float | None = 0, by: str = "") -> None:
        """Removes a container and what is its own.

        force: ends it before; grace: seconds that it then has from its stop signal to its end, None for its own
        by: the user who does
        """
        if not force:
            self.lifecycle.settle(live)
        if (live.pid or live.state["status"] == "restarting") and not force:
            raise Conflict(
                "it is paused" if is_paused(live) else "it is running",
                subject=f"container {live.name}",
                hint=f"`stackpy stop {live.name}` first, or `stackpy rm --force {live.name}`",
            )
        live.removed = True
        if live.launching or live.hook:
            hooks.interrupt(self.lifecycle, live)
        own = self._anonymous(live) if volumes else []
        with live.verb:
            try:
                if live.pid or live.state["status"] == "restarting":
                    self.lifecycle.stop(live, grace, {"verb": "rm", "by": by})
                if own:
                    # Killed from here on, the next supervisor finishes it.
                    live.keep(self.store, removing=True)
                    for name in own:
                        self._attempt(name, partial(volume.remove, self.store, name, of=live.name))
                self._delete(live)
            except BaseException as error:
                if not live.state.get("removing"):
                    live.removed = False
                    raise
                # Its volumes have gone, so it can never start again.
                self.rubbish.put((f"container {live.name}", lambda: self._delete(live)))
                if isinstance(error, EngineError):
                    error.hint = "its volumes are removed already; the rest follows by itself as soon as it can"
                raise

    def _delete(self, live: Live) -> None:
        """Takes a container that does not run out of the index, and then off the disk."""
        with live.verb:
            if live.id not in self.lifecycle.lives:
                return  # done meanwhile
            self.store.delete_container(live.id)
            with self.lifecycle.lock:
                self.lifecycle.lives.pop(live.id, None)
            with live.changed:
                live.state = {**live.state, "status": "exited"}
                live.changed.notify_all()
            event_log.record(self.store.root, of_container(live, "destroy"))
            for path in live.fifos:
                # Where its end could not remove them.
                with contextlib.suppress(OSError):
                    os.unlink(path)
            self._throw_away(live.folder)

    def finish_removals(self) -> None:
        """Removes what a supervisor before this one was killed while it removed."""
        for live in list(self.lifecycle.lives.values()):
            if live.state.get("removing"):
                try:
                    self.remove(live, force=True, volumes=True)
                except (EngineError, OSError) as error:
                    # A full disk must not keep the engine from starting; `remove` has seen to the next try.
                    print(f"container {live.name} could not be removed: {error}", file=sys.stderr)

    def _throw_away(self, folder: str) -> None:
        """Takes a container's folder out of sight at once, and off the disk in its own time."""
        aside = f"{self.store.root.staging}/{os.urandom(8).hex()}"
        try:
            os.rename(folder, aside)
        except FileNotFoundError:
            return
        except OSError:
            aside = folder
        self.rubbish.put((aside, lambda: trees.remove(aside)))

    def _attempt(self, name: str, remove: Callable[[], None]) -> None:
        """Removes a volume now, or in a while where that fails."""
        try:
            remove()
        except (Conflict, NotFound):
            # Another container has mounted it by name since: then it is no longer this one's.
            pass
        except (EngineError, OSError):
            self.rubbish.put((f"volume {name}", remove))

    def _remove_rubbish(self) -> None:
        while True:
            what, remove = self.rubbish.get()
            # Killed on the way, the collection at the next start finds the rest.
            try:
                for attempt in range(RUBBISH_TRIES):
                    try:
                        remove()
                        break
                    except (Conflict, NotFound):
                        break
                    except (EngineError, OSError) as error:
                        if attempt == RUBBISH_TRIES - 1:
                            print(f"{what} of a removed container is left for the next start: {error}", file=sys.stderr)
                        time.sleep(RUBBISH_PAUSE)
            finally:
                self.rubbish.task_done()

    def _anonymous(self, live: Live) -> list[str]:
        """The names of the volumes that were made for a container alone."""
        if not any(mount["type"] == "volume" for mount in live.config.get("mounts", [])):
            return []
        return [known["name"] for known in self.store.volumes() if known["labels"].get(labels.ANONYMOUS) == live.id]

    def update(self, live: Live, changes: dict[str, Any]) -> None:
        """Changes a container that runs, or does not, as far as it needs no new one for it."""
        with live.verb:
            merged: dict[str, Any] = {**live.config}
            for key, value in changes.items():
                if value is None:
                    merged.pop(key, None)
                else:
                    merged[key] = value
            config: ContainerConfig = merged  # type: ignore[assignment]
            creation.check(config, self.store.image(live.container["image_id"]))
            restart.check(config.get("restart", "no"))
            if live.pid:
                for field in requests.AT_START:
                    if config.get(field) != live.config.get(field):
                        raise Conflict(
                            f"`{field}` is set when it starts, and it is running",
                            subject=f"container {live.name}",
                            hint=f"stackpy stop {live.name}",
                        )
            if live.pid and live.group:
                # What stands by for the next `exec` is in its group too, and would count.
                self.lifecycle.joiners.discard(live.id)
                self._limit(live, live.group, config)
            attached = live.attached
            try:
                changing.before(self.lifecycle.networking, live, config)
                self.store.update_container(live.id, config=config)
            except BaseException:
                if live.pid and live.group:
                    with contextlib.suppress(EngineError):
                        live.group.limit(live.config, config)
                raise
            with live.changed:
                probe = checks.of_container(self.store, {**live.container, "config": config})
                checked_anew = probe != live.probe
                if checked_anew:
                    live.probe = probe  # an equal one stays the same object: the watch goes by that
                live.config = live.container["config"] = config
                live.changed.notify_all()
            changing.after(self.lifecycle.networking, live)
            if live.pid and checked_anew:
                self._watch_anew(live)
        event_log.record(self.store.root, of_container(live, "update"), *of_changed_networks(live, attached))

    def _limit(self, live: Live, group: Group, config: ContainerConfig) -> None:
        """Sets the limits of a container that runs; where one is refused all are as they were."""
        memory = config.get("mem_limit") or 0
        if memory and group.layout.version == 2 and "memswap_limit" not in config:
            # There the kernel would kill at once what is above a new limit; version 1 refuses it.
            used = group.anonymous_memory()
            if used > memory:
                raise InvalidConfig(
                    f"its processes use {used} bytes of memory, more than a limit of {memory}",
                    hint="stop some of them, or choose a higher limit",
                )
        try:
            group.limit(config, live.config)
        except EngineError:
            with contextlib.suppress(EngineError):
                group.limit(live.config, config)
            raise

    def rename(self, live: Live, name: str, given: dict[str, str] | None = None) -> None:
        """Gives a container another name, and other labels where they are given."""
        if not creation.NAME.fullmatch(name):
            raise InvalidConfig(f"`{name}` is not a container name")
        with live.verb:
            old = live.name
            if name == old:
                raise InvalidConfig("that is its name already", subject=f"container {old}")
            config: ContainerConfig = {**live.config, "name": name}
            if given is not None:
                config["labels"] = given
            self.store.update_container(live.id, name=name, config=config)
            with live.changed:
                live.config = live.container["config"] = config
                live.name = live.container["name"] = name
            self.lifecycle.networking.rename(live)
        event_log.record(self.store.root, of_container(live, "rename", oldName=f"/{old}"))

    def wait(self, live: Live, condition: str = "not-running") -> int:
        """Waits as Docker's conditions say; returns the exit code: 125 when nobody knows it, 0 where it never ran.

        condition: not-running, next-exit (also of one that has ended), or removed
        """
        self.settle(live)
        before = live.state["finished_at"]

        def over() -> bool:
            if condition == "removed":
                return live.removed and live.id not in self.lifecycle.lives
            if condition == "next-exit":
                return live.removed or live.state["finished_at"] not in ("", before)
            return live.removed or live.state["status"] in ("exited", "created")

        if condition not in ("not-running", "next-exit", "removed"):
            raise InvalidConfig(f"`{condition}` is nothing to wait for", hint="not-running, next-exit or removed")
        live.wait_until(over)
        code = live.state["exit_code"]
        if code is None and live.state["status"] == "created":
            return 0
        return 125 if code is None else code

    def settle(self, live: Live) -> None:
        """Takes into account an end that the supervisor has not seen itself."""
        if not live.pid and not live.launching and live.state["status"] in ("running", "paused"):
            live.state = state.live(live.state, live.folder)

    def await_state(self, live: Live, condition: str, timeout: float | None) -> None:
        """Returns when the condition holds; ProcessFailed when it cannot hold any more, EngineError on time-out."""

        def met() -> bool:
            now = live.state
            if condition == "completed":
                return now["status"] == "exited" and now["exit_code"] == 0
            if condition == "healthy" and live.probe is not None:
                return now["status"] == "running" and now["health"] == "healthy"
            # Paused counts as not running: `depends_on` waits until it goes on.
            return now["status"] == "running"

        def lost() -> bool:
            now = live.state
            if live.removed or now["status"] == "exited":
                return True
            return condition == "healthy" and now["health"] == "unhealthy"

        self.settle(live)
        if not live.wait_until(lambda: met() or lost(), timeout):
            raise EngineError(
                f"it is not {condition} after {timeout:g} s",
                subject=f"container {live.name}",
                hint=f"stackpy logs {live.name}",
            )
        if met():
            return
        now = live.state
        code = now["exit_code"] if now["exit_code"] is not None else 125
        lines = log_reading.last_lines(live.folder, TAIL_OF_FAILURE)
        output = "".join(line["text"] for line in lines)
        if now["health"] == "unhealthy":
            message = f"it is unhealthy: {now['error'] or 'its health check fails'}"
        elif now["error"]:
            message = now["error"]
        else:
            message = f"it exited with {code}"
            if (why := now.get("ending")) and why["cause"] != "exit":
                message += f": {why['text']}"
        raise ProcessFailed(message, exit_code=code, output=output, subject=f"container {live.name}")

    # --- health and ends ---------------------------------------------------------------------------------------------

    def begin_watch(self, live: Live) -> None:
        """Starts the health checks of a container that runs."""
        if live.probe is not None:
            watch = Watch(
                live,
                live.probe,
                lambda who, argv, timeout: captured.probe(self.lifecycle, who, argv, timeout),
                self._health_changed,
            )
            threading.Thread(target=watch.loop, daemon=True).start()

    def _watch_anew(self, live: Live) -> None:
        """Goes by another health check from now on; the watch of the former one has ended, or is about to."""
        with live.changed:
            health: Health = "starting" if live.probe is not None else ""
            live.state = {**live.state, "health": health, "error": ""}
            self.store.update_container(live.id, state=live.state)
            live.changed.notify_all()
        self.begin_watch(live)

    def _health_changed(self, live: Live, health: Health, text: str) -> None:
        with live.changed:
            if not live.pid:
                return
            live.state = {**live.state, "health": health, "error": "" if health == "healthy" else text}
            live.changed.notify_all()
            pid = live.pid
        self.lifecycle.networking.serving.mark(live, ready=health == "healthy")
        self.lifecycle.endings.note(live)
        event_log.record(self.store.root, of_container(live, f"health_status: {health}"))
        if health == "unhealthy" and live.config.get("on_unhealthy", "none") != "none":
            # Not in the thread that checks: it waits for the end that this brings about.
            threading.Thread(target=self.lifecycle.unhealthy, args=(live, pid, text), daemon=True).start()

    def ended(self, live: Live) -> None:
        """Removes a container that was to be removed at its end, once nobody can come back for how it ended."""
        if not live.config.get("auto_remove") or live.state["status"] != "exited" or live.removed:
            return
        if live.awaited:
            live.unfinished.add("removal")
            self.lifecycle.later(RESUMING, lambda: threading.Thread(target=self._let_go, args=(live,)).start())
        else:
            self._let_go(live)

    def _let_go(self, live: Live) -> None:
        live.unfinished.discard("removal")
        if live.removed or live.pid or live.launching or live.state["status"] != "exited":
            return  # started again meanwhile
        try:
            self.remove(live, force=True, volumes=True)
        except NotFound:
            # A user has removed it in this moment.
            pass


def now() -> str:
    """The time, as the store keeps it."""
    return timestamp(time.time())
