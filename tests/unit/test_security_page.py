"""docs/security.md names tests; each is there."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_the_tests_that_the_page_names_are_there() -> None:
    text = (TOP / "docs/security.md").read_text()
    assert text.count("| `test_") + text.count(" `test_") > 40
    for line in text.splitlines():
        file = ""
        for name in re.findall(r"`(test_[^`]+)`", line):
            head, separator, test = name.partition("::")
            if separator or head.endswith(".py"):
                file = head
            else:
                test = head
            source = (TOP / "tests/security" / file).read_text()
            assert f"def {test.removesuffix('…')}" in source or not test, (file, test)
