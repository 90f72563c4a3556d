"""Where the time of a plan went, for `-v`: one line on stderr, `load 12 ms, resolve 3 ms, observe 8 ms, …`."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

STEPS = ("load", "resolve", "observe", "diff", "render")


class Times:
    """Seconds spent in each of the steps of a command: `with times("load"): …`."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._open: list[tuple[str, float]] = []

    def __call__(self, step: str) -> Times:
        """Names the step that the block is."""
        self._open.append((step, time.perf_counter()))
        return self

    def __enter__(self) -> Times:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        step, began = self._open.pop()
        self.spent[step] = self.spent.get(step, 0.0) + time.perf_counter() - began

    def text(self) -> str:
        """`load 12 ms, observe 8 ms: 20 ms`; "" where nothing was timed."""
        known = [(step, self.spent[step]) for step in STEPS if step in self.spent]
        told = ", ".join(f"{step} {seconds * 1000:.0f} ms" for step, seconds in known)
        return f"{told}: {sum(seconds for _, seconds in known) * 1000:.0f} ms" if told else ""
