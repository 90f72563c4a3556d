"""Times commands and calls: alternating between the two sides of a row, so that both meet the same machine."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
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
    """A line of the table: amounts are medians; `limit` is the budget for ours ÷ theirs."""

    work: str
    ours: str
    theirs: str
    ours_amount: float
    theirs_amount: float
    ratio: float
    limit: float
    rounds: int
    unit: str = "ms"

    @property
    def kept(self) -> bool:
        """Whether the budget is kept."""
        return self.ratio <= self.limit


def written(amount: float) -> str:
    """An amount as people read it: three digits of it are enough."""
    return f"{amount:.0f}" if amount >= 10 else f"{amount:.1f}" if amount >= 1 else f"{amount:.2g}"


def command(*words: str, env: dict[str, str] | None = None, cwd: str | None = None) -> Call:
    """A call that runs a command and fails loudly when it fails."""

    def run() -> None:
        result = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"`{' '.join(words)}` ended with {result.returncode}\n{result.stdout}{result.stderr}")

    return run


def most_memory(*words: str, env: dict[str, str], cwd: str) -> float:
    """The most MB that a command's process had in memory at once."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(words, env=env, cwd=cwd, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"`{' '.join(words)}` ended with {process.returncode}\n{output.read().decode()}")
    return usage.ru_maxrss / 1024


def held(place: Path) -> float:
    """Memory in MB of the processes that name `place` in their command line, with their part of what they share."""
    found = 0
    for entry in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{entry}/cmdline").read_bytes() if entry.isdigit() else b""
            if os.fsencode(place) in line:
                found += int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{entry}/smaps_rollup").read_text())[1])  # type: ignore[index]
        except OSError:
            continue
    return found / 1024


def said(row: Row) -> Row:
    """The row, of which a line is written to stderr, since others will take their time."""
    mark = "kept" if row.kept else "NOT KEPT"
    ours, theirs = written(row.ours_amount), written(row.theirs_amount)
    line = f"{row.work}: {ours} {row.unit}, {row.theirs} {theirs}: {row.ratio:.2f} of at most {row.limit:.3g} ({mark})"
    print(line, file=sys.stderr, flush=True)
    return row


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
    return said(Row(work, ours.name, theirs.name, ours_ms, theirs_ms, ours_ms / theirs_ms, limit, rounds))


def elapsed(call: Call) -> float:
    """Milliseconds that a call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def within(work: str, ours: str, amount: float, theirs: str, other: float, most: float, unit: str = "ms") -> Row:
    """A row whose budget is an amount of its own; beside it stands what the same costs on a smaller scale."""
    work = f"{work}, at most {written(most)} {unit}"
    return said(Row(work, ours, theirs, amount, other, amount / other, most / other, 1, unit))
