"""Lines of several containers on one terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stackpy.cli.log_lines import follow, merged, show
from stackpy.errors import StackpyError


def line(time: int, text: str, stream: str = "stdout") -> dict[str, Any]:
    return {"time": f"2026-01-01T00:00:0{time}Z", "stream": stream, "text": text}


A = [line(1, "one\n"), line(3, "three\n", "stderr")]
B = [line(2, "two\n"), line(4, "fo"), line(5, "ur\n")]


def test_merged_by_time() -> None:
    found = [(name, document["text"]) for name, document in merged({"a": A, "b": B})]
    assert found == [("a", "one\n"), ("b", "two\n"), ("a", "three\n"), ("b", "fo"), ("b", "ur\n")]


def test_follow_gives_every_line_and_ends_when_all_have_ended() -> None:
    found = sorted((name, document["time"]) for name, document in follow({"a": A, "b": B, "c": []}))
    assert found == sorted([*(("a", one["time"]) for one in A), *(("b", one["time"]) for one in B)])


def test_follow_raises_what_one_ended_with_behind_the_lines_of_the_others() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield line(0, "before\n")
        raise StackpyError("gone")

    found = []
    with pytest.raises(StackpyError, match="gone"):
        for name, document in follow({"a": A, "b": broken()}):
            found.append((name, document["text"]))
    assert sorted(found) == [("a", "one\n"), ("a", "three\n"), ("b", "before\n")]


def test_one_container_is_shown_as_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    show([("b", each) for each in [*A, *B]], [], timestamps=False)
    assert tuple(capsys.readouterr()) == ("one\ntwo\nfour\n", "three\n")


def test_a_time_stands_before_each_line_not_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    show([("b", each) for each in B], [], timestamps=True)
    assert capsys.readouterr().out == "2026-01-01T00:00:02Z two\n2026-01-01T00:00:04Z four\n"


def test_several_have_their_names_in_front(capsys: pytest.CaptureFixture[str]) -> None:
    show(merged({"web-1": A, "counter": B}), ["web-1", "counter"], timestamps=False)
    captured = capsys.readouterr()
    assert captured.out == "web-1   | one\ncounter | two\ncounter | fo\ncounter | ur\n"
    assert captured.err == "web-1   | three\n"
