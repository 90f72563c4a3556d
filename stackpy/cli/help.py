"""--help, made from the tables of the commands."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackpy.cli.grammar import Command, Option


def of_command(command: Command, global_options: Sequence[Option]) -> str:
    """The help of one command."""
    blocks = [f"Usage: {command.usage}", f"{command.summary}."]
    if command.details:
        blocks.append(command.details)
    if command.arguments:
        rows = [(argument.name, argument.help) for argument in command.arguments]
        blocks.append("Arguments:\n" + _columns(rows))
    if command.options:
        blocks.append("Options:\n" + options(command.options))
    if command.stack:
        own = {name for option in command.options for name in option.names}
        shown = [option for option in global_options if not own.issuperset(option.names)]
        blocks.append("Global options:\n" + options(shown))
    blocks.append("Examples:\n" + "\n".join(f"  {line}\n      {what}" for line, what in command.examples))
    return "\n\n".join(blocks)


def of_program(groups: Sequence[tuple[str, Sequence[tuple[str, str]]]], global_options: Sequence[Option]) -> str:
    """The help of the program: groups of (title, [(command, summary)])."""
    blocks = [
        "Usage: stackpy [GLOBAL OPTIONS] COMMAND [...]",
        "Declarative stacks of containers in Python, on a container engine of their own.",
    ]
    blocks += [f"{title}:\n{_columns(rows)}" for title, rows in groups]
    blocks.append("Global options:\n" + options(global_options))
    blocks.append(
        "Start here:\n"
        "  stackpy init\n      writes a small stack\n"
        "  stackpy apply\n      shows the plan, asks, and runs it"
    )
    blocks.append("`stackpy COMMAND --help` explains a command.")
    return "\n\n".join(blocks)


def of_group(name: str, rows: Sequence[tuple[str, str]]) -> str:
    """The help of a noun: `stackpy image`."""
    blocks = [f"Usage: stackpy {name} COMMAND [...]", "Commands:\n" + _columns(rows)]
    return "\n\n".join([*blocks, f"`stackpy {name} COMMAND --help` explains a command."])


def options(table: Sequence[Option]) -> str:
    """The lines of an option table."""
    return _columns([(_names(option), option.help) for option in table])


def _names(option: Option) -> str:
    short = ", ".join(name for name in option.names if not name.startswith("--"))
    long = ", ".join(name for name in option.names if name.startswith("--"))
    both = f"{short}, {long}" if short and long else short or f"    {long}"
    return f"{both} {option.metavar}".rstrip()


def _columns(rows: Sequence[tuple[str, str]]) -> str:
    width = min(max((len(left) for left, _ in rows), default=0), 30)
    return "\n".join(f"  {left:<{width}}  {right}".rstrip() for left, right in rows)
