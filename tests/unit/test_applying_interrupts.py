"""A terminal that is closed interrupts an apply as Ctrl-C does, and nothing is written to it any more."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from stackpy.applying.interrupts import Interrupts
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with Interrupts() as interrupts:
    os.write(1, b"ready\\n")
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGHUP)
    os.write(1, str(interrupts.count).encode())
    if interrupts.count:
        os.write(2, b"written to nowhere")
"""


@pytest.mark.parametrize(("words", "count"), [([], "1"), (["nohup"], "0")])
def test_a_closed_terminal(words: list[str], count: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    assert process.stdout and process.stdout.readline() == "ready\n"
    os.close(ours)  # from here on a write to it fails
    assert process.communicate("go\n")[0] == count
    assert process.returncode == 0
