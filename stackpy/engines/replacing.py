"""Replicas of a container are replaced: in groups, each watched for a while, with something to do when it fails.

Start-first, the new one runs under a number that no replica has until it serves; then the two change numbers, and the
one that leaves under the higher number finishes what it has begun. So whatever kills this on the way leaves replicas
with numbers of their own, too many of them at worst, which the next plan removes.
"""

from __future__ import annotations

import time

from stackpy.dsl.specs import DEFAULT_PROBE, engine_name
from stackpy.engines import labels
from stackpy.engines.facade import Missing, at_once, explained
from stackpy.errors import Interrupted, StackpyError
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Fields
    from stackpy.engines.facade import Document, Facade

ALIVE = ("running", "restarting")
PATIENCE = 30.0  # seconds beyond its probe's own times that a new replica has, before it has failed
LOOKS = (0.01, 0.1)  # seconds between two looks at a new replica: the first, and the longest
GRACE = 10.0  # seconds from the stop signal to the end where the container says nothing else


class Policy(NamedTuple):
    """See dsl.updating.Update."""

    start_first: bool
    parallelism: int = 1
    delay: float = 0.0
    monitor: float = 0.0
    max_failure_ratio: float = 0.0
    failure_action: str = "pause"


def policy(fields: Fields, order: str) -> Policy:
    """The policy of a resource; `order` is the plan's."""
    given = {key: value for key, value in fields.get("update", {}).items() if key != "order"}
    return Policy(order == "start-first", **given)


def groups(indexes: Sequence[int], parallelism: int) -> list[Sequence[int]]:
    """The replicas in groups of `parallelism`, 0 meaning all in one. Pure."""
    size = parallelism or max(1, len(indexes))
    return [indexes[start : start + size] for start in range(0, len(indexes), size)]


class Replacing:
    """One rollout.

    present: the replicas that there are, by number
    config: the configuration of a replica, by number
    highest: a number that no replica has exceeded
    say: told what was done
    stopping: whether nothing new is to be begun any more
    keep_data: called once, before anything is replaced, with what of the first group runs: stops that, keeps what it
        has written, and starts it again where it fails
    """

    def __init__(
        self,
        engine: Facade,
        stack: str,
        address: str,
        *,
        policy: Policy,
        present: Mapping[int, Document],
        config: Callable[[int], dict[str, Any]],
        highest: int,
        say: Callable[[str], None],
        stopping: Callable[[], bool],
        keep_data: Callable[[Sequence[Document]], None] | None = None,
    ) -> None:
        self.engine, self.stack, self.address, self.policy = engine, stack, address, policy
        self.present, self.config, self.highest, self.say, self.stopping = present, config, highest, say, stopping
        self.keep_data = keep_data
        self.ended: set[str] = set()  # IDs of what `keep_data` has stopped
        self.replaced: dict[int, Document | None] = {}  # what stood there before

    def run(self, indexes: Sequence[int]) -> None:
        """Replaces these replicas; raises StackpyError when more failed than may, after what is to follow then."""
        failures: dict[int, StackpyError] = {}
        left = groups(indexes, self.policy.parallelism)
        while left:
            group = left.pop(0)
            if self.replaced and self.stopping():
                raise self._stopped(len(indexes))
            last = not left
            if self.keep_data is not None:
                self._stop_first_of_all(group, self.keep_data)
            at_once([self._attempt(index, failures, last=last) for index in group])
            if any(isinstance(error, Interrupted) for error in failures.values()):
                raise self._stopped(len(indexes))
            too_many = len(failures) / len(indexes) > self.policy.max_failure_ratio
            if failures and too_many and self.policy.failure_action != "continue":
                self._give_up(failures, len(indexes))
            if left:
                self._sleep(self.policy.delay)
        if failures and len(failures) / len(indexes) > self.policy.max_failure_ratio:
            self._give_up(failures, len(indexes))
        for index, error in failures.items():
            self.say(f"replica {index} failed, as one may: {error.message.partition(chr(10))[0]}")

    def _stop_first_of_all(self, group: Sequence[int], keep_data: Callable[[Sequence[Document]], None]) -> None:
        """Where others serve meanwhile, connections are drained as before any stop."""
        self.keep_data = None
        alive = {index: one for index, one in self.present.items() if one["state"]["status"] in ALIVE}
        chosen = {index: one for index, one in alive.items() if index in group}
        if len(alive) > len(chosen):
            at_once([self._drainer(one) for one in chosen.values()])
        keep_data(list(chosen.values()))
        self.ended.update(one["id"] for one in chosen.values())

    def _drainer(self, document: Document) -> Callable[[], None]:
        def drain() -> None:
            self.engine.drain(document["id"], float(document["config"].get("stop_grace_period", GRACE)))

        return drain

    def _stopped(self, total: int) -> Interrupted:
        return Interrupted(f"stopped after {len(self.replaced)} of {total} replicas")

    def _attempt(self, index: int, failures: dict[int, StackpyError], *, last: bool) -> Callable[[], None]:
        def attempt() -> None:
            before = self.present.get(index)
            try:
                if self.policy.start_first and before is not None and before["state"]["status"] in ALIVE:
                    self._start_first(index, before, self.config(index))
                    self.replaced[index] = before
                else:
                    self.replaced[index] = before
                    self._stop_first(before, self.config(index), last=last)
            except StackpyError as error:
                failures[index] = error

        return attempt

    # --- one replica --------------------------------------------------------------------------------------------------

    def _start_first(self, index: int, before: Document, config: dict[str, Any]) -> None:
        new, old = self.highest + 2 * index - 1, self.highest + 2 * index
        beside = self._numbered(config, new)
        try:
            identity = self._up(beside)
        except StackpyError:
            self._remove(beside["name"])
            raise
        self.say(f"{beside['name']} started, to become {config['name']}")
        try:
            self._await_serving(beside, before)
            self._monitor(beside)
        except StackpyError as error:
            self._remove(identity)
            if isinstance(error, Interrupted):
                raise
            raise StackpyError(
                error.message, hint="the new replica was removed, and the one before it goes on"
            ) from error
        self._renumber(before["id"], before["config"], old)
        self._renumber(identity, beside, index)
        self.engine.drain(before["id"], float(before["config"].get("stop_grace_period", GRACE)))
        self._remove(before["id"])
        self.say(f"{config['name']} replaced")

    def _stop_first(self, before: Document | None, config: dict[str, Any], *, last: bool) -> None:
        if before is not None:
            others = [one for one in self.present.values() if one is not before and one["state"]["status"] in ALIVE]
            if others and before["state"]["status"] in ALIVE and before["id"] not in self.ended:
                self.engine.drain(before["id"], float(before["config"].get("stop_grace_period", GRACE)))
            self._remove(before["id"])
            self.say(f"{before['name']} removed")
        self._up(config)
        self.say(f"{config['name']} started")
        # The last one is waited for by whoever asked for all of this, unless something depends on how it fares.
        if not last or self.policy.monitor or self.policy.failure_action == "rollback":
            self._await_serving(config, None)
            self._monitor(config)

    def _up(self, config: Document) -> str:
        try:
            return self.engine.up(config)
        except StackpyError as error:
            raise explained(self.engine, config["name"], error) from error

    def _remove(self, reference: str) -> None:
        try:
            self.engine.down(reference)
        except Missing:
            pass  # somebody else removed it, which is what was wanted

    def _numbered(self, config: Document, index: int) -> dict[str, Any]:
        """A replica's configuration under another number."""
        kind, _, name = self.address.partition(".")
        return {
            **config,
            "name": engine_name(self.stack, kind, name, index),
            "labels": {**config["labels"], labels.REPLICA: str(index)},
        }

    def _renumber(self, identity: str, config: Document, index: int) -> None:
        wanted = self._numbered(config, index)
        if wanted["name"] != config["name"]:
            self.engine.rename(identity, wanted["name"], labels=wanted["labels"])

    def _await_serving(self, config: Document, before: Document | None) -> None:
        """Until it is healthy; without a check, until it listens on the published ports that the one before serves."""
        name = config["name"]
        try:
            self._await_settled(name, patience(config))
            state = self.engine.await_state(name, "healthy", 0.0)["state"]
            if state["health"] or before is None:
                return
            wanted = {port["target"] for port in config.get("ports", ()) if port["protocol"] == "tcp"}
            wanted &= self.engine.listening(before["id"]) if wanted else wanted
            began, pause = time.monotonic(), LOOKS[0]
            while wanted - self.engine.listening(name):
                self._go_on()
                if time.monotonic() - began > PATIENCE:
                    ports = ", ".join(map(str, sorted(wanted)))
                    raise StackpyError(f"it does not listen on {ports}, as the one before does, after {PATIENCE:g} s")
                self.engine.await_state(name, "started", 0.0)
                time.sleep(pause)
                pause = min(pause * 2, LOOKS[1])
        except Interrupted:
            raise
        except StackpyError as error:
            raise explained(self.engine, name, error) from error

    def _await_settled(self, name: str, timeout: float) -> None:
        """Until a replica is healthy or cannot be any more; looks itself, since an interrupt must end it."""
        began, pause = time.monotonic(), LOOKS[0]
        while True:
            state = self.engine.container(name)["state"]
            if state["status"] == "exited" or (state["status"] == "running" and state["health"] != "starting"):
                return
            self._go_on()
            if time.monotonic() - began > timeout:
                raise StackpyError(f"{name} is not healthy after {timeout:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, LOOKS[1])

    def _go_on(self) -> None:
        if self.stopping():
            raise Interrupted("stopped")

    def _monitor(self, config: Document) -> None:
        """Sees to it that it stays well for a while."""
        name, until = config["name"], time.monotonic() + self.policy.monitor
        while time.monotonic() < until and not self.stopping():
            state = self.engine.container(name)["state"]
            if state["status"] not in ALIVE or state["restart_count"] or state["health"] == "unhealthy":
                what = "became unhealthy" if state["health"] == "unhealthy" else "ended"
                error = StackpyError(f"{name} {what} within {self.policy.monitor:g} s")
                raise explained(self.engine, name, error)
            time.sleep(LOOKS[1])

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stopping():
            time.sleep(min(left, LOOKS[1]))

    # --- what follows a failure ---------------------------------------------------------------------------------------

    def _give_up(self, failures: Mapping[int, StackpyError], total: int) -> None:
        first = next(iter(failures.values()))
        if self.policy.failure_action == "rollback":
            message = "\n".join([first.message, *self._roll_back()])
            raise StackpyError(message, hint=first.hint) from first
        done = len([index for index in self.replaced if index not in failures])
        whole = f"{first.message}" if total == 1 else f"{first.message}\n{done} of {total} replicas were replaced"
        raise StackpyError(whole, hint=first.hint) from first

    def _roll_back(self) -> list[str]:
        """Brings back what stood where something was replaced; returns a line for each, of what failed too."""
        lines = []
        for index, before in self.replaced.items():
            if before is None:
                continue
            config = before["config"]
            try:
                present = self._present(config["name"])
                if self.policy.start_first and present is not None and present["state"]["status"] in ALIVE:
                    self._start_first(index, present, config)
                else:
                    self._remove(config["name"])
                    self._up(config)
                lines.append(f"{config['name']} is as it was before")
            except StackpyError as error:
                lines.append(f"{config['name']} could not be brought back: {error.message.partition(chr(10))[0]}")
        return lines

    def _present(self, name: str) -> Document | None:
        try:
            return self.engine.container(name)
        except Missing:
            return None


def patience(config: Document) -> float:
    """Seconds that a container may take until it is healthy."""
    probe = config.get("healthcheck")
    if not probe:
        return PATIENCE
    probe = {**DEFAULT_PROBE, **probe}
    return float(probe["start_period"] + probe["retries"] * (probe["interval"] + probe["timeout"]) + PATIENCE)
