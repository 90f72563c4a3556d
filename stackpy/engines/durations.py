"""How long things took when they were done last, from the history of a stack; read only where a plan has changes."""

from __future__ import annotations

from stackpy.engines import generations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LOOKED_AT = 10  # generations: what was not done in so many is news


class Durations:
    """Looks back through generations, the newest first, and only as far as it is asked."""

    def __init__(self, root: str, stack: str) -> None:
        self._root, self._stack = root, stack
        self._left = generations.numbers(root, stack)[-_LOOKED_AT:]
        self._known: dict[tuple[str, str], float] = {}

    def last(self, address: str, action: str) -> float | None:
        """Seconds that an action on an address took when it was done last."""
        while (address, action) not in self._known and self._left:
            document = generations.read(self._root, self._stack, self._left.pop())
            for change in (document or {}).get("changes", ()):
                self._take(change)
        return self._known.get((address, action))

    def _take(self, change: Mapping[str, Any]) -> None:
        seconds = change.get("seconds")
        if change.get("result") == "done" and isinstance(seconds, (int, float)):
            # an older generation's does not go before a newer one's
            self._known.setdefault((str(change.get("address")), str(change.get("action"))), float(seconds))
