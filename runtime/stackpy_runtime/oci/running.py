"""run, and exec in the foreground: the container's output is the caller's, and so is its exit code."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import termios
import tty
from typing import TYPE_CHECKING

from stackpy_runtime.linux import processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
PIECE = 1 << 16


class Attendant:
    """Waits for a process in the foreground. Made before it is forked: it will be ours, and so are its signals."""

    def __init__(self) -> None:
        # Has the processes that are forked from now on come to us when their parents have ended.
        processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
        self.pidfd = -1
        self.early: list[int] = []  # signals that came before there was a process
        for number in _FORWARDED:
            signal.signal(number, self._got)

    def _got(self, number: int, frame: FrameType | None) -> None:
        if self.pidfd < 0:
            self.early.append(number)
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def attend(self, pid: int, console: int) -> int:
        """Waits for a process that has come to us; its exit code, 128+n for signal n.

        console: the controlling side of its terminal, or -1 where it has our own standard streams
        """
        self.pidfd = os.pidfd_open(pid)
        for number in self.early:
            self._got(number, None)
        restore = _raw(console)
        try:
            if console >= 0:
                _carry(console, self.pidfd)
            status = os.waitpid(pid, 0)[1]
        finally:
            restore()
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def keep_line_ends(console: int) -> None:
    """Has a line end as it was written, as in runc's: our own terminal makes two characters of it, a file gets one.

    Before the program runs, or the first lines would be others.
    """
    modes = termios.tcgetattr(console)
    modes[tty.OFLAG] &= ~termios.ONLCR
    termios.tcsetattr(console, termios.TCSANOW, modes)


def _raw(console: int) -> Callable[[], None]:
    """Hands our terminal's keys and size over to the container's; returns what undoes that."""
    if console < 0 or not os.isatty(0):
        return lambda: None
    before = termios.tcgetattr(0)

    def resize(*_: object) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(console, termios.TIOCSWINSZ, size)

    if struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))[0]:
        resize()
    signal.signal(signal.SIGWINCH, resize)
    tty.setraw(0)
    modes = termios.tcgetattr(0)
    modes[tty.OFLAG] |= termios.OPOST
    termios.tcsetattr(0, termios.TCSADRAIN, modes)
    return lambda: termios.tcsetattr(0, termios.TCSADRAIN, before)


def _carry(console: int, pidfd: int) -> None:
    """Carries what is typed to the terminal and what it shows to our output, until nothing more is shown."""
    line = select.poll()
    line.register(console, select.POLLIN)
    line.register(pidfd, select.POLLIN)
    line.register(0, select.POLLIN)
    ended = False
    while True:
        ready = {descriptor for descriptor, _ in line.poll(100 if ended else None)}
        if pidfd in ready:
            ended = True
            line.unregister(pidfd)
        if console in ready:
            try:
                data = os.read(console, PIECE)
            except OSError as error:
                # EIO: nobody has the other side open any more.
                if error.errno != errno.EIO:
                    raise
                data = b""
            if not data:
                return
            write_all(1, data)
        elif ended:
            return
        if 0 in ready:
            data = os.read(0, PIECE)
            if data:
                write_all(console, data)
            else:
                line.unregister(0)
                write_all(console, b"\x04")  # the end of what is typed, as terminals know it


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it."""
    while data:
        data = data[os.write(descriptor, data) :]
