"""What is seen of a pull or a push: on a terminal a bar for each layer under way, elsewhere a line when it is there."""

from __future__ import annotations

import sys
import time
from _thread import allocate_lock

from stackpy.cli import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

_WIDTH = 24  # of a bar
_PERIOD = 0.1  # seconds between two drawings


class Transfers:
    """A callable that takes the engine's progress, from several threads. A context manager.

    live: whether `stream` is a terminal that a person looks at
    """

    def __init__(self, stream: TextIO, *, live: bool) -> None:
        self._stream, self._live = stream, live
        self._lock = allocate_lock()
        self._began: dict[str, float] = {}
        self._running: dict[str, tuple[int, int]] = {}
        self._drawn, self._at = 0, 0.0

    def __enter__(self) -> Transfers:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._erase()
            self._stream.flush()

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes an event: {kind: "state", text}, or {kind: "download" or "upload", text, done, total}."""
        with self._lock:
            text = str(event["text"])
            if "total" not in event:
                self._say(text)
                return
            done, total = int(event["done"]), int(event["total"])
            began = self._began.setdefault(text, time.monotonic())
            if done < total:
                self._running[text] = (done, total)
                self._draw()
                return
            self._running.pop(text, None)
            seconds = max(time.monotonic() - began, 0.001)
            word = "sent" if event["kind"] == "upload" else "received"
            self._say(f"{text}: {word} {terminal.size(total)} ({terminal.size(int(total / seconds))}/s)")

    def _say(self, text: str) -> None:
        self._erase()
        self._stream.write(text + "\n")
        self._draw(at_once=True)
        self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not self._live or not (at_once or now - self._at >= _PERIOD):
            return
        self._erase()
        if not self._running:
            return
        columns = terminal.width(self._stream) or 80
        for text, (done, total) in self._running.items():
            self._stream.write(bar(text, done, total, now - self._began[text])[: columns - 1] + "\n")
        self._drawn, self._at = len(self._running), now
        self._stream.flush()


def bar(text: str, done: int, total: int, seconds: float) -> str:
    """`layer 1 of 3 [=====>      ]  12.3MB/29.1MB  40.1MB/s`."""
    filled = _WIDTH * done // total if total else _WIDTH
    drawn = ("=" * filled + ">" * (filled < _WIDTH)).ljust(_WIDTH)
    rate = f"  {terminal.size(int(done / seconds))}/s" if seconds > _PERIOD else ""
    return f"{text} [{drawn}]  {terminal.size(done)}/{terminal.size(total)}{rate}"


def shown(quiet: bool) -> Transfers | None:
    """What to give the engine as `report`, None with `quiet`; on stderr."""
    return None if quiet else Transfers(sys.stderr, live=terminal.is_terminal(sys.stderr))
