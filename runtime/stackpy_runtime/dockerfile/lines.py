"""From a Dockerfile's text to its instructions as lines: directives, comments, continuations, heredocs.

The rules are those of BuildKit's parser (frontend/dockerfile/parser), its oddities included: comments and empty lines
inside an instruction are skipped, white space at the beginning of a continued line stays.
"""

from __future__ import annotations

from stackpy_runtime.dockerfile import words
from stackpy_runtime.dockerfile.expansion import SPACES, BadWord, expand
from stackpy_runtime.patterns import pattern
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.dockerfile.problems import Problems

DIRECTIVES = ("syntax", "escape", "check")

_DIRECTIVE = pattern(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = pattern(r"(\d*)<<(-?)\s*([^<]*)")
_TABS = pattern(r"^\t+", lines=True)
_SURROGATE = pattern("[\ud800-\udfff]")
_CONTINUED = {
    letter: pattern(rf"(?:(?<=[^{escaped}])|\A){escaped}[ \t]*\Z") for letter, escaped in (("\\", r"\\"), ("`", "`"))
}
_WITH_HEREDOCS = ("run", "copy", "add")


class Heredoc(NamedTuple):
    """A here-document as it is announced, with its content as it stands in the file.

    expand: its content holds variables, since no part of its name is quoted
    chomp: `<<-`, tabs at the beginning of its lines go
    """

    name: str
    expand: bool
    chomp: bool
    content: str = ""

    @property
    def text(self) -> str:
        """The content as it is meant."""
        return _TABS.sub("", self.content) if self.chomp else self.content


class Line(NamedTuple):
    """One instruction.

    keyword: as written
    text: the whole line, continuations joined
    rest: what stands behind keyword and flags
    first, last: line numbers
    comments: those right above
    """

    keyword: str
    flags: list[str]
    rest: str
    text: str
    first: int
    last: int
    heredocs: list[Heredoc]
    comments: list[str]

    @property
    def kind(self) -> str:
        """The keyword in lower case."""
        return self.keyword.lower()


class File(NamedTuple):
    """A Dockerfile in lines.

    directives: value and line of each
    gaps: last lines of instructions that have an empty line inside
    """

    lines: list[Line]
    escape: str
    directives: dict[str, tuple[str, int]]
    gaps: list[int]


def read(text: str, problems: Problems) -> File:
    """The instructions of a Dockerfile; what is no instruction is noted in `problems` and left out."""
    return _Reader(text, problems).read()


def heredoc(word: str) -> Heredoc | None:
    """The here-document that a word announces; None for any other word. Raises BadWord."""
    found = _HEREDOC.fullmatch(word)
    if not found or not found[3]:
        return None
    # Read with quotes and without: where their number differs a part of the name is quoted.
    plain = expand(found[3], {}, keep_unset=True).words
    if len(plain) != 1:
        return None
    raw = expand(found[3], {}, keep_unset=True, raw_quotes=True).words
    unquoted = len(raw) == 1 and _quotes(raw[0]) == _quotes(plain[0])
    return Heredoc(plain[0], unquoted, found[2] == "-")


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


def _announced(line: str) -> list[Heredoc]:
    try:
        parts = expand(line, {}, keep_unset=True, raw_quotes=True, raw_escapes=True).words
    except BadWord:
        return []  # the shell will say what is wrong with it
    return [found for found in map(heredoc, parts) if found]


class _Reader:
    def __init__(self, text: str, problems: Problems) -> None:
        self._problems = problems
        self._lines = text.removeprefix("\ufeff").split("\n")
        if not self._lines[-1]:
            self._lines.pop()
        self._number = 0  # of the lines read, which is also the number of the last of them
        self._escape = "\\"
        self._directives: dict[str, tuple[str, int]] = {}
        self._directives_over = False
        self._gaps: list[int] = []

    def read(self) -> File:
        found: list[Line] = []
        comments: list[str] = []
        while self._number < len(self._lines):
            line = self._next().lstrip(SPACES)
            if line.startswith("#"):
                if not self._directive(line):
                    comment = line[1:].strip(SPACES)
                    comments = [*comments, comment] if comment else []
                continue
            self._directives_over = True
            if line:
                made = self._instruction(line, comments)
                comments = []
                if made:
                    found.append(made)
        return File(found, self._escape, self._directives, self._gaps)

    def _next(self) -> str:
        line = self._lines[self._number].rstrip("\r\n")
        self._number += 1
        return line

    def _directive(self, line: str) -> bool:
        """Takes a comment that is a directive; they stand before anything else."""
        if self._directives_over:
            return False
        match = _DIRECTIVE.fullmatch(line[1:].lstrip(SPACES))
        name = match[1].lower() if match else ""
        if not match or name not in DIRECTIVES:
            # A program that the file is to be run with does not end them.
            self._directives_over = not (line.startswith("#!") and self._number == 1)
            return False
        if name in self._directives:
            self._problems.add(self._number, f"the directive `{name}` stands twice", "keep one of them")
            return True
        self._directives[name] = match[2], self._number
        if name == "escape":
            if match[2] in _CONTINUED:
                self._escape = match[2]
            else:
                hint = "expected `\\` or a backtick"
                self._problems.add(self._number, f"`{match[2]}` cannot be the escape character", hint)
        return True

    def _instruction(self, line: str, comments: list[str]) -> Line | None:
        first = self._number
        text = self._joined(line)
        try:
            parts = words.command(text, self._escape)
            heredocs = self._heredocs(parts, text, first)
        except words.BadSyntax as error:
            self._problems.add(first, error.message, error.hint)
            return None
        except BadWord as error:
            self._problems.add(first, str(error))
            return None
        if heredocs is None:
            return None
        if _SURROGATE.search(text) or any(_SURROGATE.search(each.content) for each in heredocs):
            self._problems.add(first, "the instruction is not UTF-8", "convert the file: iconv -t UTF-8")
            return None
        return Line(parts.keyword, parts.flags, parts.rest, text, first, self._number, heredocs, comments)

    def _joined(self, line: str) -> str:
        """The whole instruction that begins with `line`."""
        parts: list[str] = []
        gap = False
        following: str | None = line
        while following is not None:
            shorter = _CONTINUED[self._escape].sub("", following)
            parts.append(shorter)
            if shorter == following:
                break
            following = None
            while self._number < len(self._lines):
                raw = self._next()
                bare = raw.lstrip(SPACES)
                if bare and not bare.startswith("#"):
                    following = raw
                    break
                gap = gap or not bare
        if gap:
            self._gaps.append(self._number)
        return "".join(parts)

    def _heredocs(self, parts: words.Command, text: str, first: int) -> list[Heredoc] | None:
        """The here-documents of an instruction, read from the lines behind it; None when one is not closed."""
        if parts.keyword.lower() == "onbuild":
            parts = words.command(parts.rest, self._escape)
        if "<<" not in text or parts.keyword.lower() not in _WITH_HEREDOCS or words.json_array(parts.rest) is not None:
            return []
        result = []
        for announced in _announced(text):
            content: list[str] = []
            while True:
                if self._number >= len(self._lines):
                    hint = f"end it with a line that is just `{announced.name}`"
                    self._problems.add(first, f"the heredoc `{announced.name}` is never closed", hint)
                    return None
                raw = self._lines[self._number]
                self._number += 1
                bare = raw.rstrip("\r\n")
                if (bare.lstrip("\t") if announced.chomp else bare) == announced.name:
                    break
                content.append(f"{raw}\n")
            result.append(announced._replace(content="".join(content)))
        return result
