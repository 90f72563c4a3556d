"""docs/commands.md, made from the tables of the commands: `python -m stackpy.cli.reference > docs/commands.md`."""

from __future__ import annotations

from stackpy.cli import help as texts
from stackpy.cli import options, table

INTRODUCTION = """\
# The commands

Written by `python -m stackpy.cli.reference` from what `--help` shows.

Global options stand before the command, and behind a stack's command too; behind the others the letters are docker's
(`-e` is a variable of `run` and `exec`, `-f` follows the logs). Data goes to stdout, everything else to stderr. There
is no colour and no live view where no terminal is, or where `NO_COLOR` is set.

```
{options}
```

| exit code | |
|---|---|
| 0 | done, or nothing to change |
| 1 | failed |
| 2 | `plan --detailed-exitcode`: there are changes |
| 64 | wrong usage |
| 125 | `run`: the engine could not do it |
| 126, 127 | `run`, `exec`: the command cannot be executed, or does not exist |
| 128 + n | `run`, `exec`: the command was killed by signal n |
| 130 | interrupted |
| 141 | the reader of the output has gone |
"""


def reference() -> str:
    """The whole page."""
    blocks = [INTRODUCTION.format(options=texts.options((*options.GLOBAL, options.HELP)))]
    for title, commands in table.commands():
        blocks.append(f"## {title}\n")
        for command in commands:
            shown = texts.of_command(command, ()).replace("\n\nGlobal options:\n", "").rstrip()
            blocks.append(f"### stackpy {command.name}\n\n```\n{shown}\n```\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    print(reference(), end="")
