"""How the time of a plan and of an apply grows with a stack: ours beside our own, five times as large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import Row, Side, command, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL, LARGE = 1000, 5000
STACK = """
from stackpy import Stack, Volume

Stack("scale-{count}")
for number in range({count}):
    Volume(f"v{{number}}", labels={{"number": str(number)}})
"""


class Scale:
    """Two stacks of volumes, which cost the host next to nothing: what grows is our own work."""

    def __init__(self, folder: Path, ours: Callable[..., list[str]], environment: dict[str, str]) -> None:
        self.folder, self.ours, self.environment = folder, ours, environment

    def rows(self, rounds: int) -> list[Row]:
        """Plans with nothing to change, and applies of everything."""
        for count in (SMALL, LARGE):
            (self.folder / str(count)).mkdir(parents=True)
            (self.folder / str(count) / "stack.py").write_text(STACK.format(count=count))
        try:
            return [
                compare(
                    f"apply of {LARGE:,} resources",
                    Side(f"stackpy apply of {LARGE:,}", self._call(LARGE, "apply", "--yes"), self._gone(LARGE)),
                    Side(f"of {SMALL:,}", self._call(SMALL, "apply", "--yes"), self._gone(SMALL)),
                    LARGE / SMALL * 1.5,
                    rounds=1,
                    warm=0,
                ),
                compare(
                    f"plan of {LARGE:,} resources, none changed",
                    Side(f"stackpy plan of {LARGE:,}", self._call(LARGE, "plan")),
                    Side(f"of {SMALL:,}", self._call(SMALL, "plan")),
                    LARGE / SMALL * 1.5,
                    rounds=rounds,
                ),
            ]
        finally:
            for count in (SMALL, LARGE):
                self._gone(count)()

    def _call(self, count: int, *words: str) -> Callable[[], None]:
        return command(*self.ours(*words), env=self.environment, cwd=str(self.folder / str(count)))

    def _gone(self, count: int) -> Callable[[], None]:
        return self._call(count, "destroy", "--volumes", "--allow-data-loss", "volume.*", "--images", "--yes")
