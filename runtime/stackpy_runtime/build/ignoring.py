"""What COPY leaves out: the context's .dockerignore, the excludes of `COPY --exclude`, and those of `Image.copy`.

The first two are read as Docker's patternmatcher reads them (github.com/moby/patternmatcher): patterns stand at the top
of what is copied, later ones win, `!` takes back, what matches a folder matches all in it. Its oddities are kept, since
contexts depend on them. Those of `Image.copy` are gitignore patterns seen from each source, so that `*.pyc` and
`__pycache__/` mean what people expect at any depth.
"""

from __future__ import annotations

import os
import posixpath
import stat

from stackpy_runtime.build.digests import named_hash
from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Protocol

    from stackpy_runtime.build.stat_cache import StatCache

    class Excluding(Protocol):
        """One list of patterns."""

        def excluded(self, path: str, folder: bool) -> bool:
            """Whether `path` (without a leading or trailing slash) is left out."""

        def prunes(self, folder: str) -> bool:
            """Whether nothing in an excluded folder can be taken back, so that it need not be walked."""


_REGULAR = frozenset(".+()|{}$^")
_SPACES = " \t\r\n\v\f\x85\xa0"


def docker_patterns(text: str) -> list[str]:
    """The patterns of a .dockerignore, cleaned (patternmatcher's ignorefile.ReadAll)."""
    patterns: list[str] = []
    for raw in text.removeprefix("\ufeff").split("\n"):
        line = raw.strip(_SPACES)
        if not line or raw.startswith("#"):
            continue
        mark = "!" if line.startswith("!") else ""
        path = _clean(line[len(mark) :].strip(_SPACES))
        if mark and not path:
            continue
        patterns.append(mark + (path[1:] if len(path) > 1 and path.startswith("/") else path))
    return patterns


def _clean(path: str) -> str:
    """Go's filepath.Clean, but for an empty path, which stays empty."""
    clean = posixpath.normpath(path) if path else ""
    return clean[1:] if clean.startswith("//") else clean


class Pattern:
    """One pattern of Docker's; raises InvalidConfig when it cannot be read.

    negated: it takes back
    """

    __slots__ = ("_match", "_parts", "_plain", "negated")

    def __init__(self, written: str) -> None:
        self.negated = written.startswith("!")
        text = _clean(written[self.negated :].strip(_SPACES))
        self._parts = text.split("/")
        self._plain = not any(letter in text for letter in "[]\\")
        self._match = _matcher(text)

    def matches(self, path: str) -> bool:
        """Whether this very path matches; its parents are the caller's business."""
        return self._match(path)

    def reaches_into(self, folder: str) -> bool:
        """Whether it could match something beneath a folder; true when in doubt."""
        if not self._plain:
            return True
        folders = folder.split("/")
        for part, name in zip(self._parts, folders, strict=False):
            if "**" in part:
                return True
            if not _matcher(part)(name):
                return False
        return len(self._parts) > len(folders)


def _matcher(text: str) -> Callable[[str], bool]:
    """What patternmatcher's compile() makes of a pattern: a comparison of ends where it can, else an expression."""
    if text.startswith("**"):
        rest = text[2:].removeprefix("/")
        if not any(letter in rest for letter in "*?[]\\"):
            # "**/x" is any x; "**x" whatever ends with x.
            end = text[2:]
            return lambda path: path.endswith(end) or (end.startswith("/") and path == end[1:])
    elif text.endswith("**") and not any(letter in text[:-2] for letter in "*?[]\\"):
        beginning = text[:-2]
        return lambda path: path.startswith(beginning)
    elif not any(letter in text for letter in "*?[]\\"):
        return lambda path: path == text
    expression = _expression(text)
    return lambda path: expression.fullmatch(path) is not None


def _expression(text: str) -> re.Pattern[str]:
    import re

    out: list[str] = []
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if letter == "*":
            if not text.startswith("*", at):
                out.append("[^/]*")
                continue
            at += 1
            if text.startswith("/", at):
                at += 1
            out.append(".*" if at == len(text) else "(?:.*/)?")
        elif letter == "?":
            out.append("[^/]")
        elif letter == "[":
            part, at = _class(text, at)
            out.append(part)
        elif letter == "\\":
            if at == len(text):
                raise _bad(text)
            out.append(re.escape(text[at]))
            at += 1
        else:
            out.append(f"\\{letter}" if letter in _REGULAR else letter)
    return re.compile("".join(out))


def _class(text: str, at: int) -> tuple[str, int]:
    """A `[…]` of which the bracket is read: its expression and where it ends (Go's filepath.Match)."""
    import re

    negated = text.startswith("^", at)
    at += negated
    spans: list[str] = []
    while not (text.startswith("]", at) and spans):
        low, at = _member(text, at)
        high = low
        if text.startswith("-", at):
            high, at = _member(text, at + 1)
        if low > high:
            continue  # holds nothing
        spans.append(re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' if negated else ''}{''.join(spans)}]", at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    if text.startswith("\\", at):
        at += 1
    elif text[at : at + 1] in ("-", "]"):
        raise _bad(text)
    if at >= len(text):
        raise _bad(text)
    return text[at], at + 1


def _bad(text: str) -> InvalidConfig:
    return InvalidConfig(f"the ignore pattern `{text}` cannot be read", hint="a `[` or a `\\` in it is not complete")


class DockerRules:
    """One list of Docker's patterns."""

    def __init__(self, patterns: list[str], cache: StatCache) -> None:
        self._patterns = [Pattern(pattern) for pattern in patterns if pattern not in ("", "!")]
        self._cache = cache
        self._verdicts = cache.verdicts(named_hash("docker", [("pattern", pattern) for pattern in patterns]))
        # For each folder: whether it is excluded, and which patterns match it or a parent of it.
        self._folders: dict[str, tuple[bool, list[bool]]] = {"": (False, [])}

    def excluded(self, path: str, folder: bool) -> bool:
        """See Excluding."""
        verdict = self._verdicts.get(path)
        if verdict is None:
            verdict = self._verdicts[path] = self._ask(path)[0]
            self._cache.learnt()
        return verdict

    def prunes(self, folder: str) -> bool:
        """See Excluding."""
        return not any(pattern.negated and pattern.reaches_into(folder) for pattern in self._patterns)

    def _ask(self, path: str) -> tuple[bool, list[bool]]:
        """PatternMatcher.MatchesUsingParentResults, from the top down."""
        parent = posixpath.dirname(path)
        if parent not in self._folders:
            self._folders[parent] = self._ask(parent)
        inherited = self._folders[parent][1] or [False] * len(self._patterns)
        matched = False
        matches = []
        for pattern, match in zip(self._patterns, inherited, strict=True):
            # Only what can change the verdict is compared; what is not compared counts as no match further down.
            if not match and pattern.negated == matched:
                match = pattern.matches(path)
            matches.append(match)
            if match:
                matched = not pattern.negated
        return matched, matches


class Rules:
    """One list of gitignore patterns; asks pathspec only for paths that it was never asked before."""

    def __init__(self, patterns: list[str], cache: StatCache) -> None:
        self._patterns = patterns
        self._cache = cache
        self._verdicts = cache.verdicts(named_hash("ignore", [("pattern", pattern) for pattern in patterns]))
        self._match: Callable[[str], bool] | None = None

    def excluded(self, path: str, folder: bool) -> bool:
        """See Excluding."""
        key = f"{path}/" if folder else path
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdicts[key] = self._ask(key)
            self._cache.learnt()
        return verdict

    def prunes(self, folder: str) -> bool:
        """See Excluding: always so with gitignore."""
        return True

    def _ask(self, key: str) -> bool:
        if self._match is None:
            # pathspec costs 25 ms to import and compile.
            from pathspec import PathSpec

            self._match = PathSpec.from_lines("gitignore", self._patterns).match_file
        return self._match(key)


def read_ignore_file(context: int, path: str = "") -> list[str]:
    """The patterns of an ignore file; none when it is not there.

    context: descriptor of the folder whose .dockerignore is read
    path: an absolute path to read instead
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags) if path else os.open(".dockerignore", flags, dir_fd=context)
    except OSError:
        return []
    try:
        text = os.read(descriptor, 1 << 20) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    return docker_patterns(text.decode("utf-8", "surrogateescape"))
