"""JSON without the `json` package: what it reads and writes is what the package does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime import json_text

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_documents_are_written_and_read_as_by_the_package(document: object) -> None:
    assert json_text.dumps(document) == json.dumps(document, separators=(",", ":"))
    assert json_text.dumps(document, sort_keys=True) == json.dumps(document, separators=(",", ":"), sort_keys=True)
    indented = f" \n{json.dumps(document, indent=2)}\t\r\n"
    assert json_text.loads(indented) == json_text.loads(indented.encode()) == document


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", "nul", "1 2", "NaN", "-Infinity", "{'a': 1}", '"\\x"', '"\n"'])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        json_text.loads(text)


def test_what_cannot_be_json_is_refused() -> None:
    for value in ({1}, b"", object()):
        with pytest.raises(TypeError, match="is no JSON"):
            json_text.dumps({"value": value})
    with pytest.raises(ValueError):
        json_text.dumps(float("nan"))


def test_it_works_without_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "_scan", None)
    assert json_text.loads(json_text.dumps({"b": [1, "é"], "a": None}, sort_keys=True)) == {"a": None, "b": [1, "é"]}
