"""A line of a Dockerfile in parts: keyword, flags, words, name-and-value pairs, JSON arrays. No variable is touched."""

from __future__ import annotations

from stackpy_runtime import json_text
from stackpy_runtime.dockerfile.expansion import SPACES
from stackpy_runtime.patterns import pattern
from stackpy_runtime.records import NamedTuple

_GAP = pattern(r"[\t\v\f\r ]+")
_SURROGATE = pattern("[\ud800-\udfff]")


class BadSyntax(ValueError):
    """A line that no instruction can be made of.

    hint: what would be right, or ""
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Command(NamedTuple):
    """A line as keyword, flags (`--name=value`, unquoted) and the rest."""

    keyword: str
    flags: list[str]
    rest: str


def command(line: str, escape: str) -> Command:
    """Parts a line; flags are all words at its beginning that start with `--`, up to a lone `--`."""
    keyword, *behind = _GAP.split(line.strip(SPACES), maxsplit=1)
    if not behind:
        return Command(keyword, [], "")
    flags, rest = _flags(behind[0], escape)
    return Command(keyword, flags, rest.strip(SPACES))


def _flags(text: str, escape: str) -> tuple[list[str], str]:
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in SPACES:
            at += 1
        if not text.startswith("--", at):
            return flags, text[at:]
        flag, at = _flag(text, at, escape)
        if flag == "--":
            return flags, text[at:]
        flags.append(flag)


def _flag(text: str, at: int, escape: str) -> tuple[str, int]:
    """One flag and where it ends; its quotes and escapes are taken away."""
    letters: list[str] = []
    quote = ""
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == quote:
                quote, letter = "", ""
        elif letter in SPACES:
            break
        elif letter in "'\"":
            quote, letter = letter, ""
        if letter == escape:
            at += 1
            letter = text[at : at + 1]
        letters.append(letter)
        at += 1
    return "".join(letters), at


def split(text: str) -> list[str]:
    """Words between spaces; quotes mean nothing."""
    return _GAP.split(text) if text else []


def quoted_words(text: str, escape: str) -> list[str]:
    """Words between spaces outside quotes; quotes and escapes stay, for whoever expands the words."""
    words: list[str] = []
    letters: list[str] = []
    quote = ""
    begun = False
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        if not quote and letter in SPACES:
            if begun:
                words.append("".join(letters))
            letters, begun = [], False
            continue
        if letter == escape and quote != "'":
            if at == len(text):
                break  # an escape at the end of a line escapes nothing
            letters += (letter, text[at])
            at += 1
        else:
            if letter == quote:
                quote = ""
            elif not quote and letter in "'\"":
                quote = letter
            letters.append(letter)
        begun = True
    if begun:
        words.append("".join(letters))
    return words


class Pair(NamedTuple):
    """A name with its value, both as written. `legacy`: written with a space instead of `=`."""

    name: str
    value: str
    legacy: bool


def pairs(text: str, keyword: str, escape: str) -> list[Pair]:
    """`name=value …`, or the old `name the whole rest`; raises BadSyntax."""
    words = quoted_words(text, escape)
    if not words:
        return []
    if "=" not in words[0]:
        parts = _GAP.split(text, maxsplit=1)
        if len(parts) < 2:
            raise BadSyntax(f"{keyword} needs a name and a value", f"write `{keyword} {words[0]}=value`")
        return [Pair(parts[0], parts[1], True)]
    result: list[Pair] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            hint = "values with spaces stand in quotes" if result else ""
            raise BadSyntax(f"`{word}` is no `name=value`", hint)
        result.append(Pair(name, value, False))
    return result


def json_array(text: str) -> list[str] | None:
    """The strings of a JSON array; None when the text is none, which makes it the shell form.

    Raises BadSyntax for a valid array with something else than strings in it.
    """
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        values = json_text.loads(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        wrong = next(value for value in values if not isinstance(value, str))
        raise BadSyntax(
            f"the JSON array holds {json_text.dumps(wrong)[:60]}, which is no string",
            "put each argument into double quotes",
        )
    # Half a surrogate pair, which Go reads as U+FFFD and nothing can be encoded with.
    return [_SURROGATE.sub("\ufffd", value) for value in values]
