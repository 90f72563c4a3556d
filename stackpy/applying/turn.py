"""One turn of a loop that keeps a stack as its files say: plan, show, apply. `watch` and `reconcile` are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from stackpy.applying.executor import DEFAULT_TIMEOUT, execute
from stackpy.applying.interrupts import Interrupts
from stackpy.engines.completing import completed, with_outputs
from stackpy.planning.comparison import diff
from stackpy.planning.weighing import weighed
from stackpy.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from stackpy.applying.outcome import Outcome
    from stackpy.dsl.specs import StackSpec
    from stackpy.engines.base import SecretValues, StackEngine
    from stackpy.engines.events import Report
    from stackpy.planning.plan import Plan


class Loaded(Protocol):
    """What project.load gives."""

    @property
    def stack(self) -> StackSpec: ...
    @property
    def secrets(self) -> SecretValues: ...
    @property
    def inputs(self) -> Any: ...


class View(Protocol):
    """Who tells people what happens; only cli/ prints."""

    def plan(self, plan: Plan) -> None:
        """A plan that is about to be applied; never an empty one."""

    def progress(self) -> AbstractContextManager[Report]:
        """Around one apply: gives what its events are told to, from several threads."""

    def note(self, text: str) -> None:
        """A line of news."""


class Turn(NamedTuple):
    """What came of one turn; outcome is None when there was nothing to do."""

    plan: Plan
    outcome: Outcome | None


class Stopper(Interrupts):
    """Takes SIGINT and SIGTERM for a loop.

    While a plan is applied, a signal reaches the apply, which finishes what is running; at any other time nothing is
    under way, so that KeyboardInterrupt ends the loop at once, wherever it is.
    """

    def __init__(self, told: Callable[[int], None] | None = None) -> None:
        super().__init__(told)
        self._apply: Interrupts | None = None

    def interrupt(self) -> None:
        """See Interrupts."""
        super().interrupt()
        if self._apply is None:
            raise KeyboardInterrupt
        self._apply.interrupt()

    def preempt(self) -> None:
        """Makes a running apply finish what it is doing, because another turn follows; from any thread."""
        running = self._apply
        if running is not None and not running.count:
            running.interrupt()

    def applying(self) -> Interrupts:
        """The interrupts of an apply that begins now."""
        self._apply = Interrupts()
        return self._apply

    def idle(self) -> None:
        """No apply is running any more."""
        self._apply = None


def turn(
    loaded: Loaded,
    engine: StackEngine,
    view: View,
    stopper: Stopper,
    *,
    command: str,
    timeout: float = DEFAULT_TIMEOUT,
    lock_timeout: float | None = None,
) -> Turn:
    """Plans what was loaded and applies the plan, holding the stack meanwhile.

    command: as other commands are told for whom they wait
    timeout: seconds that a resource has to become healthy or completed
    Raises what `execute` and `resolve` raise, and LockTimeout.
    """
    stack = loaded.stack
    with engine.lock(stack.name, command, lock_timeout, lambda holder: view.note(f"waiting for {holder}")):
        desired = engine.resolve(stack, loaded.secrets)
        observation = engine.observe(stack.name)
        plan = completed(diff(desired, observation), stack.resources, engine)
        plan = with_outputs(plan, stack, engine, observation.generation)
        plan = weighed(plan, stack, observation, engine.took)
        if plan.denials:
            from stackpy.planning.judging import refuse_denied

            view.plan(plan)
            refuse_denied(plan)
        if not plan.changes:
            execute(plan, desired, loaded.secrets, engine, report=lambda event: None)  # keeps changed outputs
            return Turn(plan, None)
        view.plan(plan)
        interrupts = stopper.applying()
        try:
            with view.progress() as report:
                outcome = execute(
                    plan, desired, loaded.secrets, engine, report=report, interrupts=interrupts, timeout=timeout
                )
        finally:
            stopper.idle()
        return Turn(plan, outcome)
