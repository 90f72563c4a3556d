"""What is wrong in a user's file, and where. Apart from errors.py, since most commands never read such a file."""

from __future__ import annotations

from stackpy.records import NamedTuple


class Location(NamedTuple):
    """A place in the user's file: path, line (1-based), column (1-based, 0: unknown) and length of the caret line."""

    file: str
    line: int
    column: int = 0
    length: int = 0


class Problem(NamedTuple):
    """One thing that is wrong: message, where, and what to do."""

    message: str
    location: Location | None = None
    hint: str = ""
