"""A stack file that raised, exited or cannot be parsed: what happened, at the user's own last line."""

from __future__ import annotations

import builtins

from stackpy.dsl.calls import PACKAGE, Call
from stackpy.dsl.values import meant
from stackpy.errors import StackpyError
from stackpy.problems import Location, Problem
from stackpy.project.locating import Locator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any


def explain(error: BaseException, path: str) -> Problem:
    """The problem that an exception of a stack file is."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _syntax(error)
    frame, location = _where(error, path)
    if isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        hint = "raise an exception to refuse to load"
        return Problem(f"the stack file ended the program: exit({code})", location, hint)
    if isinstance(error, StackpyError):
        return Problem(error.message, location, error.hint)
    text = str(error).replace("\n", " ").strip()
    if isinstance(error, OSError) and error.strerror:
        names = " → ".join(f"`{name}`" for name in (error.filename, error.filename2) if name is not None)
        text = error.strerror.lower() + (f": {names}" if names else "")
    elif isinstance(error, KeyError) and len(error.args) == 1:
        text = f"no such key: {error.args[0]!r}"
    elif isinstance(error, ImportError) and error.name == "stackpy":
        text = text.partition(" from 'stackpy'")[0] + " from `stackpy`"
    elif isinstance(error, RecursionError):
        text = "functions call each other without end"
    name = type(error).__name__
    message = f"the stack file raised {name}" + (f": {text}" if text else "")
    return Problem(message, location, _hint(error, frame))


def _syntax(error: SyntaxError) -> Problem:
    line, column = error.lineno or 1, error.offset or 0
    length = 0
    if column > 0:
        same_line = error.end_lineno in (None, line)
        end = error.end_offset if same_line and error.end_offset else column + 1
        length = max(1, end - column)
    message = error.msg[:1].lower() + error.msg[1:]
    return Problem(message, Location(error.filename or "", line, max(0, column), length))


def _where(error: BaseException, path: str) -> tuple[FrameType | None, Location]:
    """The user's last frame: the innermost outside our package and, where there is one, outside libraries."""
    trace: TracebackType | None = error.__traceback__
    found: TracebackType | None = None
    own = False
    folder = path.rpartition("/")[0] + "/"
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((PACKAGE, "<")):
            mine = file.startswith(folder) and "/site-packages/" not in file
            if mine or not own:
                found, own = trace, mine
        trace = trace.tb_next
    if found is None:
        return None, Location(path, 1)
    frame = found.tb_frame
    code, line = frame.f_code, found.tb_lineno
    # the traceback's own instruction, not the frame's: an outer frame has gone on to its exception handler
    return frame, _expression(Call(code, found.tb_lasti, line))


def _expression(call: Call) -> Location:
    """The expression that raised, from the interpreter's position table."""
    from itertools import islice

    line, end_line, column, end_column = next(
        islice(call.code.co_positions(), call.instruction // 2, None), (None, None, None, None)
    )
    if line is None or column is None or end_column is None:
        return Location(call.file, call.line)
    return Locator({}).span(call.file, (line, column, end_line or line, end_column))


def _hint(error: BaseException, frame: FrameType | None) -> str:
    name = getattr(error, "name", None)
    if isinstance(error, AttributeError) and isinstance(name, str):
        return meant(name, _public(error.obj))
    if isinstance(error, NameError) and isinstance(name, str) and frame is not None:
        import stackpy

        if name in stackpy.__all__:
            return f"import it: from stackpy import {name}"
        return meant(name, [*frame.f_locals, *frame.f_globals, *dir(builtins)])
    if isinstance(error, ModuleNotFoundError):
        return "modules beside the stack file and those installed for stackpy's own Python can be imported"
    if isinstance(error, ImportError) and name == "stackpy":
        import stackpy

        words = [word.strip("'") for word in str(error).split() if word.startswith("'")]
        return meant(words[0], stackpy.__all__) if words else ""
    return ""


def _public(value: Any) -> list[str]:
    return [name for name in dir(value) if not name.startswith("_")]
