"""What clients may ask of the supervisor: one thread for each connection, one request after the other on it.

A request is {"op": NAME, "args": {…}} with descriptors where the operation says so; the answer {"ok": RESULT} or
{"error": {…}}. With `attach` among the arguments, output comes as frames before the answer.
"""

from __future__ import annotations

import base64
import errno
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from stackpy_runtime import volume
from stackpy_runtime.container.stopping import signal_number
from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, KernelError
from stackpy_runtime.host import attaching, execs, halting, pausing, peers, renaming, requests, secret_values, steps
from stackpy_runtime.host.client import subject
from stackpy_runtime.host.containers import now
from stackpy_runtime.host.keeper_link import hung_up
from stackpy_runtime.host.wire import Closed, Connection, close_all
from stackpy_runtime.store import event_log
from stackpy_runtime.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.host.containers import Containers
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.networking import Networking
    from stackpy_runtime.model import Event

Arguments = dict[str, Any]
# Operations that may end a container: who has asked is kept with how it ended.
MAKING_ROOM = 5.0  # seconds
ENDING = ("stop", "restart", "kill", "remove", "down", "halt")


def _signal(arguments: Arguments) -> int:
    """The number of the signal that was asked for, 0 for none."""
    return signal_number(arguments["signal"]) if arguments.get("signal") else 0


def _release(descriptors: list[int]) -> None:
    """Closes what came with a request, once."""
    close_all(descriptors)
    descriptors.clear()


def note_failure() -> None:
    """Writes the trace of the current exception into our log, if the disk lets us."""
    try:
        traceback.print_exc(file=sys.stderr)
    except OSError:
        # The disk may be what has failed: whoever waits for an answer must get it.
        pass


def _explained(error: OSError, request: Any) -> EngineError:
    """An error of the operating system as one for people: in which operation on what, on which file, and why."""
    text = (error.strerror or str(error)).lower()
    where = f"`{error.filename}`: " if error.filename else ""
    operation = str(request["op"]).replace("_", " ")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space and try again" if full else "running it again is safe"
    return EngineError(
        f"{operation}: {where}{text}", hint=hint, subject=subject(request["op"], request.get("args", {}))
    )


class Service:
    """The table of operations."""

    def __init__(self, lifecycle: Lifecycle, containers: Containers, networking: Networking) -> None:
        self.lifecycle, self.containers, self.networking = lifecycle, containers, networking
        self.store = lifecycle.store
        self.busy = 0
        self.tidied = False
        self.lock = threading.Lock()
        self.operations: dict[str, Callable[[Arguments], Any]] = {
            "ping": lambda arguments: {"pid": os.getpid()},
            "create": lambda a: self.containers.create(requests.container(a["config"]), requests.identity(a)).id,
            "up": lambda a: self.containers.up(requests.container(a["config"]), requests.identity(a)).id,
            "start": lambda a: self.lifecycle.start(self.lifecycle.live(a["container"])),
            "stop": lambda a: self.lifecycle.stop(
                self.lifecycle.live(a["container"]), a.get("timeout"), {"verb": "stop", "by": a["by"]}, _signal(a)
            ),
            "restart": lambda a: self.containers.restart(
                self.lifecycle.live(a["container"]), a.get("timeout"), a["by"], _signal(a)
            ),
            "kill": lambda a: self.containers.kill(
                self.lifecycle.live(a["container"]), signal_number(a["signal"]), a["by"]
            ),
            "remove": self.remove,
            "down": self.down,
            "wait": lambda a: self.containers.wait(
                self.lifecycle.live(a["container"]), a.get("condition", "not-running")
            ),
            "update": lambda a: self.containers.update(
                self.lifecycle.live(a["container"]), requests.changes(a["changes"])
            ),
            "pause": lambda a: pausing.pause(self.store, self.lifecycle.live(a["container"])),
            "unpause": lambda a: pausing.unpause(self.store, self.lifecycle.live(a["container"])),
            "rename": lambda a: self.containers.rename(
                self.lifecycle.live(a["container"]), a["name"], requests.labels(a["labels"]) if "labels" in a else None
            ),
            "await": self.await_state,
            "restore_network": lambda a: self.networking.manager.ensure(self.store.network(a["name"])),
            "restore_volume": lambda a: volume.restore(self.store, a["name"]),
            "rename_network": lambda a: renaming.network(self.lifecycle, a["name"], a["new"]),
            "rename_volume": lambda a: renaming.volume(self.lifecycle, a["name"], a["new"]),
            "drain": lambda a: self.networking.serving.drain(self.lifecycle.live(a["container"]), a["timeout"]),
            "expect": self.expect,
            "create_network": lambda a: self.networking.manager.create(requests.network(a["config"])),
            "remove_network": self.remove_network,
            "create_volume": lambda a: volume.create(self.store, a["name"], requests.labels(a["labels"])),
            "remove_volume": self.remove_volume,
            "put_secret": lambda a: secret_values.put(
                self.store, a["name"], base64.b64decode(a["value"]), requests.labels(a["labels"]), now()
            ),
            "remove_secret": self.remove_secret,
            "tidy": self.tidy,
            "halt": lambda a: halting.halt(self.lifecycle, a["by"], host=a["host"]),
        }

    def serve(self, descriptor: int) -> None:
        """Answers one client until it goes."""
        connection = Connection(descriptor)
        descriptors: list[int] = []
        try:
            request, descriptors = connection.receive()
            if self._makes_room(connection, request):
                return
            # A client that loses the connection before this word knows that nobody acts on its request.
            connection.send({"hello": os.getpid()})
            while True:
                with self.lock:
                    self.busy += 1
                try:
                    self.answer(connection, request, descriptors)
                finally:
                    _release(descriptors)
                    with self.lock:
                        self.busy -= 1
                request, descriptors = connection.receive()
        except (Closed, OSError):
            # The client has gone; what it asked for is done or has failed, and was answered as far as it listened.
            pass
        finally:
            _release(descriptors)
            connection.close()

    def _makes_room(self, connection: Connection, request: Any) -> bool:
        """Leaves the engine to a client of another version, unless something is being carried out."""
        if request.get("version", VERSION) == VERSION:
            return False
        from stackpy_runtime.host import retiring  # once in the life of a version

        with self.lock:
            if self.busy or not retiring.is_idle(self.lifecycle) or self.containers.rubbish.unfinished_tasks:
                return False
            lock = retiring.lock(self.store.root.path)
            if lock < 0:
                return False
            # No request begins from here on: whoever waits for this lock finds us gone.
            names, descriptors = retiring.retire(self.lifecycle, self.lifecycle.keeper)
            (first, given), *rest = retiring.parts(names, descriptors)
            connection.send({"retired": first, "more": len(rest)}, [lock, *given])
            for more, given in rest:
                connection.send({"retired": more}, given)
            os._exit(0)

    def answer(self, connection: Connection, request: Any, descriptors: list[int]) -> None:
        """Carries out one request."""
        afterwards: list[Callable[[], None]] = []
        try:
            answer = {"ok": self.carry_out(connection, request, descriptors, afterwards)}
        except EngineError as error:
            if type(error) in (EngineError, KernelError):
                error.subject = error.subject or subject(request["op"], request.get("args", {}))
            answer = {"error": error.to_wire()}
        except OSError as error:
            if isinstance(error, ConnectionError) and hung_up(connection.fileno()):
                raise
            note_failure()
            answer = {"error": _explained(error, request).to_wire()}
        except Exception as error:
            # The client must hear of it, whatever it is; the trace goes to our log.
            note_failure()
            answer = {"error": EngineError(f"{type(error).__name__}: {error}").to_wire()}
        if "error" in answer and self.lifecycle.keeper.is_gone():
            # The loop ends this process for the next at once, and whoever has asked is served by that, as after any
            # death of ours, instead of hearing of what the keeper's brought about.
            time.sleep(MAKING_ROOM)
        connection.send(answer)
        for prepare in afterwards:
            prepare()

    def carry_out(
        self, connection: Connection, request: Any, descriptors: list[int], afterwards: list[Callable[[], None]]
    ) -> Any:
        """The result of one request. afterwards: gets what is to be done when the client has it"""
        operation, arguments = request["op"], request.get("args", {})
        self.tidied = False
        if "attach" in arguments:
            return self.attended(connection, operation, arguments)
        if operation == "exec":
            return execs.serve(self.lifecycle, connection, arguments, descriptors, afterwards)
        if operation == "execution":
            return execs.resume(self.lifecycle, connection, arguments)
        if operation == "step":
            return steps.run(self.lifecycle, connection, arguments, descriptors)
        if operation == "still":
            return self.keep_still(connection, arguments)
        if operation in ENDING:
            arguments = {**arguments, "by": peers.user(connection.fileno())}
        if operation in self.operations:
            try:
                return self.operations[operation](arguments)
            finally:
                # Locks of the client, which must be free when it hears that this is done.
                _release(descriptors)
        raise InvalidConfig(f"the engine has no operation `{operation}`")

    def tidy(self, arguments: Arguments) -> None:
        """Takes away what was made on demand; our processes leave soon when nothing follows."""
        self.networking.tidy()
        self.containers.rubbish.join()
        self.tidied = True

    # --- operations that are more than a line -------------------------------------------------------------------------

    def remove(self, arguments: Arguments) -> None:
        """Removes a container."""
        live = self.lifecycle.live(arguments["container"])
        self.containers.remove(
            live, force=arguments.get("force", False), volumes=arguments.get("volumes", False), by=arguments["by"]
        )

    def down(self, arguments: Arguments) -> None:
        """Stops a container as it is meant to be stopped, and removes it."""
        live = self.lifecycle.live(arguments["container"])
        self.containers.remove(live, force=True, volumes=False, grace=None, by=arguments["by"])

    def await_state(self, arguments: Arguments) -> None:
        """Waits for started, healthy or completed."""
        live = self.lifecycle.live(arguments["container"])
        self.containers.await_state(live, arguments["condition"], arguments.get("timeout"))

    def expect(self, arguments: Arguments) -> None:
        """Prepares for what a plan is about to do."""
        self.lifecycle.beginnings.spares.expect(arguments["starts"])
        self.networking.leaving.expect(arguments["networks"])

    def remove_network(self, arguments: Arguments) -> None:
        """Removes a network that no container is on."""
        network = self.store.network(arguments["name"])
        holders = set(self.store.addresses(network["id"]).values())
        if holders:
            names = sorted(c["name"] for c in self.store.containers() if c["id"] in holders)
            raise Conflict(
                f"it is in use by {', '.join(names)}",
                subject=f"network {network['name']}",
                hint="stop those first, or take them off it: `stackpy network disconnect`",
            )
        self.networking.remove(network)

    def remove_volume(self, arguments: Arguments) -> None:
        """Removes a volume that no container mounts."""
        volume.remove(self.store, arguments["name"])

    def remove_secret(self, arguments: Arguments) -> None:
        """Removes a secret that no container mounts."""
        if users := self.store.secret_users(arguments["name"]):
            raise Conflict(f"it is in use by {', '.join(users)}", subject=f"secret {arguments['name']}")
        secret_values.remove(self.store, arguments["name"])

    def attended(self, connection: Connection, operation: str, arguments: Arguments) -> dict[str, Any]:
        """`run`, `start` or `attach` with the client on the container's streams; answers with its exit code."""
        wishes = requests.attachment(arguments["attach"])
        if operation == "run":
            live = self.containers.create(requests.container(arguments["config"]), requests.identity(arguments))
            return attaching.run(self.lifecycle, self.containers, connection, live, wishes)
        live = self.lifecycle.live(arguments["container"])
        if operation == "start":
            return attaching.start(self.lifecycle, connection, live, wishes)
        return attaching.attach(self.lifecycle, connection, live, wishes, arguments.get("offsets"))

    def keep_still(self, connection: Connection, arguments: Arguments) -> bool:
        """Freezes a container for as long as the client stays, so that what is read of it is of one moment.

        One that does not run is kept from being started. Whatever ends the client, the container goes on.
        """
        live = self.lifecycle.live(arguments["container"])
        with live.verb:
            # One that is paused stands already, and shall go on standing.
            group = live.group if live.pid and not pausing.is_paused(live) else None
            if group is not None:
                group.freeze(True)
            try:
                connection.send({"still": group is not None})
                connection.receive()
            finally:
                if group is not None:
                    group.freeze(False)
        return True

    def _tell(self, *events: Event) -> None:
        event_log.record(self.store.root, *events)
