"""Makes a plan true: a parallel walk over its graph.

One thread, the caller's, decides; it hears of everything through one queue. Others act: some perform changes, some wait
for conditions, so that a hundred containers that become healthy slowly hold up no build. Waiting for what was started
to settle has threads of its own, since nothing waits for it.
"""

from __future__ import annotations

import time
from _queue import Empty, SimpleQueue

from stackpy.applying.interrupts import Interrupts
from stackpy.applying.outcome import Failure, Outcome, circumstances_of, document, unknown
from stackpy.applying.schedule import Schedule
from stackpy.applying.wording import begun, ended, failed_text
from stackpy.applying.workers import Workers
from stackpy.dsl.specs import StackSpec
from stackpy.engines.events import Event
from stackpy.errors import ApplyFailed, Interrupted, StackpyError
from stackpy.planning import refusals
from stackpy.planning.plan import Action, Desired
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from stackpy.applying.schedule import Wait
    from stackpy.engines.base import SecretValues, StackEngine
    from stackpy.engines.events import Report
    from stackpy.planning.plan import Change, Plan

DEFAULT_TIMEOUT = 300.0  # seconds: a container with the default health check may take 90 to be called unhealthy
PARALLEL = 16  # changes at once
WAITING = 32  # conditions at once
AGE = 0.1  # seconds after which it is worth a look whether something still runs
PATIENCE = 0.5  # seconds before a wait is worth a line

_STARTING = (Action.CREATE, Action.REPLACE, Action.START, Action.RESTART)


def execute(
    plan: Plan,
    desired: Desired,
    secrets: SecretValues,
    engine: StackEngine,
    *,
    report: Report,
    interrupts: Interrupts | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    wait: bool = True,
    rolled_back_to: int | None = None,
) -> Outcome:
    """Makes the plan true, and keeps what came of it as a generation.

    timeout: seconds that a resource has to become started, healthy or completed
    wait: until everything that was started runs and is healthy
    rolled_back_to: number of the generation that the plan brings back

    Returns the outcome when all was done, or when `interrupts` had one: then nothing new was begun, and what ran was
    finished. Raises ApplyFailed when changes failed; independent ones were finished. At a second interrupt raises
    KeyboardInterrupt and leaves running actions to themselves. In each case the next apply finishes the work.
    """
    refusals.check(plan)
    run = _Run(plan, desired, secrets, engine, report, interrupts or Interrupts(), timeout, wait)
    run.rolled_back_to = rolled_back_to
    return run.run("applied")


def _settles(change: Change) -> bool:
    """Whether a container is to be waited for after a change: it began anew, or is judged by another health check."""
    return change.action in _STARTING or any(
        reason.path.partition(".")[0] == "healthcheck" for reason in change.reasons
    )


class NoSecrets:
    """Values for a plan that needs none."""

    def get(self, name: str) -> bytes | None:
        """None: there are none."""
        return None


def destroy(
    plan: Plan,
    engine: StackEngine,
    *,
    report: Report,
    interrupts: Interrupts | None = None,
) -> Outcome:
    """Makes a plan of deletions true; needs no stack file. Returns and raises as `execute`."""
    refusals.check(plan)
    desired = Desired(StackSpec(plan.stack, {}, {}, ""), {}, {})
    interrupts = interrupts or Interrupts()
    return _Run(plan, desired, NoSecrets(), engine, report, interrupts, DEFAULT_TIMEOUT, False).run("destroyed")


class _Message(NamedTuple):
    """What a thread tells the one that decides."""

    kind: Literal["performed", "waited", "settled", "interrupt"]
    subject: Any  # number of a change, or a Wait
    error: BaseException | None


class _Run:
    def __init__(
        self,
        plan: Plan,
        desired: Desired,
        secrets: SecretValues,
        engine: StackEngine,
        report: Report,
        interrupts: Interrupts,
        timeout: float,
        wait: bool,
    ) -> None:
        self.plan, self.desired, self.secrets, self.engine = plan, desired, secrets, engine
        self.report, self.interrupts, self.timeout, self.wait = report, interrupts, timeout, wait
        self.specs = desired.stack.resources
        self.schedule = Schedule(plan, self.specs)
        self.of_address: dict[str, list[int]] = {}
        for number, change in enumerate(plan.changes):
            self.of_address.setdefault(change.address, []).append(number)
        self.rolled_back_to: int | None = None
        self.failures: dict[str, Failure] = {}
        self.unexpected: BaseException | None = None
        self.performing: set[int] = set()
        self.began: dict[int, float] = {}
        self.took: dict[int, float] = {}
        self.asked: set[Wait] = set()
        self.open_waits: set[Wait] = set()
        self.settling: set[Wait] = set()
        self.settled: dict[str, float] = {}  # address of what was started and ran → when that was seen
        self.unsaid: dict[tuple[str, Wait], float] = {}  # waits that are not worth a line yet → when they will be
        self.messages: SimpleQueue[_Message] = SimpleQueue()
        self.actors, self.waiters, self.watchers = (
            Workers("perform", PARALLEL),
            Workers("wait", WAITING),
            Workers("settle", WAITING),
        )

    # --- the thread that decides ----------------------------------------------------------------------------------

    def run(self, word: str) -> Outcome:
        started, clock = time.time(), time.monotonic()
        outputs = self.desired.stack.outputs
        if not self.plan.changes:
            outcome = Outcome(self.plan, (), {}, {}, False, 0.0)
            self._keep_outputs(outputs)
            return outcome
        self.circumstances = circumstances_of(self.desired, started, self.rolled_back_to)
        self.engine.begin(self.plan.stack, document(unknown(self.plan), {}, self.circumstances, "killed"))
        self.engine.expect(self.plan)
        self.engine.stopping = lambda: self.interrupts.count > 0
        self.interrupts.watch(lambda: self.messages.put(_Message("interrupt", None, None)))
        try:
            self._walk()
        except KeyboardInterrupt:
            self._record(self._outcome(clock, interrupted=True), word)
            raise
        finally:
            self.interrupts.watch(None)
            for workers in (self.actors, self.waiters, self.watchers):
                workers.close()
        outcome = self._outcome(clock, interrupted=self.interrupts.count > 0)
        unkept: StackpyError | None = None
        try:
            self._record(outcome, word)
        except StackpyError as error:
            unkept = error  # a full disk: what had failed before is said with it
        if self.unexpected is not None:
            raise self.unexpected
        if outcome.failures and not outcome.interrupted:
            message, hint = failed_text(outcome)
            if unkept is not None:
                message, hint = f"{message}\n  {unkept.message}", unkept.hint or hint
            texts = {address: failure.message for address, failure in outcome.failures.items()}
            raise ApplyFailed(message, failures=texts, hint=hint)
        if unkept is not None:
            raise unkept
        return outcome

    def _walk(self) -> None:
        self._free(self.schedule.free())
        while self._is_busy():
            message = self._next()
            if message is None:
                continue
            if message.kind == "interrupt":
                if self.interrupts.count > 1:
                    raise KeyboardInterrupt
            elif message.kind == "performed":
                self._performed(message.subject, message.error)
            elif message.kind == "waited":
                self._waited(message.subject, message.error)
            else:
                self._settled(message.subject, message.error)
        if not self.interrupts.count:
            self._look_again()

    def _is_busy(self) -> bool:
        if self.performing:
            return True
        return not self.interrupts.count and bool(self.open_waits or self.settling)

    def _next(self) -> _Message | None:
        """The next message; meanwhile says what is waited for, once it lasts."""
        while True:
            due = min(self.unsaid.values(), default=None)
            try:
                return self.messages.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except Empty:
                now = time.monotonic()
                for (address, wait), when in list(self.unsaid.items()):
                    if when <= now:
                        del self.unsaid[address, wait]
                        subject = "it" if address == wait[0] else wait[0]
                        self.report(Event(address, "waiting", f"waiting until {subject} is {wait[1]}"))

    def _free(self, numbers: list[int]) -> None:
        """For changes that no other change holds up any more: asks for what they wait for, or begins them."""
        for number in numbers:
            waits = self.schedule.waits(number)
            for wait in sorted(waits):
                if wait not in self.asked:
                    self.asked.add(wait)
                    self.open_waits.add(wait)
                    self.waiters.submit(self._task("waited", wait, self._wait_for))
                self.unsaid[self.plan.changes[number].address, wait] = time.monotonic() + PATIENCE
            if not waits:
                self._begin(number)

    def _begin(self, number: int) -> None:
        if self.interrupts.count or number in self.performing:
            return
        self.performing.add(number)
        self.began[number] = time.monotonic()
        self.actors.submit(self._task("performed", number, self._perform))

    def _performed(self, number: int, error: BaseException | None) -> None:
        self.performing.discard(number)
        change = self.plan.changes[number]
        if isinstance(error, Interrupted):
            self.report(Event(change.address, "output", error.message))
            return
        if error is not None:
            self._fail(change.address, error)
            self._go_on_without(change.address)
            self._skipped(self.schedule.failed(number))
            return
        self.took[number] = time.monotonic() - self.began[number]
        self._free(self.schedule.done(number))
        # all replicas are waited for, so not before the last change of the address: one may be created after another
        numbers = self.of_address[change.address]
        if (
            self.wait
            and change.address.startswith("container.")
            and all(self.schedule.results[other] == "done" for other in numbers)
            and any(_settles(self.plan.changes[other]) for other in numbers)
        ):
            self._settle((change.address, "healthy"))

    def _waited(self, wait: Wait, error: BaseException | None) -> None:
        self._forget(wait)
        self.open_waits.discard(wait)
        if error is None:
            for number in self.schedule.met(wait):
                self._begin(number)
        elif not self.interrupts.count:
            self._fail(wait[0], error)
            self._go_on_without(wait[0])
            self._skipped(self.schedule.unmet(wait))

    def _go_on_without(self, address: str) -> None:
        """Begins what depends on something that has failed, but does not require it."""
        spared = self.schedule.spare(address)
        for number in spared:
            self.report(Event(self.plan.changes[number].address, "output", f"goes on without {address}"))
        self._free(spared)

    def _settle(self, wait: Wait) -> None:
        if wait not in self.settling:
            self.settling.add(wait)
            self.unsaid[wait[0], wait] = time.monotonic() + PATIENCE
            self.watchers.submit(self._task("settled", wait, self._wait_for))

    def _settled(self, wait: Wait, error: BaseException | None) -> None:
        self.settling.discard(wait)
        waited = (wait[0], wait) not in self.unsaid
        self._forget(wait)
        if error is None:
            now = self.settled[wait[0]] = time.monotonic()
            for number in self.of_address[wait[0]]:
                if self.plan.changes[number].action in _STARTING:
                    self.took[number] = now - self.began[number]
        if error is not None and not self.interrupts.count:
            self._fail(wait[0], error)
        elif error is None and waited:
            spec = self.specs[wait[0]]
            check = spec.fields.get("healthcheck") or {"test": ["NONE"]}
            self.report(Event(wait[0], "done", "running" if check.get("test") == ["NONE"] else "healthy"))

    def _look_again(self) -> None:
        """What ran when it was started may have died while the rest of the plan was done."""
        now = time.monotonic()
        started = [
            address for address, seen in self.settled.items() if now - seen > AGE and address not in self.failures
        ]
        if not started:
            return
        resources = self.engine.observe(self.plan.stack).resources
        for address in started:
            observed = resources.get(address)
            if observed is None or any(replica.status == "exited" for replica in observed.replicas):
                try:
                    self._wait_for((address, "healthy"))
                except StackpyError as error:
                    self._fail(address, error)

    def _forget(self, wait: Wait) -> None:
        for key in [key for key in self.unsaid if key[1] == wait]:
            del self.unsaid[key]

    def _fail(self, address: str, error: BaseException) -> None:
        if isinstance(error, StackpyError):
            failure = Failure(error.message, error.hint)
        else:
            self.unexpected = self.unexpected or error
            failure = Failure(f"unexpected {type(error).__name__}: {error}")
        if address not in self.failures:
            self.failures[address] = failure
            self.report(Event(address, "failed", failure.message.partition("\n")[0]))

    def _skipped(self, numbers: list[int]) -> None:
        for number in numbers:
            address = self.plan.changes[number].address
            self.report(Event(address, "skipped", f"skipped, because {self.schedule.blocked[address]} failed"))

    # --- the threads that act -------------------------------------------------------------------------------------

    def _task(self, kind: Any, subject: Any, act: Callable[[Any], None]) -> Callable[[], None]:
        def task() -> None:
            error: BaseException | None = None
            try:
                act(subject)
            except BaseException as caught:  # a thread must not die silently: whoever decides has to hear of it
                error = caught
            self.messages.put(_Message(kind, subject, error))

        return task

    def _perform(self, number: int) -> None:
        change = self.plan.changes[number]
        self.report(Event(change.address, "started", begun(change)))
        report = self._told_within(number) if change.snapshots else self.report
        self.engine.perform(change, self.desired, self.secrets, self.plan.generation, report)
        self.report(Event(change.address, "done", ended(change)))

    def _told_within(self, number: int) -> Report:
        """Hears of the changes that are made within another one."""
        numbers = {self.plan.changes[n].address: n for n in self.schedule.within(number)}

        def told(event: Event) -> None:
            inner = numbers.get(event.address)
            if inner is not None and event.kind == "started":
                self.began[inner] = time.monotonic()
                event = event._replace(text=begun(self.plan.changes[inner]))
            elif inner is not None and event.kind == "done":
                self.took[inner] = time.monotonic() - self.began[inner]
                self.schedule.done_within(inner)
                event = event._replace(text=ended(self.plan.changes[inner]))
            self.report(event)

        return told

    def _wait_for(self, wait: Wait) -> None:
        address, condition = wait
        self.engine.wait(self.plan.stack, self.specs[address], condition, self.timeout, _quiet(self.report))

    # --- what is kept ---------------------------------------------------------------------------------------------

    def _outcome(self, clock: float, *, interrupted: bool) -> Outcome:
        results = tuple(self.schedule.results)
        seconds = time.monotonic() - clock
        return Outcome(self.plan, results, self.failures, self.schedule.blocked, interrupted, seconds, self.took)

    def _record(self, outcome: Outcome, word: str) -> None:
        known = self._known(self.desired.stack.outputs) if word == "applied" else {}
        kept = document(outcome, known, self.circumstances, word)
        self.engine.record(self.plan.stack, self.plan.generation, kept)

    def _known(self, outputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outputs with what is known after the apply; what is not, of a container that does not run, is None."""
        from stackpy.dsl.deferred import has_marker, resolved

        if not has_marker(dict(outputs)):
            return outputs
        return resolved(outputs, lambda wanted: self.engine.found(self.plan.stack, wanted))

    def _keep_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Outputs may change while no resource does; they belong to the generation that is there."""
        kept = self.engine.recorded(self.plan.stack)
        outputs = self._known(outputs)
        if kept is not None and dict(kept.get("outputs", {})) != dict(outputs) and kept.get("outcome") != "destroyed":
            self.engine.record(self.plan.stack, int(kept["generation"]), {**kept, "outputs": dict(outputs)})


def _quiet(report: Report) -> Report:
    """Leaves out that something is waited for: whoever decides says so once it lasts."""

    def filtered(event: Event) -> None:
        if event.kind != "waiting":
            report(event)

    return filtered
