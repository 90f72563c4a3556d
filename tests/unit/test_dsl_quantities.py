from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl import quantities
from stackpy.dsl.values import Invalid

MIB = 2**20


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (0, 0), (1024, 1024), (2.0, 2), ("7", 7), ("7b", 7), ("1k", 1024), ("1kb", 1024), ("1KiB", 1024),
        ("256m", 256 * MIB), ("256 MB", 256 * MIB), ("256M", 256 * MIB), ("1.5gb", 1536 * MIB), ("0.5k", 512),
        ("2t", 2 * 2**40), (" 1g ", 2**30), ("1.0000000001g", 2**30),
    ],
)  # fmt: skip
def test_size_forms(given_: Any, expected: int) -> None:
    assert quantities.size(given_) == expected


@pytest.mark.parametrize(
    "given_", ["", "m", "1x", "-1", -1, 1.5, True, None, "1 2", "1e3", "1mm", "9" * 30, [], "1,5g"]
)
def test_size_refuses(given_: Any) -> None:
    with pytest.raises(Invalid):
        quantities.size(given_)


@given(st.integers(0, 2**40), st.sampled_from(["", "b", "k", "kb", "kib", "m", "MB", "g", "GiB"]))
def test_size_scales(number: int, unit: str) -> None:
    shift = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}[unit.lower()[:1]]
    if number << shift < 2**63:
        assert quantities.size(f"{number}{unit}") == number << shift


@given(st.integers(0, 2**62))
def test_size_keeps_bytes(number: int) -> None:
    assert quantities.size(number) == quantities.size(str(number)) == quantities.size(f"{number} B") == number


@given(st.text(max_size=12))
def test_parsers_give_a_value_or_refuse(text: str) -> None:
    for parser in (quantities.size, quantities.duration, quantities.processors, quantities.mode, quantities.whole):
        try:
            assert parser(text) >= 0
        except Invalid as invalid:
            assert invalid.message


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (1, 1.0), (1.5, 1.5), ("1.5s", 1.5), ("1m30s", 90.0), ("1h", 3600.0), ("500ms", 0.5), ("10us", 1e-5),
        ("1h0m0.5s", 3600.5), ("0", 0.0), (0, 0.0), (".5s", 0.5), ("2.s", 2.0), ("10ns", 1e-8), (" 3s ", 3.0),
    ],
)  # fmt: skip
def test_duration_forms(given_: Any, expected: float) -> None:
    assert quantities.duration(given_) == expected


@pytest.mark.parametrize("given_", ["", "s", "5", "1d", "-1s", -1, True, None, "1s2", "1 s", "s1", float("nan"), "٣s"])
def test_duration_refuses(given_: Any) -> None:
    with pytest.raises(Invalid):
        quantities.duration(given_)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_duration_adds_its_parts(hours: int, minutes: int, seconds: int, millis: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds + millis / 1000
    assert quantities.duration(f"{hours}h{minutes}m{seconds}s{millis}ms") == pytest.approx(total, abs=1e-9)


def test_a_bare_number_as_text_is_told_its_unit() -> None:
    with pytest.raises(Invalid) as caught:
        quantities.duration("30")
    assert caught.value.hint == 'write "30s" or 30'


@pytest.mark.parametrize(("given_", "expected"), [(0.5, 0.5), (2, 2.0), ("1.5", 1.5), ("0", 0.0)])
def test_processors(given_: Any, expected: float) -> None:
    assert quantities.processors(given_) == expected


@pytest.mark.parametrize(
    ("given_", "expected"), [(0o644, 0o644), ("0644", 0o644), ("755", 0o755), ("0o1777", 0o1777), (0, 0)]
)
def test_mode(given_: Any, expected: int) -> None:
    assert quantities.mode(given_) == expected


@pytest.mark.parametrize("given_", [644, 755, 600, 777, "888", "", -1, 0o10000, True, 1.0])
def test_mode_refuses(given_: Any) -> None:
    with pytest.raises(Invalid):
        quantities.mode(given_)
