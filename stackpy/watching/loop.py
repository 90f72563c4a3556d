"""The loop of `watch`: load, apply, wait for a change; whatever goes wrong, what runs is left running.

A change that comes while a plan is applied lets the running actions finish and starts the next turn at once, instead of
waiting until the old version is healthy.
"""

from __future__ import annotations

import os
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from stackpy.applying.executor import DEFAULT_TIMEOUT
from stackpy.applying.turn import View, turn
from stackpy.errors import StackFileError, StackpyError
from stackpy.watching.places import newest, places
from stackpy.watching.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackpy.applying.turn import Loaded, Stopper, Turn
    from stackpy.engines.base import StackEngine
    from stackpy.watching.places import Places

COMMAND = "stackpy watch"
GRACE = 0.5  # seconds in which a missing or empty stack file may come back before anyone is told
CLOCK = 0.02  # seconds by which a file's time may lie behind the clock: the kernel takes the time of its last tick


class WatchView(View, Protocol):
    """Who tells people what happens."""

    def failed(self, error: StackpyError) -> None:
        """A turn failed; everything that ran runs on."""

    def turned(self, result: Turn) -> None:
        """A turn is over without a failure."""

    def waiting(self, changed: Iterable[str]) -> None:
        """Nothing is left to do until a file changes; `changed` started the turn before (sorted; () for the first)."""


def watch(
    load: Callable[[], Loaded],
    engine: StackEngine,
    view: WatchView,
    stopper: Stopper,
    *,
    files: Iterable[str],
    timeout: float = DEFAULT_TIMEOUT,
) -> None:
    """Applies the stack now and after each change of what it was loaded from, until SIGINT or SIGTERM.

    load: loads the stack file anew
    files: absolute paths that are watched in any case, the stack file first, then its settings: a first load that fails
        may say nothing of them
    stopper: entered by the caller; a signal ends the loop once the running actions are finished
    timeout: seconds that a resource has to become healthy or completed
    Raises StackpyError only when files cannot be watched.
    """
    _Loop(load, engine, view, stopper, tuple(files), timeout).run()


class _Loop:
    def __init__(
        self,
        load: Callable[[], Loaded],
        engine: StackEngine,
        view: WatchView,
        stopper: Stopper,
        files: tuple[str, ...],
        timeout: float,
    ) -> None:
        self.load, self.engine, self.view, self.stopper = load, engine, view, stopper
        self.files, self.timeout = files, timeout
        self.folders: tuple[str, ...] = ()
        self.known: tuple[str, ...] = files  # of the last load that told its inputs
        self.watcher: Watcher | None = None
        self.changes: SimpleQueue[frozenset[str]] = SimpleQueue()

    def run(self) -> None:
        try:
            changed: frozenset[str] = frozenset()
            while True:
                self._turn()
                if self.stopper.count:
                    return  # the signal came while a plan was applied
                self.view.waiting(sorted(changed))
                changed = self._next()
        except KeyboardInterrupt:
            if self.stopper.count == 0:
                raise  # not a signal that the stopper took
        finally:
            if self.watcher is not None:
                self.watcher.close()

    def _turn(self) -> None:
        import time

        began = time.time() - CLOCK
        if _is_empty(self.files[0]):
            # Some editors empty a file before they write it. As a stack it would mean: remove everything.
            self._follow(began)
            if not self._reappears():
                name = os.path.basename(self.files[0])
                self.view.failed(
                    StackpyError(
                        f"`{name}` is empty, and what runs is left running", hint="`stackpy destroy` removes it"
                    )
                )
            return
        try:
            loaded = self.load()
        except StackpyError as error:
            if isinstance(error, StackFileError):
                self._learn(error)
            self._follow(began)
            if self._reappears():
                return  # an editor was moving it; the change that this was starts the next turn
            self.view.failed(error)
            return
        self.known = (*self.files, *loaded.inputs.files, *loaded.inputs.modules)
        self.folders = tuple(loaded.inputs.folders)
        self._follow(began)  # before the plan: what changes while it is applied must be heard
        try:
            result = turn(loaded, self.engine, self.view, self.stopper, command=COMMAND, timeout=self.timeout)
        except StackpyError as error:
            if not self.stopper.count:
                self.view.failed(error)
            return
        if result.outcome is None or not result.outcome.interrupted:
            self.view.turned(result)
        elif not self.stopper.count:
            self.view.note("a file changed meanwhile: planning again")

    def _learn(self, error: StackFileError) -> None:
        """A load that failed may not have come far: what it tells is added to what the last good one told."""
        places_of_problems = [problem.location.file for problem in error.problems if problem.location]
        folders = [path for path in error.paths if os.path.isdir(path)]
        files = [path for path in error.paths if path not in folders]
        self.known = tuple(dict.fromkeys((*self.known, *files, *places_of_problems)))
        self.folders = tuple(dict.fromkeys((*self.folders, *folders)))

    def _reappears(self) -> bool:
        """Whether a stack file that is missing or empty comes back at once."""
        if os.path.exists(self.files[0]) and not _is_empty(self.files[0]):
            return False
        try:
            self.changes.put(self.changes.get(timeout=GRACE))
        except Empty:
            return False
        return True

    def _follow(self, began: float) -> None:
        """Watches what there is to watch now; whatever changed since the load began starts another turn."""
        wanted = places(self.known, self.folders)
        if self.watcher is not None and self.watcher.places == wanted:
            return
        self._rewatch(wanted)
        if newest(wanted.names) >= began:
            self._changed(frozenset())

    def _rewatch(self, wanted: Places) -> None:
        if self.watcher is not None:
            self.watcher.close()
            self.watcher = None
        while True:
            try:
                self.watcher = Watcher(wanted, self._changed)
                return
            except FileNotFoundError:
                wanted = places(self.known, self.folders)  # a folder went between looking and watching

    def _changed(self, paths: frozenset[str]) -> None:
        self.changes.put(paths)
        self.stopper.preempt()

    def _next(self) -> frozenset[str]:
        """Waits for a change, and takes all that came with it."""
        changed = self.changes.get()
        if not changed:
            # a watched folder was replaced, which may go on for a moment (git checkout, an editor's move)
            self._rewatch(places(self.known, self.folders))
        while True:
            try:
                changed |= self.changes.get_nowait()
            except Empty:
                return changed


def _is_empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except OSError:
        return False  # loading it says what is wrong
