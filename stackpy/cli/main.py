"""The entry point: words → command → exit code, and the one place that prints errors.

Exit codes: 0 done or nothing to change, 1 failed, 2 changes (`plan --detailed-exitcode`), 64 wrong usage, 125 to 127
and 128+n of `run` and `exec` as docker's, 130 interrupted, 141 the reader of our output has gone.
"""

from __future__ import annotations

import os
import sys

from stackpy.cli import options, parsing, table
from stackpy.cli.context import Context
from stackpy.cli.grammar import Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from stackpy.cli.grammar import Command

INTERRUPTED, BROKEN_PIPE = 130, 141
_VERSION = Option("-V", "--version", help="show the version")


def main(last: Callable[[], None] | None = None) -> NoReturn:
    """The program: runs the process's command line and ends the process; `last` is called when all is done."""
    import gc

    # Most commands end before collecting would pay; what goes on for long still collects, later.
    gc.set_threshold(50_000, 20, 20)
    _end(run(sys.argv[1:], Context(options.Globals())), last)


def oci(last: Callable[[], None] | None = None) -> NoReturn:
    """The program `stackpy-oci`: `stackpy oci`, for callers that want the path of a runtime."""
    _end(run(["oci", *sys.argv[1:]], Context(options.Globals())), last)


def _end(code: int, last: Callable[[], None] | None) -> NoReturn:
    # Nothing is left to finalize, which would take as long as a fork does: what is on disk was closed or is a database
    # that any end leaves whole.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            pass  # `run` has seen it, and the exit code says so (EPIPE; EIO of a terminal that was closed)
    if last is not None:
        last()
    os._exit(code)


def run(words: list[str], context: Context) -> int:
    """Runs a command line (without the program's name) and returns its exit code."""
    try:
        return _reported(words, context)
    except BrokenPipeError:
        # Nobody reads on. The interpreter flushes once more at exit, and must not complain then.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return BROKEN_PIPE


def _reported(words: list[str], context: Context) -> int:
    """Runs it and prints what went wrong; raises BrokenPipeError where nobody reads that."""
    try:
        code = _dispatch(words, context)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except StackpyError as error:
        from stackpy.cli.failures import report

        return report(error, context)
    except Exception as error:  # the last resort: a defect of ours, shown as one line and kept in a file
        from stackpy.cli.failures import report_unexpected

        return report_unexpected(error, words, context)
    return code


def _dispatch(words: list[str], context: Context) -> int:
    before = parsing.parse_options(words, (*options.GLOBAL, options.HELP, _VERSION), "stackpy", positional=1)
    context.globals = options.merge(context.globals, before.values, before.given)
    if before.values["version"]:
        return _run(table.load("version"), [], context)
    verb, *rest = before.words or ["help"]
    if verb == "__complete":
        from stackpy.cli.commands.completion import complete  # what the shells' scripts call

        return complete(context, rest)
    if verb == "help" and rest:
        verb, rest = rest[0], [*rest[1:], "--help"]
    if verb == "help" or before.values["help"]:
        return _program_help()
    if verb in table.NOUNS:
        if not rest or rest[0] in options.HELP.names:
            return _noun_help(verb)
        if f"{verb} {rest[0]}" not in table.NAMES:
            known = [name for name in table.NAMES if name.startswith(f"{verb} ")]
            raise _unknown_command(f"{verb} {rest[0]}", known, f"stackpy {verb} --help")
        return _run(table.load(f"{verb} {rest[0]}"), rest[1:], context)
    if verb not in table.NAMES:
        raise _unknown_command(verb, table.VERBS, "stackpy --help")
    return _run(table.load(verb), rest, context)


def _run(command: Command, words: list[str], context: Context) -> int:
    behind = options.behind_verb(command)
    verb = f"stackpy {command.name}"
    found = parsing.parse_command(words, (*command.options, *behind), command.arguments, verb, command.refused)
    if found.values["help"]:
        from stackpy.cli import help as texts  # only when asked

        print(texts.of_command(command, options.GLOBAL))
        return 0
    own = {option.key for option in command.options}
    context.globals = options.merge(context.globals, found.values, found.given - own)
    context.verb = command.name
    return command.run(context, parsing.to_arguments(found))


def _program_help() -> int:
    from stackpy.cli import help as texts

    groups = [
        (title, [(command.name, command.summary) for command in commands]) for title, commands in table.commands()
    ]
    print(texts.of_program(groups, (*options.GLOBAL, options.HELP, _VERSION)))
    return 0


def _noun_help(noun: str) -> int:
    from stackpy.cli import help as texts

    commands = [table.load(name) for name in table.NAMES if name.startswith(f"{noun} ")]
    print(texts.of_group(noun, [(command.name.partition(" ")[2], command.summary) for command in commands]))
    return 0


def _unknown_command(typed: str, known: Sequence[str], see: str) -> UsageError:
    from stackpy.cli.docker_words import INSTEAD  # only for a mistake

    if typed in INSTEAD:
        return UsageError(f"unknown command `{typed}`", hint=INSTEAD[typed])
    close = parsing.nearest(typed, known)
    meant = f"did you mean `stackpy {close}`? " if close else ""
    return UsageError(f"unknown command `{typed}`", hint=f"{meant}`{see}` lists all commands")


if __name__ == "__main__":
    main()
