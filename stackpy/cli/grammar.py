"""What a command line is made of, as data: parsing, --help and shell completion read the same tables.

argparse was tried first. It abbreviates options behind the user's back, reads options behind `run IMAGE`'s command, has
its own form of error, and cannot say what completes a word; with its 9 ms it was also the dearest import of `run`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from stackpy.cli.context import Context

    Words = Literal["", "file", "folder", "container", "image", "network", "volume", "resource", "stack", "command"]


class Option:
    """An option of a command.

    names: short and long forms; the last long one names the value (`--env-file` → `env_file`) unless `key` does
    help: one line, lower case
    metavar: what stands for its value in help; "" makes it a flag
    many: may be given several times; the value is a list
    convert: text → value; raises ValueError saying what was expected
    words: what a shell completes its value with
    """

    __slots__ = ("choices", "convert", "default", "help", "key", "many", "metavar", "names", "words")

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002  # the word that users look for; it shadows nothing in this body
        metavar: str = "",
        many: bool = False,
        convert: Callable[[str], Any] | None = None,
        choices: tuple[str, ...] = (),
        default: Any = None,
        key: str = "",
        words: Words = "",
    ) -> None:
        self.names, self.help, self.metavar, self.many = names, help, metavar, many
        self.convert, self.choices, self.words = convert, choices, words
        self.key = key or names[-1].lstrip("-").replace("-", "_")
        self.default = default if metavar else bool(default)

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar

    def renamed(self, *names: str) -> Option:
        """The same option under other names."""
        return Option(
            *names,
            help=self.help,
            metavar=self.metavar,
            many=self.many,
            convert=self.convert,
            choices=self.choices,
            default=self.default,
            key=self.key,
            words=self.words,
        )


class Argument:
    """A positional argument.

    many: takes all remaining words; `optional`: may be missing
    rest: takes all remaining words as they are, options too (the command of `run` and `exec`)
    """

    __slots__ = ("help", "key", "many", "name", "optional", "rest", "words")

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002  # as above
        many: bool = False,
        optional: bool = False,
        rest: bool = False,
        words: Words = "",
    ) -> None:
        self.name, self.help, self.many, self.optional, self.rest, self.words = name, help, many, optional, rest, words
        self.key = name.lower().replace("-", "_")

    @property
    def usage(self) -> str:
        """How it stands in a usage line."""
        if self.rest:
            return f"[{self.name} [ARG...]]" if self.optional else f"{self.name} [ARG...]"
        text = f"{self.name}..." if self.many else self.name
        return f"[{text}]" if self.optional else text


class Arguments:
    """The parsed values, by key: `arguments.env_file`."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Command:
    """A verb.

    name: as typed, "image ls"
    summary: one line, capitalised, no full stop
    run: does it and returns the exit code
    options, arguments: what it takes
    examples: (command line, what it does) — at least one
    details: paragraphs of --help behind the summary
    stack: a stack verb, which takes the global options after itself as well
    refused: docker's options that it does not have: why, and what to do
    """

    __slots__ = ("arguments", "details", "examples", "name", "options", "refused", "run", "stack", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        run: Callable[[Context, Any], int],
        *,
        examples: Sequence[tuple[str, str]],
        options: Sequence[Option] = (),
        arguments: Sequence[Argument] = (),
        details: str = "",
        stack: bool = False,
        refused: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.name, self.summary, self.run = name, summary, run
        self.examples, self.options, self.arguments = tuple(examples), tuple(options), tuple(arguments)
        self.details, self.stack, self.refused = details, stack, refused or {}

    @property
    def usage(self) -> str:
        """Its usage line."""
        words = [f"stackpy {self.name}", "[OPTIONS]" if self.options else "", *(a.usage for a in self.arguments)]
        return " ".join(word for word in words if word)
