"""Words of a command line → values, by a command's tables. Pure: raises UsageError, prints nothing."""

from __future__ import annotations

from stackpy.cli.grammar import Arguments
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from stackpy.cli.grammar import Argument, Option

_TRUE, _FALSE = ("true", "1"), ("false", "0")
_NONE: dict[str, tuple[str, str]] = {}


class Parsed:
    """The values of options and positional words. `given` names the keys that stood on the command line."""

    __slots__ = ("given", "values", "words")

    def __init__(self, values: dict[str, Any], given: set[str], words: list[str]) -> None:
        self.values, self.given, self.words = values, given, words


def parse_options(
    words: Sequence[str],
    options: Sequence[Option],
    verb: str,
    *,
    positional: int | None,
    refused: Mapping[str, tuple[str, str]] = _NONE,
) -> Parsed:
    """Reads the options among `words`.

    verb: for messages: "stackpy run"
    positional: after so many positional words everything else is positional too; None: options may stand anywhere
    refused: options that the verb does not have: why, and what to do
    """
    table = {name: option for option in options for name in option.names}
    values: dict[str, Any] = {
        option.key: ([] if option.many else option.default) if not option.is_flag else option.default
        for option in options
    }
    given: set[str] = set()
    rest: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            rest += words[index:]
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if positional is not None and len(rest) >= positional:
                rest += words[index:]
                break
            continue
        for option, name, attached in _split(word, table, verb, refused):
            given.add(option.key)
            if option.is_flag:
                values[option.key] = _flag(name, attached, verb)
                continue
            if attached is None:
                if index >= len(words):
                    raise UsageError(f"`{name}` needs a value: {option.metavar}", hint=_see(verb))
                attached = words[index]
                index += 1
            value = _convert(option, name, attached)
            if option.many:
                values[option.key].append(value)
            else:
                values[option.key] = value
    return Parsed(values, given, rest)


def parse_command(
    words: Sequence[str],
    options: Sequence[Option],
    arguments: Sequence[Argument],
    verb: str,
    refused: Mapping[str, tuple[str, str]] = _NONE,
) -> Parsed:
    """Reads options and positional arguments of one command; the values of both are in `values`.

    With --help among them the positional ones are not looked at.
    """
    takes_rest = any(argument.rest for argument in arguments)
    positional = sum(1 for argument in arguments if not argument.rest) if takes_rest else None
    parsed = parse_options(words, options, verb, positional=positional, refused=refused)
    if parsed.values.get("help"):
        return parsed
    remaining = list(parsed.words)
    if takes_rest and len(remaining) > (positional or 0) and remaining[positional or 0] == "--":
        del remaining[positional or 0]  # `exec web -- ls`: the shell habit of marking where the command begins
    for argument in arguments:
        if argument.rest or argument.many:
            taken, remaining = remaining, []
        else:
            taken, remaining = remaining[:1], remaining[1:]
        if not taken and not argument.optional:
            raise UsageError(f"`{verb}` needs {_article(argument)}", hint=_see(verb))
        parsed.values[argument.key] = taken if argument.rest or argument.many else (taken[0] if taken else None)
    if remaining:
        raise UsageError(f"`{verb}` takes no argument `{remaining[0]}`", hint=_see(verb))
    return parsed


def to_arguments(parsed: Parsed) -> Arguments:
    """The values as attributes."""
    return Arguments(parsed.values)


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that `word` was probably meant to be, or ""."""
    from stackpy.dsl.values import nearest as closest  # only for a mistake

    dashes = word[: len(word) - len(word.lstrip("-"))]
    bare = {name.removeprefix(dashes): name for name in known if name.startswith(dashes)}
    found = closest(word.removeprefix(dashes), bare)
    if found:
        return bare[found]
    starts = [name for name in known if len(word.lstrip("-")) >= 2 and name.startswith(word)]
    return starts[0] if len(starts) == 1 else ""


def _split(
    word: str, table: dict[str, Option], verb: str, refused: Mapping[str, tuple[str, str]]
) -> list[tuple[Option, str, str | None]]:
    """One word → the options in it, each with its name and attached value."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        if name in refused:
            reason, hint = refused[name]
            raise UsageError(f"`{verb}` has no `{name}`: {reason}", hint=hint)
        if name not in table:
            raise _unknown(name, table, verb)
        return [(table[name], name, value if equals else None)]
    found: list[tuple[Option, str, str | None]] = []
    for position in range(1, len(word)):
        name = f"-{word[position]}"
        if name not in table:
            raise _unknown(word if position == 1 and f"-{word}" in table else name, table, verb)
        option = table[name]
        after = word[position + 1 :]
        if not option.is_flag:
            found.append((option, name, after.removeprefix("=") if after else None))
            break
        found.append((option, name, None))
    return found


def _unknown(name: str, table: dict[str, Option], verb: str) -> UsageError:
    candidate = f"-{name}" if f"-{name}" in table else nearest(name, list(table)) if len(name) > 2 else ""
    meant = f"did you mean `{candidate}`? " if candidate else ""
    return UsageError(f"unknown option `{name}` for `{verb}`", hint=f"{meant}{_see(verb)}")


def _flag(name: str, value: str | None, verb: str) -> bool:
    if value is None or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise UsageError(f"`{name}` takes no value: `{value}`", hint=_see(verb))


def _convert(option: Option, name: str, text: str) -> Any:
    if text.lower() in option.choices:
        text = text.lower()  # docker's own examples have `-a STDIN`
    if option.choices and text not in option.choices:
        close = nearest(text, option.choices)
        meant = f"did you mean `{close}`? " if close else ""
        raise UsageError(f"`{name}`: unknown value `{text}`", hint=f"{meant}one of {', '.join(option.choices)}")
    if option.convert is None:
        return text
    try:
        return option.convert(text)
    except ValueError as error:
        # the stack file's parsers say themselves what they expected
        hint = getattr(error, "hint", "") or ("" if "must be" in str(error) else f"expected {option.metavar}")
        raise UsageError(f"`{name} {text}`: {error}", hint=hint) from error


def _article(argument: Argument) -> str:
    if argument.many:
        return f"at least one {argument.name}"
    return f"{'an' if argument.name[0] in 'AEIOU' else 'a'} {argument.name}"


def _see(verb: str) -> str:
    return f"`{verb} --help` shows what it takes"
