"""What people and programs read: data on stdout, all else on stderr; colour only where a person looks."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TextIO


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at it: a terminal that is not `dumb`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """Whether colour may be written: a terminal, and NO_COLOR (no-color.org) not set."""
    return not os.environ.get("NO_COLOR") and is_terminal(stream)


def paint(text: str, code: str, stream: TextIO) -> str:
    """The text in an SGR colour ("31"), where `stream` takes colour."""
    return f"\x1b[{code}m{text}\x1b[0m" if has_colour(stream) else text


def width(stream: TextIO) -> int | None:
    """Columns of the terminal; None where it is none."""
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def note(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    import json  # 8 ms, which text output does not pay

    print(controls_escaped(json.dumps(document, indent=2, ensure_ascii=False)))


def controls_escaped(document: str) -> str:
    """A JSON document with escapes for DEL and the C1 controls, which JSON allows as they are and terminals act on."""
    return document if document.isascii() and "\x7f" not in document else document.translate(_CONTROLS)


_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def made_by(template: str, text: str) -> str:
    """What a template has made, harmless where a person looks at it: images and containers say what its fields hold.

    A template that writes escapes itself is left to do so.
    """
    if text.isprintable() or not is_terminal(sys.stdout) or "\x1b" in template:
        return text
    return "".join(char if char.isprintable() or char in "\t\n" else ascii(char)[1:-1] for char in text)


def plain(text: str) -> str:
    """The text, perhaps of several lines, with escapes for what a terminal would act on: others may have said it."""
    if text.isprintable():
        return text
    from stackpy.planning.quantities import printable

    return "\n".join(printable(line.expandtabs(4)) for line in text.split("\n"))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns, three spaces apart, as docker's; the head alone when there are no rows."""
    rows = [[plain(cell).replace("\n", "\\n") for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[column]) for row in rows), 0) for column, head in enumerate(heads)]
    for row in (heads, *rows):
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def size(count: int) -> str:
    """A number of bytes as docker writes it: "124MB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g}{unit}"
        amount /= 1000
    return f"{amount:.3g}TB"
