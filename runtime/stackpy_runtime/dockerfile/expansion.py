"""Words of a Dockerfile: quotes, escapes and variables, read as BuildKit's shell lexer reads them.

It is no shell: there are no commands in it, and RUN, CMD and ENTRYPOINT are left to the real one. What differs from a
shell is on purpose the same here as there (an unset variable is empty, `<<` stays together with its word).
"""

from __future__ import annotations

from stackpy_runtime.dockerfile import shell_patterns
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Go's unicode.IsSpace; Python's own str.isspace takes four separators more.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
SPACES += "\u205f\u3000"

_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")


class BadWord(ValueError):
    """A word that cannot be read, or a variable that must be set and is not; says what."""


class Expanded(NamedTuple):
    """What came of a word: the text, its parts at unquoted spaces, the variables found in the environment or not."""

    text: str
    words: list[str]
    found: set[str]
    missing: set[str]


def expand(
    word: str,
    environment: Mapping[str, str],
    *,
    escape: str = "\\",
    quotes: bool = True,
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    keep_unset: bool = False,
) -> Expanded:
    """Reads a word and puts the values of variables in; raises BadWord.

    escape: the escape character of the Dockerfile
    quotes: whether quotes mean anything; they do not in the content of a heredoc
    raw_quotes, raw_escapes: leaves them in the text
    keep_unset: leaves a variable that is not set as it is written
    """
    reader = _Reader(word, environment, escape, quotes, raw_quotes, raw_escapes, keep_unset)
    try:
        text, words = reader.read("", raw_escapes)
    except RecursionError:
        raise BadWord("variables are nested too deeply") from None
    return Expanded(text, words, reader.found, reader.missing)


class _Words:
    """Parts of a text at its unquoted spaces, as they come."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._current: list[str] = []

    def plain(self, text: str) -> None:
        for letter in text:
            if letter in SPACES:
                self._end()
            else:
                self._current.append(letter)

    def quoted(self, text: str) -> None:
        self._current.append(text)

    def _end(self) -> None:
        # A pair of quotes with nothing in it makes no word.
        if any(self._current):
            self._words.append("".join(self._current))
            self._current.clear()

    def all(self) -> list[str]:
        self._end()
        return self._words


class _Reader:
    """One word under way. `_text[_at]` is the next letter; "" stands for the end."""

    def __init__(
        self,
        text: str,
        environment: Mapping[str, str],
        escape: str,
        quotes: bool,
        raw_quotes: bool,
        raw_escapes: bool,
        keep_unset: bool,
    ) -> None:
        self._text, self._at = text, 0
        self._environment, self._escape, self._quotes = environment, escape, quotes
        self._raw_quotes, self._raw_escapes, self._keep_unset = raw_quotes, raw_escapes, keep_unset
        self.found: set[str] = set()
        self.missing: set[str] = set()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        letter = self._text[self._at : self._at + 1]
        self._at += 1
        return letter

    def read(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """The text up to `stop`, which is taken too, or to the end when that is ""."""
        before, self._raw_escapes = self._raw_escapes, raw_escapes
        try:
            return self._read(stop)
        finally:
            self._raw_escapes = before

    def _read(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _Words()
        while letter := self._peek():
            if letter == stop:
                self._next()
                return "".join(result), words.all()
            if letter == "$":
                text = self._dollar()
                words.plain(text)
            elif letter == "<":
                text = self._heredoc_mark()
                words.quoted(text)
            elif letter == "'" and self._quotes:
                text = self._single_quotes()
                words.quoted(text)
            elif letter == '"' and self._quotes:
                text = self._double_quotes()
                words.quoted(text)
            elif letter == self._escape:
                self._next()
                text = letter if self._raw_escapes else ""
                # An escape at the very end escapes nothing and goes.
                text += self._next()
                words.quoted(text)
            else:
                text = self._next()
                words.plain(text)
            result.append(text)
        if stop:
            raise BadWord(f"`{stop}` is missing")
        return "".join(result), words.all()

    def _single_quotes(self) -> str:
        start = self._at
        end = self._text.find("'", start + 1)
        if end < 0:
            raise BadWord("a single quote is opened and never closed")
        self._at = end + 1
        return self._text[start : end + 1] if self._raw_quotes else self._text[start + 1 : end]

    def _double_quotes(self) -> str:
        self._next()
        mark = '"' if self._raw_quotes else ""
        result = [mark]
        while True:
            letter = self._peek()
            if not letter:
                raise BadWord("a double quote is opened and never closed")
            if letter == '"':
                self._next()
                return "".join([*result, mark])
            if letter == "$":
                result.append(self._dollar())
                continue
            self._next()
            if letter == self._escape:
                if self._raw_escapes:
                    result.append(letter)
                following = self._peek()
                if not following:
                    continue
                # Before any other letter it stays, as in sh(1).
                if following in ('"', "$", self._escape):
                    letter = self._next()
            result.append(letter)

    def _heredoc_mark(self) -> str:
        self._next()
        if self._peek() != "<":
            return "<"
        self._next()
        start = self._at
        while self._peek() and self._peek() in "\t\r\n ":
            self._next()
        return "<<" + self._text[start : self._at]

    # --- variables ---------------------------------------------------------------------------------------------------

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return value if value is not None else f"${name}" if self._keep_unset else ""
        self._next()
        if not self._peek():
            raise BadWord("`}` is missing")
        if self._peek() in "{}:":
            raise BadWord("`${` is followed by no name of a variable")
        name = self._name()
        mark = self._next()
        if mark == "}":
            value = self._value(name)
            return value if value is not None else f"${{{name}}}" if self._keep_unset else ""
        if mark == "/":
            return self._replacement(name)
        empty_is_unset = mark == ":"
        written = mark
        if empty_is_unset:
            mark = self._next()
            written += mark
        if not mark or mark in SPACES:
            raise BadWord("`}` is missing")
        if mark not in "+-?#%" or (empty_is_unset and mark in "#%"):
            raise BadWord(f"`{written}` is no modifier of a variable: expected one of :- - :+ + :? ? # ## % %% / //")
        return self._modified(name, mark, written, empty_is_unset)

    def _modified(self, name: str, mark: str, written: str, empty_is_unset: bool) -> str:
        word = self._inside("}", raw=mark in "#%")
        value = self._value(name)
        if value is None and self._keep_unset:
            return f"${{{name}{written}{word}}}"
        absent = value is None or (empty_is_unset and not value)
        if mark == "-":
            return word if absent else value or ""
        if mark == "+":
            return "" if absent else word
        if mark == "?":
            if absent:
                raise BadWord(f"{name}: {word or ('must be set' if value is None else 'must not be empty')}")
            return value or ""
        longest = word.startswith(mark)
        cut = shell_patterns.without_prefix if mark == "#" else shell_patterns.without_suffix
        try:
            return cut(value or "", word[1:] if longest else word, longest=longest)
        except shell_patterns.BadPattern as error:
            raise BadWord(f"the pattern `{word}`: {error}") from None

    def _replacement(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        pattern = self._inside("/", raw=True)
        replacement = self._inside("}", raw=True)
        value = self._value(name)
        if value is None and self._keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return shell_patterns.replaced(value or "", pattern, replacement, every=every)
        except shell_patterns.BadPattern as error:
            raise BadWord(f"the pattern `{pattern}`: {error}") from None

    def _inside(self, stop: str, *, raw: bool) -> str:
        text, _ = self.read(stop, raw)
        return text

    def _name(self) -> str:
        """The name of a variable; digits alone, or one special parameter of the shell, where it begins with such."""
        start = self._at
        first = self._peek()
        if first.isdecimal():
            while self._peek().isdecimal():
                self._next()
        elif first and first in _SPECIAL_PARAMETERS:
            self._next()
        else:
            while (letter := self._peek()) and (letter.isalpha() or letter.isdecimal() or letter == "_"):
                self._next()
        return self._text[start : self._at]

    def _value(self, name: str) -> str | None:
        value = self._environment.get(name)
        (self.missing if value is None else self.found).add(name)
        return value
