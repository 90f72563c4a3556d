"""`--chmod`: octal digits, or what chmod(1) takes. Pure."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.model import Step

    Change = Callable[[int, bool], int]

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]+|[ugo]|)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0}


def of_step(step: Step) -> Change | None:
    """How a step changes the mode of what it copies: (mode, whether it is a folder) → mode; None: not at all."""
    if "mode" in step:
        mode = step["mode"]
        return lambda old, folder: mode
    if "chmod" in step:
        return change(step["chmod"])
    return None


def change(text: str) -> Change:
    """How octal digits or a symbolic mode change a mode; without a who, all are meant, whatever the umask."""
    if text.isdigit():
        octal = int(text, 8)
        return lambda old, folder: octal

    def changed(mode: int, folder: bool) -> int:
        for clause in text.split(","):
            matched = _CLAUSE.fullmatch(clause)
            if matched is None:
                raise ValueError(f"`{text}` is no mode")
            for operator, what in _ACTION.findall(matched[2]):
                mode = _act(mode, folder, matched[1], operator, what)
        return mode

    return changed


def _act(mode: int, folder: bool, who: str, operator: str, what: str) -> int:
    whom = "ugo" if not who or "a" in who else who
    for each in whom:
        shift = _SHIFTS[each]
        if what in _SHIFTS:
            bits = (mode >> _SHIFTS[what]) & 7
        else:
            bits = sum(_BITS[letter] for letter in set(what) & set("rwx"))
            if "X" in what and (folder or mode & 0o111):
                bits |= 1
        given = bits << shift
        if "s" in what:
            given |= _SPECIAL[each]
        if "t" in what and (not who or "a" in who or each == "o"):
            given |= 0o1000
        if operator == "=":
            # A folder keeps its set-id bits where none are named, as with chmod(1).
            mode &= ~(7 << shift | (0 if folder else _SPECIAL[each]))
        mode = mode & ~given if operator == "-" else mode | given
    return mode
