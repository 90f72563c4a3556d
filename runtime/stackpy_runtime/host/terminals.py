"""The caller's own terminal: raw while a container has it, and as before afterwards, whatever happens to us."""

from __future__ import annotations

# `signal` costs more to import than all that it is needed for here.
import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[int, Any], None]

_MOST_DESCRIPTORS = 1 << 20
ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)


def terminal_size() -> tuple[int, int]:
    """Rows and columns of the caller's terminal; (24, 80) when it has none."""
    for descriptor in (0, 1, 2):
        try:
            size = os.get_terminal_size(descriptor)
        except OSError:
            continue
        return (size.lines, size.columns)
    return (24, 80)


class RawTerminal:
    """While it is entered, and `wanted`, the caller's terminal passes every key on; it is as before afterwards.

    A small process stands guard, for what no handler of ours sees: it puts the terminal back when this process is
    killed. Stopped and continued, by whatever signal, the terminal is raw again.

    again: called when this process goes on after it was stopped
    """

    def __init__(self, wanted: bool, again: Callable[[], None] = lambda: None) -> None:
        self.wanted = wanted and os.isatty(0)
        self.again = again

    def __enter__(self) -> None:
        if not self.wanted:
            return
        import termios
        import tty

        self.before = termios.tcgetattr(0)
        watched, self.line = os.pipe2(os.O_CLOEXEC)
        ready, stands = os.pipe2(os.O_CLOEXEC)
        self.guard = os.fork()
        if not self.guard:
            self._stand_guard(watched, stands)
        os.close(watched)
        os.close(stands)
        # Only what stands apart from us outlives what ends us: the end of a session ends all in it.
        os.read(ready, 1)
        os.close(ready)
        # what was typed ahead stays: the default would throw it away
        tty.setraw(0, termios.TCSANOW)
        handlers: dict[int, Handler] = dict.fromkeys(ENDING, self._end)
        self.signals = Signals({**handlers, _signal.SIGCONT: self._continue})
        self.signals.__enter__()

    def _continue(self, *_: object) -> None:
        import termios
        import tty

        try:
            tty.setraw(0, termios.TCSANOW)
        except termios.error:
            return  # closed: SIGHUP comes with it, and ends us
        self.again()

    def _end(self, number: int, _: Any) -> None:
        """Ends as the signal would have ended us, the terminal put back before anybody prints on it."""
        self._put_back(when_drained=False)
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _put_back(self, *, when_drained: bool) -> None:
        import termios

        try:
            termios.tcsetattr(0, termios.TCSADRAIN if when_drained else termios.TCSANOW, self.before)
        except termios.error:
            # The terminal has hung up: there is none any more.
            pass

    def _stand_guard(self, watched: int, stands: int) -> None:
        """The guard's process: ends when the line is closed, after a word without having to do anything."""
        import termios

        try:
            # Out of the terminal's session: no key and no shell's job control reaches it, and it may still set it.
            os.setsid()
            for number in (*ENDING, _signal.SIGTTOU):
                _signal.signal(number, _signal.SIG_IGN)
            os.write(stands, b"r")
            os.dup2(watched, 1)
            os.closerange(2, _MOST_DESCRIPTORS)
            if not os.read(1, 1):
                termios.tcsetattr(0, termios.TCSANOW, self.before)
        finally:
            os._exit(0)

    def __exit__(self, *_: object) -> None:
        if not self.wanted:
            return
        self.signals.__exit__()
        self._put_back(when_drained=True)
        os.write(self.line, b"d")
        os.close(self.line)
        os.waitpid(self.guard, 0)


class Signals:
    """Handles signals while it is entered."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        self.handlers = handlers

    def __enter__(self) -> None:
        try:
            self.before = {number: _signal.signal(number, handler) for number, handler in self.handlers.items()}
        except ValueError:
            # Only a process's main thread may; a shell in a build's step is held by another, and its size stays.
            self.before = {}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            _signal.signal(number, handler)


class Wakeup:
    """While it is entered, its descriptor becomes readable when a signal comes.

    Whoever waits without it may have begun to wait between the signal and its handler, which then comes after the wait.
    """

    def __enter__(self) -> Wakeup:
        self.reading, self.writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.before = _signal.set_wakeup_fd(self.writing, warn_on_full_buffer=False)
        except ValueError:
            # Not the main thread, which has no handlers either.
            self.before = None
        return self

    def fileno(self) -> int:
        """What to wait for."""
        return self.reading

    def seen(self) -> None:
        """Empties it; handlers have run by then."""
        try:
            os.read(self.reading, 512)
        except BlockingIOError:
            pass

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            _signal.set_wakeup_fd(self.before)
        os.close(self.reading)
        os.close(self.writing)
