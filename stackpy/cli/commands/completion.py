"""stackpy completion SHELL, and the hidden `__complete` that its scripts call."""

from __future__ import annotations

from stackpy.cli import completions
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

SHELLS = ("bash", "zsh", "fish")


def run(context: Context, arguments: Any) -> int:
    """Prints the script."""
    from stackpy.cli.parsing import nearest

    if arguments.shell not in SHELLS:
        close = nearest(arguments.shell, SHELLS)
        meant = f"did you mean `{close}`? " if close else ""
        raise UsageError(f"no completion for `{arguments.shell}`", hint=f"{meant}one of {', '.join(SHELLS)}")
    print(completions.script(arguments.shell), end="")
    return 0


def complete(context: Context, words: list[str]) -> int:
    """Prints the candidates for the last word."""
    for word, what in completions.candidates(words, lambda kind: names(context, kind)):
        print(f"{word}\t{what}" if what else word)
    return 0


def names(context: Context, kind: str) -> list[tuple[str, str]]:
    """The names of a kind that exist now; none where the engine cannot say, since a completion must not complain."""
    try:
        engine = context.engine()
        if kind == "container":
            stack = context.stack_name()
            rows = engine.ps(None, True)
            own = {str(row["resource"]).partition(".")[2] for row in rows if stack and row["stack"] == stack}
            return [*((name, "resource") for name in sorted(own)), *((row["name"], row["status"]) for row in rows)]
        if kind == "image":
            return [(row["reference"], "") for row in engine.images() if row["reference"]]
        if kind == "network":
            return [(row["name"], "") for row in engine.networks()]
        if kind == "volume":
            return [(row["name"], "") for row in engine.volumes()]
        if kind == "stack":
            return [(row["name"], "") for row in engine.stacks()]
        return [(address, "") for address in context.load().stack.resources] if kind == "resource" else []
    except StackpyError:
        return []


COMMAND = Command(
    "completion",
    "Print the completion script of a shell",
    run,
    arguments=[Argument("SHELL", help="bash, zsh or fish")],
    examples=[
        ("stackpy completion bash > /etc/bash_completion.d/stackpy", "for every user's bash"),
        ('stackpy completion zsh > "${fpath[1]}/_stackpy"', "for zsh"),
        ("stackpy completion fish > ~/.config/fish/completions/stackpy.fish", "for fish"),
    ],
)
