"""--help, docs/commands.md and shell completion say what the tables of the commands say."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.cli import completions, help, options, reference, table  # noqa: A004  # the room's own name
from stackpy.cli.grammar import Command

COMMANDS = [command for _, commands in table.commands() for command in commands]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_explains_itself(command: Command) -> None:
    text = help.of_command(command, options.GLOBAL)
    assert command.examples
    assert all(f"stackpy {command.name}" in line for line, _ in command.examples[:1])
    assert command.summary[0].isupper()
    assert not command.summary.endswith(".")
    assert max(len(line) for line in text.splitlines()) <= 120
    names = [name for option in (*command.options, *options.behind_verb(command)) for name in option.names]
    assert len(names) == len(set(names))
    keys = [option.key for option in command.options] + [argument.key for argument in command.arguments]
    assert len(keys) == len(set(keys))


def test_the_reference_is_what_the_commands_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "commands.md"
    assert page.read_text() == reference.reference(), "run `python -m stackpy.cli.reference > docs/commands.md`"


NAMES = {
    "container": [("web", "resource"), ("shop-web-1", "Up")],
    "image": [("debian:bookworm", "")],
    "resource": [("container.web", "")],
    "stack": [("shop", "")],
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pl", ["plan"]),
        ("w", ["why", "watch", "wait"]),
        ("--ro", ["--root"]),
        ("--format ", ["text", "json"]),
        ("--format json p", ["plan", "ps", "pause", "port", "pull", "push"]),
        ("-f ", [":file"]),
        ("--root ", [":folder"]),
        ("image in", ["inspect"]),
        ("image inspect ", ["debian:bookworm"]),
        ("stop ", ["web", "shop-web-1"]),
        ("stop web sh", ["shop-web-1"]),
        ("stop -t 3 w", ["web"]),
        ("logs --f", ["--follow", "--format"]),
        ("exec -it w", ["web"]),
        ("exec -it web ", []),
        ("exec web --w", []),
        ("run --netw", ["--network", "--network-alias"]),
        ("run deb", ["debian:bookworm"]),
        ("run --env-file ", [":file"]),
        ("plan --target c", ["container.web"]),
        ("destroy --stack ", ["shop"]),
        ("nonsense x", []),
        ("ps x", []),
    ],
)
def test_completion(line: str, expected: list[str]) -> None:
    found = completions.candidates(line.split(" "), lambda kind: NAMES.get(kind, []))
    assert [word for word, _ in found] == expected
