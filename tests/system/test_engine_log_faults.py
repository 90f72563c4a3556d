"""The log under faults: whatever its writer is killed at and however full the disk, no line is lost or twice."""

from __future__ import annotations

import errno
import os
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container import log_reading
from stackpy_runtime.container.logs import LONGEST_LINE, Recorder

CALLS = ("open", "write", "pwrite", "rename", "unlink", "ftruncate", "close")


def texts(folder: Path) -> str:
    return "".join(line["text"] for line in log_reading.lines(log_reading.read(str(folder))))


def _written(folder: Path, lines: list[str], max_size: int, max_file: int) -> None:
    """Records `lines` beyond those that the spool has already, a few at a time."""
    recorder = Recorder(str(folder), max_size, max_file)
    whole = "".join(lines).encode()
    recorder.record()
    while recorder.spools[0].end < len(whole):
        end = recorder.spools[0].end
        recorder.spools[0].append(whole[end : end + 170])
        recorder.record()
    recorder.record(last=True)
    recorder.close()


def _killed_at(number: int, after: bool, work: Callable[[], None]) -> bool:
    """Runs `work` in a fork that dies at its n-th system call; whether it came so far."""
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, 9)
        return code == 9
    left, exit_now = [number], os._exit

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0] and not after:
                exit_now(9)
            try:
                return call(*arguments, **options)
            finally:
                if not left[0]:
                    exit_now(9)

        return wrapper

    try:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        work()
        exit_now(0)
    finally:
        traceback.print_exc()
        exit_now(1)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("twice", [False, True])
def test_killed_at_any_call_no_line_is_lost_or_twice(tmp_path: Path, after: bool, twice: bool) -> None:
    lines = [f"line {number}\n" for number in range(26)]
    number = 0
    while True:
        number += 1
        folder = tmp_path / f"{number}"
        folder.mkdir()
        died = _killed_at(number, after, lambda: _written(folder, lines, 600, 100))  # noqa: B023 - run at once
        if died and twice:
            # What comes back is killed as well, early.
            for again in (2, 4, 5, 6):
                _killed_at(again, after, lambda: _written(folder, lines, 600, 100))  # noqa: B023
        _written(folder, lines, 600, 100)
        assert texts(folder) == "".join(lines), number
        if not died:
            break
    assert number > 40


@pytest.mark.parametrize("size", [LONGEST_LINE - 1, LONGEST_LINE, LONGEST_LINE + 1, 3 * LONGEST_LINE, 70_001])
@pytest.mark.parametrize("letter", ["x", "é", "€", "𝄞"])
@pytest.mark.parametrize("shift", [0, 1])
def test_long_lines_are_parted_between_letters(tmp_path: Path, size: int, letter: str, shift: int) -> None:
    text = "a" * shift + letter * size
    recorder = Recorder(str(tmp_path), 10 << 20, 2)
    for start in range(0, len(text.encode()), 5000):
        recorder.spools[1].append(text.encode()[start : start + 5000])
        recorder.record()
    recorder.spools[1].append(b"\nend\n")
    recorder.record()
    recorder.close()
    assert texts(tmp_path) == f"{text}\nend\n"


def test_a_file_of_the_log_is_no_larger_than_it_may_be(tmp_path: Path) -> None:
    """Short lines grow most: each has a time before it."""
    recorder = Recorder(str(tmp_path), 100_000, 3)
    recorder.spools[0].append(b"y\n" * 500_000)
    recorder.record()
    recorder.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("log*") if path.name != "log.state"}
    assert sizes.keys() == {"log", "log.1", "log.2"}
    assert max(sizes.values()) <= 100_000
    assert sizes["log.1"] > 90_000


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
@pytest.mark.parametrize("source", ["pipe", "terminal"])
def test_on_a_full_disk_the_log_waits_and_loses_nothing(small_disk: Path, source: str) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (200 << 10))
    recorder = Recorder(str(small_disk), 10 << 20, 3)
    lines = [f"line {number}\n" for number in range(4000)]
    pending = "".join(lines).encode()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    full = 0
    while pending or full:
        full = 0
        try:
            if source == "pipe":
                try:
                    pending = pending[os.write(writing, pending[:4096]) :] if pending else pending
                except BlockingIOError:
                    pass
                recorder.spools[0].take(reading)
            else:
                # A terminal's bytes are ours once they are read: what cannot be written now must not be forgotten.
                recorder.spools[0].append(b"")
                chunk, pending = pending[:4096], pending[4096:]
                recorder.spools[0].append(chunk)
            recorder.record()
        except OSError as error:
            assert error.errno == errno.ENOSPC
            full += 1
            if ballast.exists():
                os.truncate(ballast, max(0, ballast.stat().st_size - 16384))
            assert not ballast.exists() or ballast.stat().st_size or pending is not None
    recorder.record(last=True)
    recorder.close()
    os.close(reading)
    os.close(writing)
    assert texts(small_disk) == "".join(lines)
