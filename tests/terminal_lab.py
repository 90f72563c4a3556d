"""A pseudo terminal for tests: a command of ours on it, and waiting for what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.engine_lab import Lab
from tests.waiting import PATIENT

DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q


@contextmanager
def terminal(lab: Lab, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of 40 rows and 100 columns; the controlling side is given."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        lab.command(*words),
        env=lab.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def until(master: int, text: str, timeout: float = PATIENT) -> str:
    """What a terminal shows up to `text`."""
    shown = b""
    end = time.monotonic() + timeout
    while text.encode() not in shown:
        ready, _, _ = select.select([master], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no `{text}` in {shown!r}"
        try:
            data = os.read(master, 65536)
        except OSError:
            data = b""
        assert data, f"no `{text}` in {shown!r}"
        shown += data
    return shown.decode(errors="replace").replace("\r\n", "\n")


def is_raw(master: int) -> bool:
    """Whether what is on a terminal gets every key."""
    return not termios.tcgetattr(master)[3] & termios.ICANON


def resize(master: int, rows: int, columns: int) -> None:
    """Gives a terminal another size."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
