"""A large file is written as it was given, whatever the kernel takes at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stackpy_runtime.image.written import Written


@pytest.mark.parametrize("most", [1 << 20, 1000, 1])
def test_a_file_is_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:most]))
    pieces = [bytes([number]) * (3 * most + number) for number in range(5)]
    if most == 1 << 20:
        pieces *= 2  # more than the disk is made to wait for
    opened = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    written = Written(opened)
    for piece in pieces:
        written(piece)
    os.close(opened)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)
