"""Errors on a terminal: what others have said stays text."""

from __future__ import annotations

import pytest

from stackpy.cli.failures import print_error
from stackpy.cli.terminal import print_table


def test_what_a_container_said_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    # A failed apply shows the last output of a container, and of its health check.
    print_error("it died\n        | \x1b]0;title\x07\x1b[2Jé\tdone", "look\r at it")
    assert capsys.readouterr().err == (
        "error: it died\n        | \\x1b]0;title\\x07\\x1b[2Jé   done\nhint: look\\r at it\n"
    )


def test_cells_of_tables_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["A", "B"], [["\x1b[31mred", "x\ny"]])
    assert capsys.readouterr().out == "A             B\n\\x1b[31mred   x\\ny\n"
