from __future__ import annotations

import pytest

from stackpy.problems import Location, Problem
from stackpy.render.problems import format_problem, format_problems, line_reader

LINES = {12: '    mem_limt="256m",', 3: '\tx = "日本", y', 100: "", 7: "a\x1b[31mb"}


def read_line(file: str, line: int) -> str:
    return LINES.get(line, "")


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        (
            Problem(
                "unknown field `mem_limt` of container `web`",
                Location("/srv/shop/stack.py", 12, 5, 8),
                "did you mean `mem_limit`?",
            ),
            (
                "error: unknown field `mem_limt` of container `web`\n"
                "  --> stack.py:12:5\n"
                "   |\n"
                '12 |     mem_limt="256m",\n'
                "   |     ^^^^^^^^\n"
                "hint: did you mean `mem_limit`?"
            ),
        ),
        (Problem("no place"), "error: no place"),
        (Problem("a line", Location("/etc/x", 12)), 'error: a line\n  --> /etc/x:12\n   |\n12 |     mem_limt="256m",'),
        (
            Problem("wide", Location("/srv/shop/a.py", 3, 6, 4)),
            'error: wide\n --> a.py:3:6\n  |\n3 | \tx = "日本", y\n  | \t    ^^^^^^',
        ),
        (Problem("empty", Location("/srv/shop/a.py", 100, 1, 1)), "error: empty\n   --> a.py:100:1"),
        (
            Problem("no \x1b[2J tricks", Location("/srv/shop/a.py", 7, 8, 1)),
            "error: no \ufffd[2J tricks\n --> a.py:7:8\n  |\n7 | a\ufffd[31mb\n  |        ^",
        ),
    ],
)
def test_a_problem(problem: Problem, shown: str) -> None:
    assert format_problem(problem, read_line, "/srv/shop") == shown


def test_several_problems_are_counted() -> None:
    problems = [Problem("one"), Problem("two", hint="do")]
    assert (
        format_problems(problems, read_line) == "error: one\n\nerror: two\nhint: do\n\n2 problems; nothing was touched"
    )
    assert format_problems(problems[:1], read_line) == "error: one"


def test_lines_come_from_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(b"one\ntwo \xff\n")
    read = line_reader()
    assert [read(str(path), line) for line in (0, 1, 2, 9)] == ["", "one", "two \ufffd", ""]
    assert read(str(path.parent / "none"), 1) == ""
