"""Text that is put into HTML, SVG or Markdown: whatever it holds, it stays text."""

from __future__ import annotations

from stackpy.planning.quantities import printable

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
# what CommonMark and GitHub's extensions of it read: emphasis, code, links, HTML, tables, mentions, issue numbers
_MARKUP = frozenset("\\`*_{}[]<>|~&$")
# forges look for these after Markdown was read; a space without width parts the name from its sign
_NAMING = frozenset("@#!")


def escaped(text: object) -> str:
    """For HTML and SVG, in elements and in quoted attributes; control characters as escapes."""
    return "".join(_ENTITIES.get(char, char) for char in printable(str(text)))


def literal(text: object) -> str:
    """For Markdown, as a code span: nothing inside is read, and a row of a table does not end in it."""
    plain = printable(str(text)).replace("|", "\u2502")
    longest = run = 0
    for char in plain:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    space = " " if plain.startswith("`") or plain.endswith("`") or not plain.strip() else ""
    return f"{fence}{space}{plain or ' '}{space}{fence}"


def words(text: object) -> str:
    """For Markdown, as words: each character that could be markup is escaped, and nobody is mentioned."""
    plain = printable(str(text))
    return "".join(f"\\{char}" if char in _MARKUP else f"{char}\u200b" if char in _NAMING else char for char in plain)
