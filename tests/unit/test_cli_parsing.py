"""Words of a command line → values or the message of a usage error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.cli.grammar import Argument, Option
from stackpy.cli.parsing import parse_command
from stackpy.errors import UsageError

OPTIONS = [
    Option("--rm", help=""),
    Option("-i", "--interactive", help=""),
    Option("-t", "--tty", help=""),
    Option("-e", "--env", metavar="K=V", many=True, help=""),
    Option("--memory", metavar="BYTES", help=""),
    Option("--format", metavar="FORMAT", choices=("text", "json"), default="text", help=""),
    Option("-n", "--tail", metavar="LINES", convert=int, help=""),
    Option("-h", "--help", help=""),
]
RUN = [Argument("IMAGE", help=""), Argument("COMMAND", help="", rest=True, optional=True)]
MANY = [Argument("CONTAINER", help="", many=True)]
DEFAULTS = {
    "rm": False,
    "interactive": False,
    "tty": False,
    "env": [],
    "memory": None,
    "format": "text",
    "tail": None,
    "help": False,
}


@pytest.mark.parametrize(
    ("words", "arguments", "changes"),
    [
        ("alpine", RUN, {"image": "alpine", "command": []}),
        ("--rm -it alpine sh -c ls", RUN,
         {"rm": True, "interactive": True, "tty": True, "image": "alpine", "command": ["sh", "-c", "ls"]}),
        ("alpine --rm", RUN, {"image": "alpine", "command": ["--rm"]}),
        ("-e A=1 -eB=2 --env C=3 --env=D=4 x", RUN, {"env": ["A=1", "B=2", "C=3", "D=4"], "image": "x", "command": []}),
        ("-ite A=1 x", RUN, {"interactive": True, "tty": True, "env": ["A=1"], "image": "x", "command": []}),
        ("--rm=false --tty=true x", RUN, {"tty": True, "image": "x", "command": []}),
        ("--memory 1g --memory=2g x", RUN, {"memory": "2g", "image": "x", "command": []}),
        ("-- -x", RUN, {"image": "-x", "command": []}),
        ("x -- ls -l", RUN, {"image": "x", "command": ["ls", "-l"]}),
        ("x ls -- y", RUN, {"image": "x", "command": ["ls", "--", "y"]}),
        ("a --tty b -n 3", MANY, {"container": ["a", "b"], "tty": True, "tail": 3}),
        ("a -- -b", MANY, {"container": ["a", "-b"]}),
        ("-", MANY, {"container": ["-"]}),
        ("--format json a", MANY, {"format": "json", "container": ["a"]}),
        ("--help", MANY, {"help": True}),
    ],
)  # fmt: skip
def test_understood(words: str, arguments: list[Argument], changes: dict[str, Any]) -> None:
    parsed = parse_command(words.split(), OPTIONS, arguments, "stackpy run")
    assert parsed.values == {**DEFAULTS, **changes}


@pytest.mark.parametrize(
    ("words", "arguments", "message", "hint"),
    [
        ("", RUN, "`stackpy run` needs an IMAGE", "`stackpy run --help` shows what it takes"),
        ("", MANY, "`stackpy run` needs at least one CONTAINER", "`stackpy run --help` shows what it takes"),
        ("", [], None, None),
        ("x", [], "`stackpy run` takes no argument `x`", "`stackpy run --help` shows what it takes"),
        ("--memry 1 x", RUN, "unknown option `--memry` for `stackpy run`",
         "did you mean `--memory`? `stackpy run --help` shows what it takes"),
        ("--mem 1 x", RUN, "unknown option `--mem` for `stackpy run`",
         "did you mean `--memory`? `stackpy run --help` shows what it takes"),
        ("-x y", RUN, "unknown option `-x` for `stackpy run`", "`stackpy run --help` shows what it takes"),
        ("-itx y", RUN, "unknown option `-x` for `stackpy run`", "`stackpy run --help` shows what it takes"),
        ("-rm y", RUN, "unknown option `-rm` for `stackpy run`",
         "did you mean `--rm`? `stackpy run --help` shows what it takes"),
        ("--memory", RUN, "`--memory` needs a value: BYTES", "`stackpy run --help` shows what it takes"),
        ("-e", RUN, "`-e` needs a value: K=V", "`stackpy run --help` shows what it takes"),
        ("--rm=maybe x", RUN, "`--rm` takes no value: `maybe`", "`stackpy run --help` shows what it takes"),
        ("--format jsn x", RUN, "`--format`: unknown value `jsn`", "did you mean `json`? one of text, json"),
    ],
)  # fmt: skip
def test_refused(words: str, arguments: list[Argument], message: str | None, hint: str | None) -> None:
    try:
        parse_command(words.split(), OPTIONS, arguments, "stackpy run")
    except UsageError as error:
        assert (error.message, error.hint, error.exit_code) == (message, hint, 64)
    else:
        assert message is None


@given(
    st.lists(
        st.sampled_from(
            ["--rm", "-i", "-e", "A=1", "--", "-it", "x", "--memory", "--nope", "-", "", "--format", "json"]
        )
    )
)
def test_never_anything_but_values_or_a_usage_error(words: list[str]) -> None:
    try:
        parsed = parse_command(words, OPTIONS, RUN, "stackpy run")
    except UsageError as error:
        assert error.message
    else:
        assert parsed.values["help"] or parsed.values["image"] in words


@given(st.lists(st.text()))
def test_the_command_of_run_is_passed_on_as_it_is(command: list[str]) -> None:
    parsed = parse_command(["image", "sh", *command], OPTIONS, RUN, "stackpy run")
    assert parsed.values["command"] == ["sh", *command]
