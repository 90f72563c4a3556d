"""The part of the engine's façade that is about containers: reading opens the store, changing asks the supervisor."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.model import Consumption, Container, ContainerConfig, Crash, Event, HealthLog, Learned, LogLine
    from stackpy_runtime.model.containers import ContainerState, FileContent
    from stackpy_runtime.model.resources import Surroundings
    from stackpy_runtime.store.store import Store

    Condition = Literal["started", "healthy", "completed"]


class ContainerVerbs:
    """Mixed into Engine."""

    if TYPE_CHECKING:

        @property
        def store(self) -> Store:
            """The store, for reading."""

        @property
        def client(self) -> Client:
            """The line to the supervisor."""

    def containers(self, stack: str | None = None) -> list[Container]:
        """All containers, or those of one stack, as they are now."""
        return [self._live(container) for container in self.store.containers(stack)]

    def containers_named(self, names: list[str]) -> list[Container]:
        """The containers that have one of these names or whole IDs, as they are now.

        Asking for one that there is not costs no more, where `container` looks for the name that was meant among all.
        """
        return [self._live(container) for container in self.store.containers_named(names)]

    def container(self, reference: str) -> Container:
        """A container by name, ID or unambiguous ID prefix; raises NotFound."""
        return self._live(self.store.container(reference))

    def learned(self, reference: str, timeout: float = 0.0) -> Learned | None:
        """What a container with `learn` has used; None where nothing was noted.

        timeout: seconds to wait for the end of the notes, where it has ended
        """
        import json
        import time

        path = f"{self.store.root.containers}/{self.store.container(reference)['id']}/learned"
        end = time.monotonic() + timeout
        while True:
            try:
                with open(path, encoding="utf-8") as file:
                    found: Learned | None = json.load(file)
            except FileNotFoundError:
                found = None
            if (found and found["ended"]) or time.monotonic() >= end:
                return found
            time.sleep(0.02)

    def _live(self, container: Container) -> Container:
        from stackpy_runtime.container import state

        folder = f"{self.store.root.containers}/{container['id']}"
        return {**container, "state": state.live(container["state"], folder)}

    def logs(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[LogLine]:
        """Lines of a container's output, oldest first; with `follow` until it ends.

        since, until: RFC 3339; tail: at most so many of the last lines. Raises Unsupported where it keeps no log.
        """
        from stackpy_runtime.container import log_reading

        return log_reading.lines(self._log(reference, follow=follow, tail=tail, since=since, until=until))

    def output(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """The same as it was written: (b"stdout" or b"stderr", bytes), in blocks of about a megabyte."""
        from stackpy_runtime.container import log_reading

        for block in self._log(reference, follow=follow, tail=tail, since=since, until=until):
            yield from log_reading.plain(block)

    def _log(
        self, reference: str, *, follow: bool, tail: int | None, since: str | None, until: str | None
    ) -> Iterator[bytes]:
        from stackpy_runtime.container import log_reading
        from stackpy_runtime.container.timestamps import timestamp, unix

        container = self.store.container(reference)
        if container["config"].get("log_driver") == "none":
            from stackpy_runtime.errors import Unsupported

            raise Unsupported(
                "it keeps no log: its log driver is `none`",
                subject=f"container {container['name']}",
                hint="`attach` shows what it writes from then on",
            )
        folder = f"{self.store.root.containers}/{container['id']}"
        first, last = (None if moment is None else timestamp(unix(moment)) for moment in (since, until))

        def running() -> bool:
            from stackpy_runtime.errors import NotFound

            try:
                # The store says `running` until the last line is in the log, whatever the process does.
                return self.store.container(container["id"])["state"]["status"] in ("running", "paused", "restarting")
            except NotFound:
                return False

        if until is not None and tail is not None:
            # The last lines of those before that time: which they are is known at the end alone.
            return _last(log_reading.between(log_reading.read(folder), first, last), tail)
        if follow:
            end = None if until is None else unix(until)
            return log_reading.between(log_reading.follow(folder, running, tail=tail, until=end), first, last)
        return log_reading.between(log_reading.read(folder, tail=tail), first, last)

    def log_attributes(self, reference: str) -> dict[str, str]:
        """What `logging` says goes along with each line of a container's log: its tag, and labels."""
        from stackpy_runtime.container import journald

        container = self.store.container(reference)
        config = container["config"]
        own = config.get("labels", {})
        found = {name: own[name] for name in config.get("log_labels", []) if name in own}
        if "log_tag" in config:
            found["tag"] = journald.tag(
                config["log_tag"],
                identity=container["id"],
                name=container["name"],
                image_id=container["image_id"],
                image=config["image"],
            )
        return found

    def health_log(self, reference: str) -> HealthLog:
        """What the last health checks of a container have found."""
        from stackpy_runtime.container import health

        return health.read(f"{self.store.root.containers}/{self.store.container(reference)['id']}")

    def last_crash(self, reference: str) -> Crash | None:
        """The last crash of what a container is a replica of, of those before it too; None when there was none."""
        from stackpy_runtime.container import crashes

        return crashes.last(self.store.root.path, self.store.container(reference)["config"].get("labels", {}))

    def crashes(self, stack: str) -> list[Crash]:
        """The last crash of each replica of a stack's containers and jobs."""
        from stackpy_runtime.container import crashes

        return crashes.of_stack(self.store.root.path, stack)

    def forget_crashes(self, stack: str) -> None:
        """Forgets them."""
        from stackpy_runtime.container import crashes

        crashes.forget(self.store.root.path, stack)

    def events(self, *, since: int | None = None, until: int | None = None, follow: bool = True) -> Iterator[Event]:
        """What happens to all that the engine holds from now on, or from `since` on as far as it is kept.

        since, until: nanoseconds since the epoch; without `until` and with `follow` it never ends
        """
        from stackpy_runtime.store import event_log

        root = self.store.root
        return event_log.follow(root, since, until) if follow else event_log.read(root, since or 0, until)

    def refuse(self, config: Surroundings, name: str, *, isolation: bool = False) -> None:
        """Raises what `create` would raise of a container `name` that asks for more than this host can give.

        isolation: it has fields about that too
        """
        from stackpy_runtime.container import resources
        from stackpy_runtime.errors import EngineError

        try:
            resources.check(config)
            if isolation:
                from stackpy_runtime.container import confinement

                given = {key: value for key, value in config.items() if value is not None}
                whole: Any = {**given, "name": "", "image": ""}
                confinement.check(whole)
            if "mounts" in config:
                from stackpy_runtime.container import propagation

                propagation.check_all(config)
            if "storage_opt" in config:
                from stackpy_runtime.host import storage_size

                storage_size.check(self.store.root.path)
        except EngineError as error:
            error.subject = f"container {name}"
            raise

    def create(self, config: ContainerConfig) -> str:
        """Makes a container; returns its ID."""
        return self._make("create", config)

    def _make(self, operation: str, config: Any) -> str:
        """`create` or `up`, once, whoever of ours is killed meanwhile: what was made has the ID that we choose."""
        from stackpy_runtime.errors import EngineLost, NotFound, ProcessFailed

        identity = os.urandom(32).hex()
        made: Container | None = None
        for left in (3, 2, 1, 0):
            try:
                if made is None:
                    return str(self.client.call(operation, {"config": config, "identity": identity}))
                if operation == "up" and made["state"]["status"] == "created":
                    self.client.call("start", {"container": identity})
                return identity
            except EngineLost:
                if not left:
                    raise
            self._await_successor()
            try:
                made = self.container(identity)
            except NotFound:
                continue
            state = made["state"]
            if "ending" in state and state["ending"]["cause"] == "start":
                code = state["exit_code"] or 125
                raise ProcessFailed(state["error"], exit_code=code, hint=state["ending"]["hint"])
        raise AssertionError("unreachable")

    def _await_successor(self) -> None:
        """Waits until the next supervisor has taken up what the one before has left.

        Until then a start that was cut short looks like a container that runs.
        """
        from stackpy_runtime.errors import EngineLost

        for left in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0):
            try:
                self.client.call("ping")
                return
            except EngineLost:
                if not left:
                    raise

    def start(self, reference: str) -> None:
        """Starts a container; one that runs is left alone."""
        from stackpy_runtime.errors import EngineLost

        for left in (2, 1, 0):
            try:
                self.client.call("start", {"container": reference})
                return
            except EngineLost:
                self._await_successor()
                status = self.container(reference)["state"]["status"]
                if status == "running":
                    return
                # Of one that has run before nobody can tell whether it has again.
                if status != "created" or not left:
                    raise

    def up(self, config: ContainerConfig) -> str:
        """Makes and starts a container in one round trip; returns its ID."""
        return self._make("up", config)

    def stop(self, reference: str, timeout: float | None = None, signal: str = "") -> str:
        """Stops a container: its stop signal, SIGKILL after `timeout` seconds; returns how it went, in words.

        timeout: negative is for ever, None is the container's; signal: another than the container's own
        """
        return str(self.client.call("stop", {"container": reference, "timeout": timeout, "signal": signal}))

    def restart(self, reference: str, timeout: float | None = None, signal: str = "") -> str:
        """Stops and starts a container; arguments and answer as of `stop`."""
        return str(self.client.call("restart", {"container": reference, "timeout": timeout, "signal": signal}))

    def kill(self, reference: str, signal: str = "KILL") -> None:
        """Sends a signal to a container's first process."""
        self.client.call("kill", {"container": reference, "signal": signal})

    def pause(self, reference: str) -> None:
        """Has a container that runs stand still; raises Conflict where it does not run, or is paused already."""
        self.client.call("pause", {"container": reference})

    def unpause(self, reference: str) -> None:
        """Has a paused container go on; raises Conflict where it is not paused."""
        self.client.call("unpause", {"container": reference})

    def remove(self, reference: str, force: bool = False, volumes: bool = False) -> None:
        """Removes a container that does not run; `force`: kills it first; `volumes`: its anonymous volumes too."""
        self.client.call("remove", {"container": reference, "force": force, "volumes": volumes})

    def down(self, reference: str) -> None:
        """Stops a container and removes it: `stop` and `remove` in one round trip, as `up` is `create` and `start`."""
        self.client.call("down", {"container": reference})

    def wait(self, reference: str, condition: str = "not-running") -> int:
        """Waits until a container has ended; returns its exit code, 0 where it never ran.

        condition: Docker's "not-running"; "next-exit", which one that has ended does not meet; or "removed"
        """
        return int(self.client.call("wait", {"container": reference, "condition": condition}))

    def consumption(self, reference: str) -> Consumption | None:
        """What a container uses now; None where it does not run."""
        from stackpy_runtime.container import cgroups, consumption

        container = self.container(reference)
        pid = container["state"]["pid"]
        group = cgroups.of_process(self.store.root.path, pid) if pid else None
        if group is None:
            return None
        return consumption.read(group, pid, own_network=container["config"].get("network_mode") != "host")

    def container_processes(self, reference: str) -> list[int]:
        """PIDs of a container's processes, as this host counts them; raises Conflict where it does not run."""
        from stackpy_runtime.container import cgroups, consumption
        from stackpy_runtime.errors import Conflict

        container = self.container(reference)
        pid = container["state"]["pid"]
        group = cgroups.of_process(self.store.root.path, pid) if pid else None
        if group is None:
            name = container["name"]
            raise Conflict("it is not running", subject=f"container {name}", hint=f"stackpy start {name}")
        return consumption.processes(group)

    def container_size(self, reference: str) -> int:
        """Bytes on disk of what a container has written into its tree."""
        from stackpy_runtime.store import usage

        return usage.allocated(f"{self.store.root.containers}/{self.store.container(reference)['id']}/upper")

    def written(self, reference: str) -> tuple[int, float]:
        """Bytes on disk of what a container has written into its tree, and when the newest of it was written."""
        from stackpy_runtime.store import usage

        path = f"{self.store.root.containers}/{self.store.container(reference)['id']}/upper"
        return usage.allocated(path), usage.newest(path)

    def update(self, reference: str, changes: dict[str, Any]) -> None:
        """Changes a container without making it anew; None takes a field away.

        Limits, restart policy, labels, networks, published ports, files, health check, log options, how it is stopped:
        at once, while it runs. What is set at a start can be changed while it does not run.
        """
        if changes.get("files") is not None:
            self._rewrite_files(reference, changes["files"])
        self.client.call("update", {"container": reference, "changes": changes})

    def _rewrite_files(self, reference: str, files: list[FileContent]) -> None:
        """Before they are recorded: killed on the way, the next update does it again."""
        from stackpy_runtime.host import rewriting

        rewriting.rewrite(self, self.container(reference), files)  # type: ignore[arg-type]  # Engine has all verbs

    def refresh_secrets(self, reference: str) -> None:
        """Shows a running container the values that its secrets have now."""
        from stackpy_runtime.host import rewriting

        rewriting.refresh_secrets(self.store, self.container(reference))

    def rename(self, reference: str, name: str, *, labels: dict[str, str] | None = None) -> None:
        """Gives a container another name, and in the same moment other labels where they are given."""
        given = {} if labels is None else {"labels": labels}
        self.client.call("rename", {"container": reference, "name": name, **given})

    def drain(self, reference: str, timeout: float) -> bool:
        """Leads new connections to the others of a container's resource, and waits until what is under way is done.

        timeout: seconds; False when it was not done in time. The container is meant to be stopped next.
        """
        return bool(self.client.call("drain", {"container": reference, "timeout": timeout}))

    def listening(self, reference: str) -> set[int]:
        """The TCP ports on which something listens in a container; none where it does not run."""
        from stackpy_runtime.linux import connections

        pid = self.container(reference)["state"]["pid"]
        return connections.listening(pid) if pid else set()

    def await_state(self, reference: str, condition: Condition, timeout: float | None = None) -> Container:
        """Returns when a container is started, healthy or completed; raises ProcessFailed when that cannot come."""
        stored = self.store.container(reference)
        if not self._is_up(stored["state"], condition):
            self.client.call("await", {"container": reference, "condition": condition, "timeout": timeout})
        return self.container(stored["id"])

    @staticmethod
    def _is_up(state: ContainerState, condition: Condition) -> bool:
        """Whether a condition is met as everybody can see: what just runs need not be asked for, ten times an apply."""
        if condition == "completed" or state["status"] != "running" or (condition == "healthy" and state["health"]):
            return False
        from stackpy_runtime.linux.proc import start_time

        return start_time(state["pid"]) == state.get("pid_start", -1)

    def run(self, config: ContainerConfig, *, detach: bool, remove: bool, **attaching: Any) -> int | None:
        """Makes and starts a container, attached to the caller's standard streams unless `detach`.

        attaching: as for `attach`; input is passed on where the configuration opens it

        Returns its exit code, 0 with `detach`, None when the caller has left it by its keys. Raises ProcessFailed with
        Docker's 125, 126 or 127 when it cannot start.
        """
        document: dict[str, Any] = {**config, **({"auto_remove": True} if remove else {})}
        if detach:
            self._make("up", document)
            return 0
        return self._attached("run", {"config": document, "identity": os.urandom(32).hex()}, **attaching)

    def start_attached(self, reference: str, **attaching: Any) -> int | None:
        """Starts a container attached to the caller's standard streams, as `attach` does."""
        return self._attached("start", {"container": reference}, **attaching)

    def attach(self, reference: str, **attaching: Any) -> int | None:
        """Attaches the caller's standard streams to a container that runs, until it ends.

        stdin: whether our input is passed on, where the container takes any
        streams: of ("stdout", "stderr")
        sig_proxy: whether signals go to the container, unless it has a terminal
        detach_keys: what leaves it, on a terminal, as "ctrl-p,ctrl-q"

        Returns its exit code, None when the caller has left it by its keys.
        """
        return self._attached("attach", {"container": reference}, **attaching)

    def _attached(
        self,
        operation: str,
        arguments: dict[str, Any],
        *,
        stdin: bool = True,
        streams: tuple[str, ...] = ("stdout", "stderr"),
        sig_proxy: bool = True,
        detach_keys: str | None = None,
    ) -> int | None:
        from stackpy_runtime.host.attach_client import Attached
        from stackpy_runtime.host.detaching import DEFAULT, sequence

        keys = sequence(DEFAULT if detach_keys is None else detach_keys)
        return Attached(self.client, stdin=stdin, streams=streams, proxy=sig_proxy, keys=keys).begin(
            operation, arguments
        )


def _last(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The last lines of blocks."""
    import collections

    kept: collections.deque[bytes] = collections.deque(maxlen=count)
    for block in blocks:
        kept.extend(line + b"\n" for line in block.split(b"\n") if line)
    yield b"".join(kept)
