"""How an error reaches the user: `error: what failed: why`, `hint: what to do`, never a traceback unasked."""

from __future__ import annotations

import os
import sys

from stackpy.cli.terminal import note, paint, plain
from stackpy.errors import ApplyFailed, StackFileError, StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy.cli.context import Context

COLOURS = {"error": "1;31", "hint": "1;36"}  # SGR


def report(error: StackpyError, context: Context) -> int:
    """Prints a user-facing error; returns the exit code."""
    if isinstance(error, StackFileError):
        from stackpy.render.problems import format_problems, line_reader

        for line in format_problems(error.problems, line_reader(), os.getcwd()).split("\n"):
            word, colon, rest = plain(line).partition(":")
            colour = COLOURS.get(word) if colon else None
            note(f"{paint(f'{word}:', colour, sys.stderr)}{rest}" if colour else plain(line))
    else:
        print_error(error.message, error.hint)
    if context.globals.verbose and not isinstance(error, (StackFileError, ApplyFailed)):
        import traceback

        traceback.print_exception(error)
    return error.exit_code


def print_error(message: str, hint: str = "") -> None:
    """The two lines of an error; what a container has said in it moves no cursor and sets no title."""
    message, hint = plain(message), plain(hint)
    note(f"{paint('error:', COLOURS['error'], sys.stderr)} {message}")
    if hint:
        note(f"{paint('hint:', COLOURS['hint'], sys.stderr)} {hint}")


def for_each(names: Sequence[str], action: Callable[[str], object]) -> int:
    """Acts on one after the other, and goes on behind one that fails; 1 if one did."""
    failed = 0
    for name in names:
        try:
            action(name)
        except StackpyError as error:
            print_error(error.message, error.hint)
            failed = 1
    return failed


def report_unexpected(error: Exception, words: list[str], context: Context) -> int:
    """An error that nobody foresaw: one line, and a file with all that is needed to find its cause."""
    import platform
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if context.globals.verbose:
        sys.stderr.write(text)
    # what stands behind `=` may be a secret that was passed with -e
    shown = " ".join(f"{word.partition('=')[0]}=…" if "=" in word else word for word in words)
    lines = [f"stackpy {shown}", f"Python {platform.python_version()}, {platform.platform()}", "", text]
    descriptor, path = tempfile.mkstemp(prefix="stackpy-error-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines))
    print_error(
        f"unexpected {type(error).__name__}: {error}", f"this is a defect of stackpy; its traceback is in {path}"
    )
    return 1
