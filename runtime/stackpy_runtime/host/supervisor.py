"""The supervisor: answers clients, reads output, checks health, restarts, resolves names.

Its loop is asyncio's, for the DNS server and for timers; verbs run in threads. Killed at any moment, it comes back (the
keeper starts it again), takes its descriptors back from the keeper and finds its containers by the store and /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time

from stackpy_runtime.container import cgroups, confinement, ranges, restart, state
from stackpy_runtime.container.timestamps import unix
from stackpy_runtime.errors import EngineError
from stackpy_runtime.host import checks, creation, execs, launch, pausing, secret_values
from stackpy_runtime.host.containers import Containers
from stackpy_runtime.host.keeper_link import KeeperLink, hung_up
from stackpy_runtime.host.lifecycle import Lifecycle
from stackpy_runtime.host.live import RESUMING, Ended, Live
from stackpy_runtime.host.networking import Networking
from stackpy_runtime.host.outputs import Outputs
from stackpy_runtime.host.service import Service, note_failure
from stackpy_runtime.host.wire import Connection, close_all
from stackpy_runtime.linux import nftables, processes
from stackpy_runtime.linux.title import set_title
from stackpy_runtime.network.dns import DnsServer
from stackpy_runtime.store import mounted
from stackpy_runtime.store.garbage import collect
from stackpy_runtime.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LISTENER, LINE = 3, 4
# Seconds with nothing to keep and nobody to serve after which our processes leave.
IDLE = 5.0
# The same after a client has said that it is done with this root for now (`destroy` does).
IDLE_TIDIED = 1.0
# Seconds in which a keeper that has retired notes how a child of it has ended.
NOTED_WITHIN = 1.0
TICK = 0.5
# Between two collections, while containers keep us from leaving: each start has one of its own.
COLLECTION = 3600.0
REFUSING = 1.0
# Seconds in which a process that was told to execute its program by the supervisor before us has, or has ended.
BEGUN_WITHIN = 10.0


class Supervisor:
    """Puts the parts together and runs the loop."""

    def __init__(self, root: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = Store(root, create=True)
        self.keeper = KeeperLink(LINE, self.heard)
        self.clients: set[int] = set()
        self.networking = Networking(self.store, self.keeper, self.serve_dns)
        self.networking.stop_dns = self.stop_dns
        self.lifecycle = Lifecycle(self.store, self.keeper, self.networking, Outputs(self.loop), self.later)
        self.containers = Containers(self.lifecycle)
        self.service = Service(self.lifecycle, self.containers, self.networking)
        self.dns = DnsServer(self.networking.names.lookup, self.networking.names.reverse)
        self.idle_since = self.collected = time.monotonic()
        self.rules_guarded = False

    # --- the loop's thread, from other threads ------------------------------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None]) -> Any:
        """Runs `action` in the loop's thread after a while; the answer has `cancel`, safe from any thread."""
        return Timer(self.loop, seconds, action)

    def serve_dns(self, container: str, datagrams: Any, stream: Any, servers: list[str]) -> None:
        """Answers a container's DNS questions from now on."""
        self.loop.call_soon_threadsafe(self.dns.serve, container, datagrams, stream, servers)

    def stop_dns(self, container: str) -> None:
        """Stops answering them."""
        self.loop.call_soon_threadsafe(self.dns.stop, container)

    # --- the keeper ---------------------------------------------------------------------------------------------------

    def heard(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """An event of the keeper."""
        event = message["event"]
        if event == "started":
            pidfd = descriptors[0] if descriptors else -1
            self.lifecycle.beginnings.heard_started(message["ref"], message["pid"], message["start"], pidfd)
            return
        close_all(descriptors)
        if event == "failed":
            self.lifecycle.beginnings.heard_failed(message["ref"], message.get("token", ""))
        elif event == "exited":
            ended = Ended(message["code"], message["time"], message["signal"], message["executed"])
            self.lifecycle.heard_exit(message["kind"], message["ref"], message["pid"], ended)

    def _serve_keeper(self) -> None:
        if not self.keeper.serve():
            # The keeper has died. Containers run on; a new pair of processes adopts them. A terminal whose other side
            # nobody has hangs up, and a FIFO that nobody has open forgets what is in it.
            lives = list(self.lifecycle.lives.values())
            held = {f"io/{live.id}": live.terminal for live in lives if live.terminal >= 0}
            held |= {f"stdin/{live.id}": live.stdin for live in lives if live.stdin >= 0}
            held |= {f"io/{live.id}#{index}": fifo for live in lives for index, fifo in enumerate(live.sources)}
            launch.start(self.store.root.path, LISTENER, held)
            os._exit(1)

    # --- clients ------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        listener = socket.socket(fileno=LISTENER)
        try:
            while True:
                try:
                    accepted, _ = listener.accept()
                except BlockingIOError:
                    return
                # The listener does not block, so that a client that went away in between holds up nobody.
                accepted.setblocking(True)
                descriptor = accepted.detach()
                self.clients.add(descriptor)
                threading.Thread(target=self._serve_client, args=(descriptor,), daemon=True).start()
        finally:
            listener.detach()

    def _serve_client(self, descriptor: int) -> None:
        try:
            self.service.serve(descriptor)
        finally:
            self.clients.discard(descriptor)
            self.idle_since = time.monotonic()

    # --- coming up and leaving ----------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Finds what goes on from before: containers that run, ended unseen, or wait to be started again."""
        held, children = self.keeper.inventory()
        ours = {child["ref"] for child in children if child["kind"] == "container" and child["pid"]}
        known = {}
        boot = self.lifecycle.beginnings.boot
        for container in self.store.containers():
            if container["state"].get("boot") != boot:
                creation.restore(self.store, container)  # the power may have been cut
            live = Live(self.store.root.path, container, checks.of_container(self.store, container))
            known[live.id] = live
            self.lifecycle.lives[live.id] = live
        for child in children:
            if child["ref"] not in known and child["ref"] in ours:
                # A build step of the supervisor before us: its client has lost it.
                processes_kill(child["pid"])
        execs.adopt(self.lifecycle, children)
        runs, ended, sleeping = [], [], []
        for live in known.values():
            self.lifecycle.beginnings.leave(live.id)
            _await_beginning(live)
            stored, live.state = live.state, state.live(live.state, live.folder)
            if live.state["status"] in ("running", "paused"):
                runs.append(live)
            elif stored["status"] in ("running", "paused", "restarting") or live.state is not stored:
                ended.append(live)
            elif stored["status"] == "exited" and (stored.get("boot", boot) != boot or stored.get("halted")):
                policy, stopped = live.config.get("restart", "no"), stored.get("stopped", False)
                if restart.after_reboot(policy, stopped=stopped):
                    sleeping.append(live)
            if live.config.get("auto_remove"):
                live.awaited = True
                if live.state["status"] == "exited" and live not in ended:
                    self.containers.ended(live)
        for live in runs:
            self._adopt_running(live, held, live.id in ours)
        for live in ended:
            # It tells whether memory was short, until the end is taken into account.
            if name := live.state.get("group"):
                parent = cgroups.parent_name(self.store.root.path, live.config.get("cgroup_parent", ""))
                live.group = cgroups.Group(parent, name)
        above = {live.config.get("cgroup_parent", "") for live in known.values()} - {""}
        kept = {live.group.name for live in (*runs, *ended) if live.group}
        cgroups.sweep(self.store.root.path, kept, tuple(above))
        published = [entry for live in runs if (entry := self.networking.publication(live))]
        ports = [name.removeprefix("port/") for name in held if name.startswith("port/")]
        # Even without a network: it finishes a removal that was cut short.
        for problem in self.networking.manager.restore(published, ports, {live.id for live in runs if live.pid}):
            print(problem, file=sys.stderr)
        self._sweep_fifos({live.id for live in (*runs, *ended)} | ours)
        served = {f"dns/{live.id}" for live in runs}
        for name in held:
            if name.startswith("dns/") and name not in served:
                # Of a start that did not come to be: they alone would keep its network namespace, and the link.
                self.keeper.release(name)
        for live in ended:
            self._adopt_ended(live)
        for live in sleeping:
            threading.Thread(target=self._wake, args=(live,), daemon=True).start()
        for name, descriptors in held.items():
            kind, _, owner = name.partition("/")
            if kind == "exec":
                execs.keep_terminal(self.keeper, owner, descriptors[0])
            elif name not in served:
                close_all(descriptors)

    def _sweep_fifos(self, kept: set[str]) -> None:
        """Removes FIFOs that were made for a start that did not come to be; kept: whose are not."""
        folder = f"{self.store.root.path}/run/io"
        for name in os.listdir(folder):
            if name.partition(".")[0] not in kept:
                with contextlib.suppress(OSError):
                    os.unlink(f"{folder}/{name}")

    def _adopt_streams(self, live: Live, output: list[int], stdin: list[int]) -> None:
        """Takes up what the keeper has held of a container's streams."""
        with live.changed:
            live.open_recorder()
            live.keep_for_resuming(RESUMING)
            if live.config.get("tty"):
                if output:
                    live.terminal = os.dup(output[0])
                    os.set_blocking(live.terminal, False)
                return
            live.recover_output(output)
            if stdin:
                live.stdin = os.dup(stdin[0])
                os.set_blocking(live.stdin, False)
                if live.config.get("stdin_once"):
                    # The client that it would have ended with may have gone while nobody was here.
                    self.later(RESUMING, lambda: self._end_unattended(live))

    def _end_unattended(self, live: Live) -> None:
        with live.changed:
            attended = bool(live.readers)
        if not attended:
            self.lifecycle.endings.close_stdin(live)

    def _adopt_running(self, live: Live, held: dict[str, list[int]], is_child: bool) -> None:
        pid = live.state["pid"]
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            live.ended = Ended(None, time.time())
            self._adopt_ended(live)
            return
        with live.changed:
            live.pid, live.start, live.pidfd = pid, live.state.get("pid_start", 0), pidfd
            live.born = _began(live.start)
            live.group = cgroups.of_process(self.store.root.path, pid)
            if live.group is not None:
                live.group.complete()
            pausing.restored(live)
        self._adopt_streams(live, held.get(f"io/{live.id}", []), held.get(f"stdin/{live.id}", []))
        live.first_id = ranges.of_process(pid)
        if live.first_id and confinement.shared_with(live.config):
            live.sharer = pid
            ranges.leave(live.first_id, pid)
            ranges.share(live.first_id, pid)
        elif live.first_id:
            # The one before may have been killed before it noted whose the range is.
            ranges.bind(live.first_id, pid, again=True)
        try:
            self.store.update_container(live.id, state=live.state)
        except EngineError as error:
            # A full disk is no reason to leave a container alone; the index says enough to find it again.
            print(error, file=sys.stderr)
        try:
            self.networking.adopt(live, held.get(f"dns/{live.id}", []))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended in this moment, or nobody has collected its end: that is heard of next
        self.lifecycle.outputs.watch(live)
        if not is_child:
            self.loop.add_reader(pidfd, self._orphan_ended, live, pidfd, pid)
        self.containers.begin_watch(live)

    def _orphan_ended(self, live: Live, pidfd: int, pid: int) -> None:
        """A container of a keeper that is no more has ended: the kernel may still know how."""
        self.loop.remove_reader(pidfd)
        status = processes.exit_status(pidfd, pid)
        threading.Thread(target=self._orphan, args=(live, pid, status), daemon=True).start()

    def _orphan(self, live: Live, pid: int, status: int | None) -> None:
        """Takes the end of a container into account whose parent may be a keeper that has made room for another."""
        end = time.monotonic() + NOTED_WITHIN
        document = state.read_document(f"{live.folder}/exit")
        while status is None and document.get("pid") != pid and time.monotonic() < end:
            time.sleep(0.02)
            document = state.read_document(f"{live.folder}/exit")
        if document.get("pid") == pid:
            ended = Ended(document["code"], document["time"], document.get("signal", 0))
            self.loop.call_soon_threadsafe(self.lifecycle.heard_exit, "container", live.id, pid, ended)
            return
        code = None if status is None else os.waitstatus_to_exitcode(status)
        number = -code if code is not None and code < 0 else 0
        ended = Ended(128 + number if number else code, time.time(), number)
        self.loop.call_soon_threadsafe(self.lifecycle.heard_exit, "container", live.id, pid, ended)

    def _adopt_ended(self, live: Live) -> None:
        """Finishes what nobody was there to finish, and starts again what its policy says."""
        document = state.read_document(f"{live.folder}/exit")
        code = live.state["exit_code"] if live.state["exit_code"] is not None else document.get("code")
        live.open_recorder()
        try:
            live.reopen_output()
        except FileNotFoundError:
            # Its FIFOs are gone: the host has been restarted, or its end was half done.
            pass
        live.ended = Ended(code, document.get("time", time.time()), document.get("signal", 0))
        if live.state["started_at"]:
            # By the clock on the wall, for want of another that has gone on: it may have been set since.
            live.born = time.monotonic() - max(0.0, live.ended.when - unix(live.state["started_at"]))
        threading.Thread(target=self.lifecycle.finish, args=(live,), kwargs={"adopted": True}, daemon=True).start()

    def _wake(self, live: Live) -> None:
        """Starts a container that had ended before the host was restarted."""
        try:
            self.lifecycle.start(live)
        except EngineError as error:
            print(f"container {live.name} could not be started with the host: {error}", file=sys.stderr)

    def _tick(self) -> None:
        """Leaves when there is nothing to keep."""
        self._guard_rules()
        self.networking.leaving.sweep()
        if time.monotonic() - self.collected > COLLECTION:
            self.collected = time.monotonic()
            threading.Thread(target=self._collect, daemon=True).start()
        mounted.sweep()
        busy = self.service.busy or self.containers.rubbish.unfinished_tasks
        quiet = not self.clients and not self.lifecycle.running() and not busy
        if not quiet:
            self.idle_since = time.monotonic()
            self.lifecycle.beginnings.spares.rest()
            self.lifecycle.joiners.rest()
        elif time.monotonic() - self.idle_since > (IDLE_TIDIED if self.service.tidied else IDLE):
            self.lifecycle.beginnings.spares.close()
            self.networking.tidy()
            cgroups.remove_parent(cgroups.parent_name(self.store.root.path))
            self.keeper.send({"op": "quit"})
            os._exit(0)
        self.loop.call_later(TICK, self._tick)

    def _collect(self) -> None:
        """Removes what nothing refers to any more, and what crashes of others have left."""
        try:
            collect(self.store)
        except EngineError as error:
            print(f"what nothing needs could not be removed: {error}", file=sys.stderr)

    def _guard_rules(self) -> None:
        """Where others may flush our rules (before Linux 6.9) they are written again; known once there are some."""
        if self.rules_guarded or not self.store.networks():
            return
        self.rules_guarded = True
        rules = self.networking.manager.changes()
        if rules is not None:
            self.loop.add_reader(rules, self._mend_rules, rules)

    def _mend_rules(self, rules: socket.socket) -> None:
        try:
            self.networking.manager.mend(rules)
        except EngineError as error:
            print(f"the packet filter could not be mended: {error}", file=sys.stderr)

    def run(self) -> None:
        """Until there is nothing left to do."""
        asyncio.set_event_loop(self.loop)
        self.adopt()
        secret_values.sweep(self.store)
        self.containers.finish_removals()
        collect(self.store, alone=True)
        os.set_blocking(LISTENER, False)
        self.loop.add_reader(LINE, self._serve_keeper)
        self.loop.add_reader(LISTENER, self._accept)
        self.loop.call_later(TICK, self._tick)
        self.loop.run_forever()


def _await_beginning(live: Live) -> None:
    """Waits until it is seen whether a start by the supervisor before us has come to execute its program.

    Its process executes it, where it was told so, or ends, since nobody is there to tell it.
    """
    deadline = time.monotonic() + BEGUN_WITHIN
    while (found := state.beginning(live.state, live.folder)) != (0, 0):
        if time.monotonic() > deadline:
            # What it hangs at nobody waits for any more.
            with contextlib.suppress(OSError):
                os.kill(found[0], signal.SIGKILL)
        time.sleep(0.005)


def _began(start: int) -> float:
    """When a process that runs was started, on the monotonic clock. start: clock ticks after boot"""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - start / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - max(0.0, age)


class Timer:
    """A call in the loop's thread after a while; `cancel` works from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action
        loop.call_soon_threadsafe(loop.call_later, seconds, self._fire)

    def _fire(self) -> None:
        if self.action:
            self.action()

    def cancel(self) -> None:
        """The call will not come."""
        self.action = None


def processes_kill(pid: int) -> None:
    """Kills a process that is a child of the keeper's, and so cannot have been replaced by another."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main(root: str) -> None:
    """The supervisor's process; descriptors 3 and 4 are the keeper's gifts."""
    # A thread that has work waits for another's turn to end, 5 ms by default: as long as a whole start takes.
    sys.setswitchinterval(0.002)
    os.umask(0o022)
    os.chdir("/")
    set_title(f"stackpy supervisor --root {root}")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    nftables.reserve()  # before the keeper gives back what it has held: ten descriptors of each container
    try:
        Supervisor(root).run()
    except BaseException as error:
        note_failure()
        if hung_up(LINE):
            # The keeper has died while we came up: nobody else starts the next pair, and clients wait for one.
            launch.start(root, LISTENER)
        else:
            _refuse(error)
        os._exit(1)


def _refuse(error: BaseException) -> None:
    """Tells clients why there is no engine, those of the next second too; then the keeper tries anew."""
    if isinstance(error, EngineError):
        error.message, error.subject = f"the engine cannot start: {error}", ""
    else:
        error = EngineError(f"the engine cannot start: {error}", hint="see run/engine.log in the engine root")
    listener = socket.socket(fileno=LISTENER)
    end = time.monotonic() + REFUSING
    try:
        while (left := end - time.monotonic()) > 0:
            listener.settimeout(left)
            client = Connection(listener.accept()[0].detach())
            client.send({"error": error.to_wire()})
            client.close()
    except OSError:
        # Nobody asks, or one has gone before it was told.
        pass
