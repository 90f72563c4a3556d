"""A terminal that is raw for a while, and one that is closed meanwhile."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

RAW = """
import time
from stackpy_runtime.host.terminals import RawTerminal
with RawTerminal(True):
    print("raw", flush=True)
    while True:
        time.sleep(0.01)
        print("going on", flush=True)
"""


@pytest.mark.parametrize("told", [signal.SIGHUP, signal.SIGCONT])
def test_a_closed_terminal_ends_a_client_without_a_word(told: signal.Signals) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", RAW],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # The kernel tells only those whose terminal it is.
        preexec_fn=None if told is signal.SIGCONT else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    with process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"raw\n"
        os.close(master)
        if told is signal.SIGCONT:
            process.send_signal(signal.SIGCONT)
            # The first may have been on its way.
            assert [process.stdout.readline() for _ in range(2)] == [b"going on\n"] * 2
            process.send_signal(signal.SIGHUP)
        assert process.wait(60) == -signal.SIGHUP
        assert process.stderr.read() == b""
