"""Problems as text: what is wrong, the user's own line with what is meant underlined, and what to do."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy.problems import Location, Problem

    ReadLine = Callable[[str, int], str]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def format_problem(problem: Problem, read_line: ReadLine, folder: str = "") -> str:
    """One problem, without a newline at its end.

    read_line: the text of line N of a file, "" where there is none
    folder: paths below it are shown relative to it
    """
    lines = [f"error: {_clean(problem.message)}"]
    if problem.location is not None:
        lines += _excerpt(problem.location, read_line, folder)
    if problem.hint:
        lines.append(f"hint: {_clean(problem.hint)}")
    return "\n".join(lines)


def format_problems(problems: Sequence[Problem], read_line: ReadLine, folder: str = "") -> str:
    """All problems with an empty line between them, and their number where there are several."""
    texts = [format_problem(problem, read_line, folder) for problem in problems]
    if len(texts) > 1:
        texts.append(f"{len(texts)} problems; nothing was touched")
    return "\n\n".join(texts)


def line_reader() -> ReadLine:
    """Reads lines from files, each file once."""
    files: dict[str, list[str]] = {}

    def read_line(file: str, line: int) -> str:
        if file not in files:
            try:
                with open(file, encoding="utf-8", errors="replace") as handle:
                    files[file] = handle.read().split("\n")
            except OSError:
                files[file] = []
        lines = files[file]
        return lines[line - 1] if 1 <= line <= len(lines) else ""

    return read_line


def _excerpt(location: Location, read_line: ReadLine, folder: str) -> list[str]:
    path = location.file
    if folder and path.startswith(folder.rstrip(os.sep) + os.sep):
        path = path[len(folder.rstrip(os.sep)) + 1 :]
    number = str(location.line)
    margin = " " * len(number)
    column = f":{location.column}" if location.column else ""
    result = [f"{margin}--> {_clean(path)}:{number}{column}"]
    text = _clean(read_line(location.file, location.line).rstrip())
    if not text.strip():
        return result
    result += [f"{margin} |", f"{number} | {text}"]
    if location.column:
        before = text[: location.column - 1]
        padding = "".join("\t" if letter == "\t" else " " * _width(letter) for letter in before)
        length = sum(map(_width, text[location.column - 1 :][: location.length])) or 1
        result.append(f"{margin} | {padding}{'^' * length}")
    return result


def _clean(text: str) -> str:
    """Text that cannot move the cursor or colour a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _width(letter: str) -> int:
    """Columns that a letter takes on a terminal."""
    if letter < "\u0300":
        return 1
    # 1 ms to import; most lines are ASCII
    from unicodedata import category, east_asian_width

    if category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(letter) in "WF" else 1
