"""Progress of an apply: one plain line per event, or on a terminal what runs now beneath the lines of what is over.

The live view begins only when an apply lasts: most are over before rich, which draws it, is imported (32 ms).
"""

from __future__ import annotations

import time
from _thread import allocate_lock

from stackpy.planning.quantities import printable
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, TextIO

    from stackpy.engines.events import Event

_OVER = ("done", "failed", "skipped")
_DELAY = 0.3  # seconds before the live view begins
_FRAMES = 8  # a second
_SHOWN = 20  # changes in the live view; the others are counted
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {"done": ("✓", "32", "green"), "failed": ("✗", "31", "red"), "skipped": ("-", "33", "yellow")}  # SGR, rich


class LineProgress:
    """A callable that writes one line per event; a context manager for the sake of its sibling."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = allocate_lock()
        self._began: dict[str, float] = {}

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Writes the event."""
        if event.kind == "transfer":
            return  # many, and each is old when it is read
        with self._lock:
            line = f"{event.address}: {describe(event)}{_elapsed(event, self._began)}"
            # whole lines, whatever other threads write
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except OSError:
                pass  # nobody reads on (EPIPE, EIO), or the disk is full: that is no reason to leave a change half done


class _Running(NamedTuple):
    since: float
    text: str


class LiveProgress:
    """A callable that shows what runs now, and leaves a line for what is over. A context manager.

    stream: a terminal
    colour: with colours
    """

    def __init__(self, stream: TextIO, *, colour: bool = True) -> None:
        import threading  # 4 ms, and only a terminal has use of it

        self._stream, self._colour = stream, colour
        self._lock = threading.RLock()
        self._began: dict[str, float] = {}
        self._running: dict[str, _Running] = {}
        self._live: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="stackpy-live", daemon=True)

    def __enter__(self) -> LiveProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def __call__(self, event: Event) -> None:
        """Takes the event into the view."""
        with self._lock:
            text = describe(event) + _elapsed(event, self._began)
            if event.kind in _OVER:
                self._running.pop(event.address, None)
                try:
                    self._print(event, text)
                except OSError:
                    pass  # the terminal was closed in this moment: SIGHUP says so, and the change itself is done
            else:
                before = self._running.get(event.address)
                since = time.monotonic() if before is None else before.since
                self._running[event.address] = _Running(since, text)

    def _print(self, event: Event, text: str) -> None:
        mark, code, style = _MARKS[event.kind]
        if self._live is not None:
            from rich.text import Text  # imported already with the live view

            line = Text.assemble((mark, style if self._colour else ""), f" {event.address}: {text}")
            self._live.console.print(line, soft_wrap=True)
            return
        shown = f"\x1b[{code}m{mark}\x1b[0m" if self._colour else mark
        self._stream.write(f"{shown} {event.address}: {text}\n")
        self._stream.flush()

    def _show(self) -> None:
        if self._over.wait(_DELAY):
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, no_color=not self._colour, highlight=False)
        live = Live(
            console=console,
            get_renderable=self._view,
            refresh_per_second=_FRAMES,
            transient=True,
            redirect_stdout=False,
        )
        with self._lock:
            live.start()
            self._live = live
        self._over.wait()
        with self._lock:
            self._live = None
            live.stop()

    def _view(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        spinner = Text(_SPINNER[int(now * _FRAMES) % len(_SPINNER)], style="cyan")
        with self._lock:
            running = list(self._running.items())
        table = Table.grid(padding=(0, 1), expand=True)  # without it the last texts push the addresses away
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        for address, (since, text) in running[:_SHOWN]:
            table.add_row(spinner, address, Text(text, style="dim"), _seconds(now - since))
        if len(running) > _SHOWN:
            table.add_row("", f"and {len(running) - _SHOWN} more", "", "")
        return table


def progress(stream: TextIO, *, live: bool, colour: bool = False) -> LineProgress | LiveProgress:
    """Where the events of an apply go: use it as a context manager and give what it yields to `execute`.

    live: whether `stream` is a terminal that a person looks at
    """
    return LiveProgress(stream, colour=colour) if live else LineProgress(stream)


def describe(event: Event) -> str:
    """The event in words, without its address: `step 4/6 COPY src/ /app/src (cached)`."""
    text = printable(event.text.expandtabs(4))
    if event.kind == "step" and event.steps:
        text = f"step {event.step}/{event.steps} {text}"
    elif event.kind == "failed":
        text = f"failed: {text}"
    return f"{text} (cached)" if event.cached else text


def _elapsed(event: Event, began: dict[str, float]) -> str:
    """` (1.2 s)` behind what is over; remembers when each began."""
    if event.kind == "started":
        began[event.address] = time.monotonic()
    if event.kind not in ("done", "failed") or event.address not in began:
        return ""
    return f" ({_seconds(time.monotonic() - began[event.address])})"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
