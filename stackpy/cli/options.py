"""The global options: before every verb, and behind a stack's verb too."""

from __future__ import annotations

from stackpy.cli.grammar import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from stackpy.cli.grammar import Command

FORMATS = ("text", "json")

HELP = Option("-h", "--help", help="show this help")
GLOBAL = (
    Option("-f", "--file", metavar="FILE", help="the stack file (default: stack.py)", words="file"),
    Option("-e", "--env", metavar="ENV", help="the environment of stackpy.toml", key="environment"),
    Option("--set", metavar="KEY=VALUE", many=True, help="set a variable of the stack", key="sets"),
    Option("--engine", metavar="URL", help="the engine (default: embedded)"),
    Option("--root", metavar="DIR", help="the engine root (default: STACKPY_ROOT or /var/lib/stackpy)", words="folder"),
    Option("--format", metavar="FORMAT", choices=FORMATS, default="text", help="text or json"),
    Option("-q", "--quiet", help="say only what was asked for"),
    Option("-v", "--verbose", help="show the tracebacks of errors, and where the time of a plan went"),
)


class Globals:
    """The values of the global options; "" where one is not given. Not changed once made."""

    __slots__ = ("engine", "environment", "file", "format", "quiet", "root", "sets", "verbose")

    def __init__(
        self,
        file: str = "",
        environment: str = "",
        sets: Sequence[str] = (),
        engine: str = "",
        root: str = "",
        format: str = "text",  # noqa: A002 — the option's name
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        self.file, self.environment, self.sets, self.engine, self.root = file, environment, sets, engine, root
        self.format, self.quiet, self.verbose = format, quiet, verbose


def behind_verb(command: Command) -> tuple[Option, ...]:
    """The global options that may stand behind a command.

    A stack's verb takes them all. Behind the others the letters are docker's (`-e` is a variable, `-f` follows), so
    that only the long forms that the command has not itself are taken.
    """
    own = {name for option in command.options for name in option.names}
    found = []
    for option in (*GLOBAL, HELP):
        names = [name for name in option.names if name not in own and (command.stack or name.startswith("--"))]
        if names and (command.stack or option.key not in ("file", "environment", "sets")):
            found.append(option.renamed(*names))
    return tuple(found)


def merge(before: Globals, values: dict[str, Any], given: Sequence[str] | set[str]) -> Globals:
    """Global options behind the verb laid over those before it; `--set` adds up."""
    changes = {key: values[key] if key in given else getattr(before, key) for key in Globals.__slots__}
    changes["sets"] = (*before.sets, *values["sets"]) if "sets" in given else before.sets
    return Globals(**changes)
