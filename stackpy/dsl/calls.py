"""Where in the user's code something was said.

A constructor remembers the frame's code object and instruction, which costs nothing; only an error turns them into
columns (project/locating.py), since decoding a position table and parsing the file take longer than a whole load.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Call:
    """One call in the user's code.

    code, instruction: what `co_positions` needs to find the call's columns
    parameters: names of the call's positional parameters, so that an argument is found however it was passed
    """

    __slots__ = ("code", "file", "instruction", "line", "parameters")

    def __init__(self, code: CodeType, instruction: int, line: int, parameters: tuple[str, ...] = ()) -> None:
        self.code, self.instruction, self.line, self.parameters = code, instruction, line, parameters
        self.file = code.co_filename

    @property
    def folder(self) -> str:
        """The folder against which relative paths in this call are resolved."""
        return os.path.dirname(self.file)


def caller(parameters: tuple[str, ...] = ()) -> Call:
    """The innermost call outside our package that is running now."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return Call(frame.f_code, frame.f_lasti, frame.f_lineno, parameters)
