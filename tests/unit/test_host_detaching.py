"""Which keys leave a container's terminal."""

from __future__ import annotations

import pytest

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.host.detaching import DEFAULT, Keys, sequence


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (DEFAULT, b"\x10\x11"),
        ("ctrl-@,ctrl-a,ctrl-z", b"\x00\x01\x1a"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
        ("a,B,1", b"aB1"),
        ("CTRL-A,del", b"\x01\x7f"),
        ("", b""),
    ],
)
def test_keys_as_they_are_written(text: str, keys: bytes) -> None:
    assert sequence(text) == keys


@pytest.mark.parametrize("text", ["ctrl-1", "ctrl-", "ctrl-ab", "ab", ",", "é", "ctrl-p,,ctrl-q"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(InvalidConfig, match="is no key to detach with"):
        sequence(text)


@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        ([b"ls\r"], b"ls\r", False),
        ([b"\x10\x11"], b"", True),
        ([b"ls\x10", b"\x11more"], b"ls", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10"], b"", False),  # held back until the next key
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10", b"\x10", b"\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_what_is_passed_on(typed: list[bytes], passed: bytes, detached: bool) -> None:
    keys = Keys(sequence(DEFAULT))
    results = [keys.feed(data) for data in typed]
    assert b"".join(data for data, _ in results) == passed
    assert results[-1][1] is detached
    assert not any(left for _, left in results[:-1])


def test_without_keys_everything_passes() -> None:
    assert Keys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)
