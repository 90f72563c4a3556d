"""Progress: a line per event for files and pipes, a live view for people."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from collections.abc import Callable

from stackpy.engines.events import Event
from stackpy.render.progress import LiveProgress, progress

EVENTS = [
    Event("image.a", "started", "building 1 of 2 steps"),
    Event("image.a", "step", "FROM host sh", 1, 2, True),
    Event("image.a", "step", "RUN make", 2, 2),
    Event("image.a", "output", "cc\tmain.c \x1b[31mred"),
    Event("image.a", "failed", "step 2/2 RUN make: exited with 2"),
    Event("container.a", "skipped", "skipped, because image.a failed"),
    Event("container.b", "waiting", "waiting until container.db is healthy"),
    Event("container.b", "started", "creating"),
    Event("container.b", "done", "created"),
]


def test_lines() -> None:
    stream = io.StringIO()
    with progress(stream, live=False) as report:
        for event in EVENTS:
            report(event)
    assert stream.getvalue().splitlines() == [
        "image.a: building 1 of 2 steps",
        "image.a: step 1/2 FROM host sh (cached)",
        "image.a: step 2/2 RUN make",
        r"image.a: cc  main.c \x1b[31mred",
        "image.a: failed: step 2/2 RUN make: exited with 2 (0.0 s)",
        "container.a: skipped, because image.a failed",
        "container.b: waiting until container.db is healthy",
        "container.b: creating",
        "container.b: created (0.0 s)",
    ]


def test_lines_of_several_threads_stay_whole() -> None:
    stream = io.StringIO()
    with progress(stream, live=False) as report:
        threads = [
            threading.Thread(target=lambda n=n: [report(Event(f"c{n}", "output", "x" * 50)) for _ in range(50)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {re.sub(r"^c\d", "", line) for line in stream.getvalue().splitlines()} == {": " + "x" * 50}


def test_lines_that_nobody_reads_any_more_fail_no_change() -> None:
    """`apply 2>&1 | head`: an error of the write would end the apply in the midst of its changes."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", closefd=False) as stream:
        with progress(stream, live=False) as report:
            for event in EVENTS:
                report(event)
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # where the interpreter's last flush may go
    os.close(writing)


def test_a_short_apply_needs_no_live_view() -> None:
    stream = io.StringIO()
    with progress(stream, live=True) as report:
        for event in EVENTS:
            report(event)
    assert stream.getvalue().splitlines() == [
        "✗ image.a: failed: step 2/2 RUN make: exited with 2 (0.0 s)",
        "- container.a: skipped, because image.a failed",
        "✓ container.b: created (0.0 s)",
    ]


def on_a_terminal(act: Callable[[LiveProgress], None], until: str) -> str:
    """What a terminal got by the time that `until` was written to it, and all after."""
    leader, follower = pty.openpty()
    seen: list[str] = []
    there = threading.Event()

    def read() -> None:
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:  # EIO: the other end is closed (tty_ioctl(4))
                return
            if not data:
                return
            seen.append(data.decode(errors="replace"))
            if until in "".join(seen):
                there.set()

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, "w") as stream, LiveProgress(stream, colour=False) as report:
        act(report)
        assert there.wait(60), "".join(seen)
        report(Event("image.a", "done", "built"))
    reader.join()
    os.close(leader)
    return "".join(seen)


def test_a_long_apply_shows_what_runs_and_leaves_what_is_over() -> None:
    def act(report: LiveProgress) -> None:
        report(Event("image.a", "started", "building"))
        report(Event("image.a", "step", "RUN make", 2, 2))
        report(Event("container.b", "started", "creating"))
        report(Event("container.b", "done", "created"))

    text = on_a_terminal(act, "step 2/2 RUN make")
    plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text)
    assert "✓ container.b: created (0.0 s)" in plain
    assert re.search(r"image\.a +step 2/2 RUN make +\d\.\d s", plain)
    assert re.search(r"✓ image\.a: built \(\d\.\d s\)", plain)
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is visible again"


def test_a_terminal_that_is_closed_in_the_moment_of_a_line_fails_no_change() -> None:
    """Whatever the apply does for SIGHUP, it does: the error of a write must not come before."""
    leader, follower = pty.openpty()
    with open(follower, "w", closefd=False) as stream:
        with LiveProgress(stream, colour=False) as report:
            os.close(leader)
            report(Event("image.a", "done", "built"))
        os.dup2(os.open(os.devnull, os.O_WRONLY), follower)  # what is buffered goes where SIGHUP leads it
    os.close(follower)
