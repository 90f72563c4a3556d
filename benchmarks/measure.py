"""Times commands and calls: alternating between the two sides of a row, so that both meet the same machine."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

Call = Callable[[], None]


def nothing() -> None:
    """No preparation."""


class Side(NamedTuple):
    """One of the two things compared: what is timed, and what comes before each round, untimed."""

    name: str
    timed: Call
    before: Call = nothing


class Row(NamedTuple):
    """A line of the table: milliseconds are medians; `limit` is the budget for ours ÷ theirs."""

    work: str
    ours: str
    theirs: str
    ours_ms: float
    theirs_ms: float
    ratio: float
    limit: float
    rounds: int

    @property
    def kept(self) -> bool:
        """Whether the budget is kept."""
        return self.ratio <= self.limit


def command(*words: str, env: dict[str, str] | None = None, cwd: str | None = None) -> Call:
    """A call that runs a command and fails loudly when it fails."""

    def run() -> None:
        result = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"`{' '.join(words)}` ended with {result.returncode}\n{result.stdout}{result.stderr}")

    return run


def compare(work: str, ours: Side, theirs: Side, limit: float, *, rounds: int = 15, warm: int = 2) -> Row:
    """Medians of both sides over alternating rounds, after `warm` untimed ones."""
    times: dict[str, list[float]] = {ours.name: [], theirs.name: []}
    for number in range(-warm, rounds):
        for side in (ours, theirs):
            side.before()
            start = time.perf_counter()
            side.timed()
            if number >= 0:
                times[side.name].append((time.perf_counter() - start) * 1000)
    ours_ms, theirs_ms = (statistics.median(times[side.name]) for side in (ours, theirs))
    row = Row(work, ours.name, theirs.name, ours_ms, theirs_ms, ours_ms / theirs_ms, limit, rounds)
    mark = "kept" if row.kept else "NOT KEPT"
    line = f"{work}: {ours_ms:.0f} ms, {theirs.name} {theirs_ms:.0f} ms: {row.ratio:.2f} of at most {limit} ({mark})"
    print(line, file=sys.stderr, flush=True)
    return row
