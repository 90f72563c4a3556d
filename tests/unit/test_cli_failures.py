"""Errors on a terminal: what others have said stays text."""

from __future__ import annotations

import json

import pytest

from stackpy.cli import formats, terminal
from stackpy.cli.failures import print_error
from stackpy.cli.terminal import print_json, print_table


def test_what_a_container_said_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    # A failed apply shows the last output of a container, and of its health check.
    print_error("it died\n        | \x1b]0;title\x07\x1b[2Jé\tdone", "look\r at it")
    assert capsys.readouterr().err == (
        "error: it died\n        | \\x1b]0;title\\x07\\x1b[2Jé   done\nhint: look\\r at it\n"
    )


def test_cells_of_tables_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["A", "B"], [["\x1b[31mred", "x\ny"]])
    assert capsys.readouterr().out == "A             B\n\\x1b[31mred   x\\ny\n"


def test_documents_hold_no_control_that_a_terminal_acts_on(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"label": "\x9b31m\x7f\x1b[0m é"})
    shown = capsys.readouterr().out
    assert shown == '{\n  "label": "\\u009b31m\\u007f\\u001b[0m é"\n}\n'
    assert json.loads(shown) == {"label": "\x9b31m\x7f\x1b[0m é"}


@pytest.mark.parametrize(
    ("person", "template", "shown"),
    [
        (True, "{{.A}}\t{{.B}}", ["\\x1b]0;x\\x07\té\n"]),
        (False, "{{.A}}\t{{.B}}", ["\x1b]0;x\x07\té\n"]),
        (True, "\x1b[1m{{.B}}", ["\x1b[1mé\n"]),
    ],
)
def test_what_fields_of_a_template_hold_moves_no_cursor(
    monkeypatch: pytest.MonkeyPatch, person: bool, template: str, shown: list[str]
) -> None:
    """Labels and variables are whatever an image says; a program gets them as they are, and who asks for colour too."""
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: person)
    assert formats.templated(template, [{"A": "\x1b]0;x\x07", "B": "é\n"}], {}) == shown
