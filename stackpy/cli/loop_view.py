"""What the loops of `watch` and `reconcile` show: plans on stdout, everything else on stderr."""

from __future__ import annotations

import sys

from stackpy.cli import failures, terminal
from stackpy.cli.commands.plan import show
from stackpy.cli.stacks import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from stackpy.applying.turn import Turn
    from stackpy.cli.context import Context
    from stackpy.engines.events import Report
    from stackpy.errors import StackpyError
    from stackpy.planning.plan import Plan
    from stackpy.reconciling import Cycle


class LoopView:
    """Prints what a loop does."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def plan(self, plan: Plan) -> None:
        """The plan that is about to be applied."""
        show(plan, self._context.globals.format)
        sys.stdout.flush()

    def progress(self) -> AbstractContextManager[Report]:
        """How an apply goes."""
        return progress(self._context)

    def note(self, text: str) -> None:
        """A line of news."""
        if not self._context.globals.quiet:
            terminal.note(text)

    def failed(self, error: StackpyError) -> None:
        """What went wrong; what runs is left running."""
        failures.report(error, self._context)

    def turned(self, result: Turn) -> None:
        """How an apply went."""
        from stackpy.applying import outcome_text

        if result.outcome is not None:
            self.note(outcome_text(result.outcome))

    def cycle(self, cycle: Cycle) -> None:
        """A cycle of `reconcile` is over: its line is the command's output."""
        from stackpy.reconciling import cycle_text

        print(cycle_text(cycle), flush=True)
        if cycle.error is not None and self._context.globals.verbose:
            failures.report(cycle.error, self._context)

    def waiting(self, changed: Iterable[str]) -> None:
        """Nothing is left to do."""
        self.note("waiting for changes; Ctrl-C leaves everything running")
