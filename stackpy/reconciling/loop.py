"""The loop of `reconcile`: fetch, load, plan, apply, wait. A failure ends a cycle, never the loop.

When the repository cannot be reached, the revision that was fetched last goes on being kept true. A revision that does
not load or apply leaves what runs running, and is tried again after ever longer pauses, a new one at once.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Literal, Protocol

from stackpy.applying import DEFAULT_TIMEOUT
from stackpy.applying.turn import View, turn
from stackpy.errors import ApplyFailed, StackpyError
from stackpy.reconciling.git import Repository
from stackpy.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy.applying import Outcome
    from stackpy.applying.turn import Loaded, Stopper
    from stackpy.engines.base import StackEngine
    from stackpy.planning.plan import Plan
    from stackpy.reconciling.source import Source

    Load = Callable[[str, str], Loaded]

COMMAND = "stackpy reconcile"
LOCK_TIMEOUT = 60.0  # seconds for which another command may hold the stack before the cycle gives up
LONGEST_PAUSE = 600.0  # seconds between two tries of a revision that fails, unless the interval is longer
NEWLINE = "\n"
SHORT = 7  # digits of a commit ID, as git shows it


class Cycle(NamedTuple):
    """What came of one cycle.

    result: "unchanged", "applied", "failed", or "interrupted" when a signal came while it was applied
    revision: commit ID; "" where none could be fetched yet
    fetched: False when the repository could not be reached and an earlier revision was kept true
    folder: where the revision's files lie; "" where it did not come to a checkout
    plan: None when it did not come to one
    error: what failed: the apply, or else the fetch
    """

    time: float
    revision: str
    result: Literal["unchanged", "applied", "failed", "interrupted"]
    fetched: bool
    folder: str
    plan: Plan | None
    error: StackpyError | None


class ReconcileView(View, Protocol):
    """Who tells people what happens."""

    def cycle(self, cycle: Cycle) -> None:
        """A cycle is over."""


def reconcile(
    source: Source,
    load: Load,
    engine: StackEngine,
    view: ReconcileView,
    stopper: Stopper,
    *,
    cache: str,
    interval: float | None,
    timeout: float = DEFAULT_TIMEOUT,
) -> bool:
    """Keeps the engine in step with a repository until SIGINT or SIGTERM; once when `interval` is None.

    load: loads the stack in a folder, under this name unless it gives itself another
    stopper: entered by the caller; a signal ends the loop once the running actions are finished
    cache: folder for mirrors and checkouts; binds of the stack lead into it
    interval: seconds between two cycles
    timeout: seconds that a resource has to become healthy or completed
    Returns whether the last cycle was good. Raises StackpyError when another reconcile of the source runs.
    """
    repository = Repository(cache, source)
    loop = _Loop(repository, load, engine, view, stopper, timeout)
    with repository.held():
        try:
            while True:
                good = loop.cycle()
                if interval is None or stopper.count:
                    return good
                loop.pause(interval)
        except KeyboardInterrupt:
            if not stopper.count:
                raise  # not a signal that the stopper took
            return loop.good


class _Loop:
    def __init__(
        self,
        repository: Repository,
        load: Load,
        engine: StackEngine,
        view: ReconcileView,
        stopper: Stopper,
        timeout: float,
    ) -> None:
        self.repository, self.load, self.engine = repository, load, engine
        self.view, self.stopper, self.timeout = view, stopper, timeout
        self.good = False
        self.failing = ""  # the revision that failed last
        self.failures = 0
        self.not_before = 0.0  # monotonic: when it is tried again

    def cycle(self) -> bool:
        """One cycle, told to the view; returns whether it was good."""
        began = time.time()
        revision, unreachable = self._fetch()
        if revision and revision == self.failing and time.monotonic() < self.not_before:
            return False
        plan: Plan | None = None
        top = ""
        error = unreachable
        result: Literal["unchanged", "applied", "failed", "interrupted"] = "failed"
        if revision:
            try:
                top = self.repository.checkout(revision)
                plan, outcome = self._apply(revision, top)
                result = "unchanged" if outcome is None else "interrupted" if outcome.interrupted else "applied"
                self.failing, self.failures = "", 0
            except StackpyError as caught:
                error = caught
                self.failures = self.failures + 1 if revision == self.failing else 1
                self.failing = revision
        self.good = result in ("unchanged", "applied") and unreachable is None
        self.view.cycle(Cycle(began, revision, result, unreachable is None, top, plan, error))
        return self.good

    def pause(self, interval: float) -> None:
        """Waits until the next cycle, during which a failing revision may be left alone."""
        if self.failing and self.not_before <= time.monotonic():
            longest = max(interval, LONGEST_PAUSE)
            self.not_before = time.monotonic() + min(interval * 2 ** min(self.failures - 1, 32), longest)
        time.sleep(interval)  # a signal ends it

    def _fetch(self) -> tuple[str, StackpyError | None]:
        """The revision to keep true, and why it is not known to be the newest."""
        try:
            return self.repository.fetch(), None
        except StackpyError as error:
            try:
                return self.repository.revision(), error
            except StackpyError:
                return "", error  # nothing was ever fetched

    def _apply(self, revision: str, top: str) -> tuple[Plan, Outcome | None]:
        source = self.repository.source
        folder = os.path.join(top, source.path) if source.path else top
        if not os.path.isdir(folder):
            raise StackpyError(f"there is no folder `{source.path}` in {revision[:SHORT]}", hint="see --path")
        if os.path.realpath(folder) != os.path.normpath(folder) and not _inside(folder, top):
            raise StackpyError(f"`{source.path}` is a link out of the repository", hint="see --path")
        loaded = self.load(folder, source.name)
        return turn(
            loaded,
            self.engine,
            self.view,
            self.stopper,
            command=COMMAND,
            timeout=self.timeout,
            lock_timeout=LOCK_TIMEOUT,
        )


def _inside(folder: str, top: str) -> bool:
    real = os.path.realpath(top)
    return os.path.commonpath([os.path.realpath(folder), real]) == real


def _reason(error: StackpyError) -> str:
    """An error in one line: of an apply, what failed rather than how much."""
    if isinstance(error, ApplyFailed) and error.failures:
        texts = [f"{address}: {text.partition(NEWLINE)[0]}" for address, text in error.failures.items()]
        return "; ".join(texts)
    return error.message.partition(NEWLINE)[0]


def cycle_text(cycle: Cycle) -> str:
    """A cycle's line: time, revision, outcome, changes."""
    parts = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(cycle.time)), cycle.revision[:SHORT] or "-", cycle.result]
    if cycle.plan is not None and cycle.plan.changes and cycle.result != "failed":
        counts: dict[str, int] = {}
        for change in cycle.plan.changes:
            counts[change.action.word] = counts.get(change.action.word, 0) + 1
        parts.append(", ".join(f"{count} to {word}" for word, count in counts.items()))
    text = " ".join(parts)
    if cycle.error is not None:
        first = _reason(cycle.error)
        where = ""
        if cycle.error.location is not None:
            file = cycle.error.location.file.removeprefix(f"{cycle.folder}/")
            where = f"{file}:{cycle.error.location.line}: "
        text += f": {where}{first}" if cycle.result == "failed" else f" ({where}{first})"
    return text
