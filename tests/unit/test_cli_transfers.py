"""What is seen of pulls and pushes: a line for what is over, and bars on a terminal for what is under way."""

from __future__ import annotations

import io

from stackpy.cli.transfers import Transfers, bar

EVENTS = [
    {"kind": "state", "text": "layer 1 of 2: already there"},
    {"kind": "download", "text": "layer 2 of 2", "done": 1_000_000, "total": 4_000_000},
    {"kind": "download", "text": "layer 2 of 2", "done": 4_000_000, "total": 4_000_000},
]


def seen(live: bool) -> str:
    stream = io.StringIO()
    with Transfers(stream, live=live) as report:
        for event in EVENTS:
            report(event)
    return stream.getvalue()


def test_without_a_terminal_a_line_tells_what_is_over() -> None:
    first, second = seen(live=False).splitlines()
    assert first == "layer 1 of 2: already there"
    assert second.startswith("layer 2 of 2: received 4MB (") and second.endswith("/s)")


def test_on_a_terminal_bars_stand_beneath_and_go() -> None:
    text = seen(live=True)
    assert "layer 2 of 2 [======>                 ]  1MB/4MB\n" in text
    assert "\x1b[1A\x1b[Jlayer 2 of 2: received 4MB" in text
    assert text.endswith("/s)\n")


def test_bars() -> None:
    assert bar("layer 1 of 1", 0, 0, 0.0) == "layer 1 of 1 [========================]  0B/0B"
    assert bar("layer 1 of 1", 5_000_000, 10_000_000, 2.0) == (
        "layer 1 of 1 [============>           ]  5MB/10MB  2.5MB/s"
    )
