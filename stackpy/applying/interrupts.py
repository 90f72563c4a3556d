"""How a signal reaches an apply: the first asks it to stop after what is running, the second stops it at once."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
    from types import FrameType, TracebackType
    from typing import Any
else:
    import _signal as signal  # all but the enumerations, whose import costs 4 ms


class Interrupts:
    """Counts interrupts. As a context manager it takes SIGINT, SIGTERM and SIGHUP, and gives them back.

    SIGHUP, the terminal was closed, stays ignored where it is: nohup asks for that.

    told: called at each interrupt with its number, for the line that tells people what happens now; it runs inside a
        signal handler and must only write
    """

    def __init__(self, told: Callable[[int], None] | None = None) -> None:
        self.count = 0
        self._told = told
        self._wake: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def interrupt(self) -> None:
        """One more interrupt; safe in a signal handler."""
        self.count += 1
        if self._told is not None:
            self._told(self.count)
        if self._wake is not None:
            self._wake()

    def watch(self, wake: Callable[[], None] | None) -> None:
        """Sets what is called at an interrupt; it must be safe in a signal handler."""
        self._wake = wake

    def __enter__(self) -> Interrupts:
        self._take((signal.SIGINT, signal.SIGTERM))
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            self._take((signal.SIGHUP,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _take(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._before[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        self.interrupt()


def _let_go_of_terminal() -> None:
    """Leads what is written from now on nowhere: a terminal that has gone fails every write (EIO)."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        try:
            if os.fstat(descriptor).st_mode & 0o170000 == 0o020000:  # a character device
                os.dup2(nowhere, descriptor)
        except OSError:
            continue  # it is closed
    os.close(nowhere)
