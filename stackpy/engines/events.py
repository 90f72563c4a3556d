"""What an engine tells while it makes a change true. Apart from base.py, which is for type checkers."""

from __future__ import annotations

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[["Event"], None]


class Event(NamedTuple):
    """Progress of one change; text is one line.

    kind: started, step, output, waiting, done, failed or skipped; transfer: how far a download is, for a live view
    """

    address: str
    kind: str
    text: str
    step: int = 0
    steps: int = 0
    cached: bool = False
