"""Logs: rendering, rotation, and what a new recorder makes of what an old one left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.container import log_reading, logs
from stackpy_runtime.container.logs import LONGEST_LINE, Recorder


def texts(folder: Path) -> list[str]:
    return [line["text"] for line in log_reading.lines(log_reading.read(str(folder)))]


def test_render_leaves_what_is_not_a_whole_line() -> None:
    assert logs.render("stdout", b"a\nbc", "T", last=False) == (b"T stdout F a\n", 2)
    assert logs.render("stdout", b"a\nbc", "T", last=True) == (b"T stdout F a\nT stdout P bc\n", 4)
    long = b"x" * (LONGEST_LINE + 1)
    assert logs.render("stderr", long, "T", last=False) == (b"T stderr P " + long[:-1] + b"\n", LONGEST_LINE)


@given(st.lists(st.text(st.sampled_from("ab\n é"), max_size=60), max_size=20))
def test_what_is_read_is_what_was_written_however_it_came(chunks: list[str]) -> None:
    out, rest = b"", b""
    for chunk in chunks:
        rest += chunk.encode()
        text, done = logs.render("stdout", rest, "T", last=False)
        out, rest = out + text, rest[done:]
    out += logs.render("stdout", rest, "T", last=True)[0]
    read = [log_reading.parse(line + b"\n") for line in out.split(b"\n")[:-1]]
    assert "".join(line["text"] for line in read if line) == "".join(chunks)


def test_a_recorder_that_was_killed_before_it_said_how_far_loses_and_doubles_nothing(tmp_path: Path) -> None:
    first = Recorder(str(tmp_path), 1 << 20, 3)
    first.spools[0].append(b"one\ntwo\nthr")
    first.record()
    state = (tmp_path / "log.state").read_bytes()
    first.spools[0].append(b"ee\nfour\n")
    first.record()
    first.close()
    # As if the process had died between writing the log and the state.
    (tmp_path / "log.state").write_bytes(state)
    second = Recorder(str(tmp_path), 1 << 20, 3)
    second.spools[0].append(b"five")
    second.record(last=True)
    second.close()
    assert texts(tmp_path) == ["one\n", "two\n", "three\n", "four\n", "five"]


def test_rotation_keeps_so_many_files_of_such_a_size(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path), 400, 3)
    for number in range(100):
        recorder.spools[number % 2].append(f"line {number}\n".encode())
        recorder.record()
    recorder.close()
    files = sorted(
        name for name in os.listdir(tmp_path) if name == "log" or (name.startswith("log.") and name != "log.state")
    )
    assert files == ["log", "log.1", "log.2"]
    assert all((tmp_path / name).stat().st_size <= 400 for name in files)
    kept = texts(tmp_path)
    assert kept == [f"line {number}\n" for number in range(100 - len(kept), 100)]


@pytest.mark.parametrize("tail", [0, 1, 2, 5, 30, 99, 100, 1000])
def test_tail_reads_from_the_end_through_all_files(tmp_path: Path, tail: int) -> None:
    recorder = Recorder(str(tmp_path), 2000, 4)
    for number in range(100):
        recorder.spools[0].append(f"line {number}\n".encode())
        recorder.record()
    recorder.close()
    kept = texts(tmp_path)
    found = list(log_reading.lines(log_reading.read(str(tmp_path), tail=tail)))
    assert [line["text"] for line in found] == kept[max(0, len(kept) - tail) :]


def test_tail_of_lines_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path), 1 << 22, 2)
    for letter in "abc":
        recorder.spools[0].append(letter.encode() * 200_000 + b"\n")
    recorder.record()
    recorder.close()
    found = b"".join(data for _, data in log_reading.plain(b"".join(log_reading.read(str(tmp_path)))))
    assert found == b"".join(letter * 200_000 + b"\n" for letter in (b"a", b"b", b"c"))
    parts = list(log_reading.lines(log_reading.read(str(tmp_path), tail=13)))
    assert (len(parts), parts[0]["text"][:1], parts[-1]["text"][-1:]) == (13, "c", "\n")


def test_between_two_times() -> None:
    def line(second: int, text: str) -> bytes:
        return f"2026-01-31T12:00:{second:02d}.000000Z stdout F {text}\n".encode()

    block = b"".join(line(second, f"at {second}") for second in range(10))
    kept = log_reading.between([block], "2026-01-31T12:00:03.000000Z", "2026-01-31T12:00:05.000000Z")
    assert [each["text"] for each in log_reading.lines(kept)] == ["at 3\n", "at 4\n", "at 5\n"]
    assert list(log_reading.between([block], None, "2026-01-31T11:00:00.000000Z")) == []
    assert list(log_reading.between([block], None, None)) == [block]


def test_what_was_written_comes_back_as_it_was_written() -> None:
    now = "2026-01-31T12:00:00.000000Z"
    whole = f"{now} stdout F a b\r\n{now} stdout F \n{now} stdout F {now} stderr P \n".encode()
    assert list(log_reading.plain(whole)) == [(b"stdout", f"a b\r\n\n{now} stderr P \n".encode())]
    mixed = f"{now} stdout P par\n{now} stdout F t\n{now} stderr F oops\n{now} stdout P end\n".encode()
    assert list(log_reading.plain(mixed)) == [(b"stdout", b"part\n"), (b"stderr", b"oops\n"), (b"stdout", b"end")]
    assert list(log_reading.plain(b"")) == []


def test_following_goes_on_through_rotation_and_ends_with_the_container(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path), 200, 2)
    recorder.spools[0].append(b"early\n")
    recorder.record()
    written = iter(range(40))

    def running() -> bool:
        number = next(written, None)
        if number is None:
            return False
        recorder.spools[0].append(f"line {number}\n".encode())
        recorder.record()
        return True

    seen = [line["text"] for line in log_reading.lines(log_reading.follow(str(tmp_path), running, pause=0))]
    recorder.close()
    assert seen[0] == "early\n"
    assert seen[-1] == "line 39\n"
