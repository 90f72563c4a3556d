"""What `-v` tells of a plan's time."""

from __future__ import annotations

from stackpy.cli.timing import Times


def test_steps_are_told_in_their_order_with_their_sum() -> None:
    times = Times()
    assert times.text() == ""
    with times("diff"):
        pass
    with times("load"), times("observe"):
        pass
    times.spent = dict.fromkeys(times.spent, 0.012)
    assert times.text() == "load 12 ms, observe 12 ms, diff 12 ms: 36 ms"
