from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl.environment import EnvLine, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# comment\n\n  # another\n", {}),
        ("A=1\nB = 2\n", {"A": "1", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("A: 1", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A", {"A": None}),
        ("A # comment", {"A": None}),
        ("A=x # comment", {"A": "x"}),
        ("A=x#y", {"A": "x#y"}),
        ("A= # comment", {"A": ""}),
        ("A=$HOME ${X} $$", {"A": "$HOME ${X} $$"}),
        ("A='single $x \\n'", {"A": "single $x \\n"}),
        ("A='it\\'s'", {"A": "it's"}),
        ('A="a\\tb\\n\\"c\\" \\$x $y"', {"A": 'a\tb\n"c" $x $y'}),
        ('A="two\nlines" # why\nB=1', {"A": "two\nlines", "B": "1"}),
        ("A='#'\n", {"A": "#"}),
        ('A=x"y"', {"A": 'x"y"'}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=a=b", {"A": "a=b"}),
    ],
)
def test_forms(text: str, expected: dict[str, str | None]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("A=1\n=x", 2, "expected `NAME=value`"),
        ("A B", 1, "expected `NAME=value`"),
        ("\n\n1A=x", 3, "expected `NAME=value`"),
        ('A="x\nB=1\n', 1, 'a quotation mark " that is never closed'),
        ("A='x' y", 1, "text after the closing quotation mark"),
        ("A=1\nB=\0", 2, "a NUL byte"),
    ],
)
def test_refusals(text: str, line: int, message: str) -> None:
    with pytest.raises(EnvLine) as caught:
        parse(text)
    assert (caught.value.line, caught.value.message) == (line, message)


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), VALUES, max_size=5))
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert parse("\n".join(f"{name}={quoted(value)}" for name, value in values.items())) == values


@given(st.text(alphabet="AB=:'\"\\ #$\n\r\t\0x", max_size=30))
def test_anything_is_variables_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except EnvLine as wrong:
        assert 1 <= wrong.line <= text.count("\n") + 1
    else:
        assert all(name and "=" not in name for name in found)
