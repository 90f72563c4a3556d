"""What is wrong with a Dockerfile, or not as it should be, each with its line; and the error that tells all at once."""

from __future__ import annotations

import re

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.records import NamedTuple

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"


class Problem(NamedTuple):
    """One finding.

    line: 1-based; 0: no line in particular
    rule: the name of the check that warns, as `docker build --check` calls it; "" for an error
    hint: what to do, or ""
    source: the line itself, or ""
    """

    file: str
    line: int
    message: str
    rule: str = ""
    hint: str = ""
    source: str = ""

    @property
    def place(self) -> str:
        """`Dockerfile:12`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def url(self) -> str:
        """The page that explains the check; "" for an error and for a check that is ours."""
        if self.rule in ("", "UnusedMountOption"):
            return ""
        return _PAGES + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", self.rule).lower() + "/"

    def __str__(self) -> str:
        name = f"{self.rule}: " if self.rule else ""
        shown = f"\n  {self.line:>3} | {self.source}" if self.source else ""
        hint = f"\n      = {self.hint}" if self.hint else ""
        return f"{self.place}: {name}{self.message}{shown}{hint}"


class InvalidDockerfile(InvalidConfig):
    """A Dockerfile that cannot be built; everything independent that is wrong with it is in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Problems:
    """Collects what is found in one file."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines = text.split("\n")
        self._found: dict[Problem, None] = {}

    def add(self, line: int, message: str, hint: str = "", *, rule: str = "") -> None:
        """Notes a problem; the same one again is not noted twice."""
        self._found[Problem(self.file, line, message, rule, hint, self.source(line))] = None

    def source(self, line: int) -> str:
        """A line of the file as it stands there, printable; "" when there is none."""
        if not 1 <= line <= len(self._lines):
            return ""
        text = self._lines[line - 1].rstrip().expandtabs(4)
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
        return shown if len(shown) <= 160 else f"{shown[:157]}..."

    @property
    def all(self) -> list[Problem]:
        """What was found, by line."""
        return sorted(self._found, key=lambda problem: problem.line)

    def refuse(self) -> None:
        """Raises InvalidDockerfile for all that was found; does nothing when that is nothing."""
        if self._found:
            raise InvalidDockerfile(self.all)


def meant(word: str, known: list[str], *, expected: str = "expected") -> str:
    """A hint: the nearest valid word, or all of them."""
    import difflib

    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), folded, 1)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    if not known:
        return ""
    listed = ", ".join(f"`{each}`" for each in known)
    return f"{expected} {listed}" if len(known) == 1 else f"{expected} one of {listed}"
