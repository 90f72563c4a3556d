"""A stack file as a program writes it: ten thousand lines, and what is wrong in them is still found by its line."""

from __future__ import annotations

from pathlib import Path

from tests.unit.stack_files import complaints, resources

BLOCK = """\
Container(
    "c{number}",
    image="app",
    command=["sleep", "1000"],
    environment={{"NUMBER": "{number}"}},
    mem_limit="16m",
    labels={{"number": "{number}"}},
    restart="always",
    stop_grace_period=5,
)
"""


def test_mistakes_in_ten_thousand_lines_have_their_lines(tmp_path: Path) -> None:
    text = "".join(BLOCK.format(number=number) for number in range(1000))
    assert len(resources(tmp_path, text)) == 1000 + 2  # and the image and the default network
    lines = text.splitlines()
    lines[5005] = '    mem_limit="16q",'
    lines[9994] = '    environmant={"NUMBER": "999"},'
    said = complaints(tmp_path, "\n".join(lines))
    assert "--> stack.py:5007:15\n" in said  # the line of the imports stands before
    assert "--> stack.py:9996:5\n" in said
    assert "2 problems" in said or said.count("error: ") == 2
