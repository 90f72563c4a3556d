"""Stack files with mistakes, and all that is shown of them: a file in problems/ is a case.

A case is a list of files, each after a line `--- NAME`; `--- options` holds keyword arguments of `load`, and
`--- shown` what is to be printed.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from stackpy.errors import StackFileError
from stackpy.project import load
from stackpy.render.problems import format_problems, line_reader
from tests.unit.stack_files import write

CASES = Path(__file__).parent / "problems"


def parts_of(case: Path) -> dict[str, str]:
    pieces = re.split(r"^--- (.+)\n", case.read_text(), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.mark.parametrize("case", sorted(CASES.glob("*.txt")), ids=lambda case: case.stem)
def test_problems(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    parts = parts_of(case)
    expected = parts.pop("shown")
    options: dict[str, Any] = ast.literal_eval(parts.pop("options", "{}"))
    write(tmp_path, parts)
    with pytest.raises(StackFileError) as caught:
        load(folder=str(tmp_path), **options)
    shown = format_problems(caught.value.problems, line_reader(), str(tmp_path))
    assert shown.replace(str(tmp_path), "FOLDER") + "\n" == expected
