"""Patterns of `${variable#pattern}` and its kin: `*` and `?` alone, no bracket expressions, as BuildKit has them."""

from __future__ import annotations

import re

_SPECIAL = frozenset("[]{}.+()|^$")


class BadPattern(ValueError):
    """A pattern that nothing can be compared with; says why."""


def regular(pattern: str, *, greedy: bool) -> re.Pattern[str]:
    """The regular expression of a pattern; raises BadPattern.

    greedy: whether `*` takes as much as it can
    """
    star = ".*" if greedy else ".*?"
    out: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "*":
            out.append(star)
        elif letter == "?":
            out.append(".")
        elif letter == "\\":
            following = next(letters, "")
            # `}` and `/` are escaped for the sake of ${…} alone.
            if following in ("}", "/"):
                out.append(re.escape(following))
            elif following and following in "*?\\":
                out.append(f"\\{following}")
            else:
                raise BadPattern(f"`\\{following}` escapes nothing; only `*`, `?`, `\\`, `}}` and `/` need it")
        else:
            out.append(f"\\{letter}" if letter in _SPECIAL else letter)
    return re.compile("".join(out))


def without_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """`${value#pattern}`, or `##` for the longest match."""
    found = regular(pattern, greedy=longest).match(value)
    return value[found.end() :] if found else value


def without_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """`${value%pattern}`, or `%%` for the longest match.

    The shortest match at the end is the shortest at the beginning of the reverse.
    """
    return without_prefix(value[::-1], _reversed(pattern), longest=longest)[::-1]


def _reversed(pattern: str) -> str:
    # An escape stays before what it escapes.
    return "".join(reversed(re.findall(r"\\.|.", pattern, re.DOTALL)))


def replaced(value: str, pattern: str, replacement: str, *, every: bool) -> str:
    """`${value/pattern/replacement}`, or `//` for every match."""
    return regular(pattern, greedy=True).sub(lambda _: replacement, value, count=0 if every else 1)
