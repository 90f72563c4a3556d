"""A template's text → tokens; pkg.go.dev/text/template/parse, lex.go."""

from __future__ import annotations

import re

from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEYWORDS = frozenset("block break continue define else end if range template with".split())

_LEFT, _RIGHT = "{{", "}}"
_SPACE = " \t\r\n"
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NUMBER = r"[+-]?(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
_TOKEN = re.compile(
    rf"""
    (?P<number>{_NUMBER}(?!\w))
  | (?P<field>\.[^\W\d]\w*)
  | (?P<dot>\.)
  | (?P<variable>\$\w*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<raw>`[^`]*`)
  | (?P<character>'(?:[^'\\\n]|\\.)+')
  | (?P<word>[^\W\d]\w*)
  | (?P<declare>:=)
  | (?P<mark>[=|,()])
    """,
    re.VERBOSE,
)


class Token:
    """A piece of a template.

    kind: "text", "open" and "close" for the delimiters, else a group of the expression above
    text: as it stands
    line: of the template, from 1
    apart: whether white space stands before it
    """

    __slots__ = ("apart", "kind", "line", "text")

    def __init__(self, kind: str, text: str, line: int, apart: bool = False) -> None:
        self.kind, self.text, self.line, self.apart = kind, text, line, apart


def tokens(text: str) -> Iterator[Token]:
    """All tokens; raises UsageError for what is none."""
    position, trim = 0, False
    while True:
        start = text.find(_LEFT, position)
        end = len(text) if start < 0 else start
        shown = text[position:end]
        inside = end + len(_LEFT)
        trims_before = start >= 0 and text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in (*_SPACE,)
        if trim:
            shown = shown.lstrip(_SPACE)
        if trims_before:
            shown = shown.rstrip(_SPACE)
            inside += 1
        if shown:
            yield Token("text", shown, _line(text, position))
        if start < 0:
            return
        body = inside + (len(text[inside:]) - len(text[inside:].lstrip(_SPACE)) if trims_before else 0)
        if text.startswith("/*", body):
            position, trim = _comment(text, body)
            continue
        yield Token("open", _LEFT, _line(text, start))
        position = inside
        while True:
            before = position
            while position < len(text) and text[position] in _SPACE:
                position += 1
            apart = position > before
            if text.startswith(_RIGHT, position) or (apart and text.startswith(f"-{_RIGHT}", position)):
                trim = text[position] == "-"
                position += len(_RIGHT) + trim
                yield Token("close", _RIGHT, _line(text, position))
                break
            token = _TOKEN.match(text, position)
            if token is None:
                raise _unreadable(text, position)
            yield Token(str(token.lastgroup), token.group(), _line(text, position), apart)
            position = token.end()


def _comment(text: str, start: int) -> tuple[int, bool]:
    """Where the text goes on behind a comment, and whether white space is trimmed there."""
    comment = _COMMENT.match(text, start)
    if comment is None:
        raise UsageError(f"template, line {_line(text, start)}: a comment is not closed", hint="it ends with `*/}}`")
    end = comment.end()
    if text.startswith(_RIGHT, end):
        return end + len(_RIGHT), False
    spaces = len(text[end:]) - len(text[end:].lstrip(_SPACE))
    if spaces and text.startswith(f"-{_RIGHT}", end + spaces):
        return end + spaces + 1 + len(_RIGHT), True
    raise UsageError(f"template, line {_line(text, start)}: a comment ends before its action does")


def _unreadable(text: str, position: int) -> UsageError:
    where = f"template, line {_line(text, position)}"
    if position >= len(text):
        return UsageError(f"{where}: an action is not closed", hint="it ends with `}}`")
    found = text[position]
    if found in "\"'`":
        return UsageError(f"{where}: a {'character' if found == chr(39) else 'string'} is not closed by `{found}`")
    return UsageError(f"{where}: unexpected `{found}` in an action")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
