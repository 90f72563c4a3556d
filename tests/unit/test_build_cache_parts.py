"""The tar of a cache folder in parts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stackpy_runtime.build import cache_parts
from stackpy_runtime.build.cache_parts import Joined, Split
from stackpy_runtime.build.cache_places import Part, Piece
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import tar_writing
from stackpy_runtime.image.entries import FILE


class Place:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def keep(self, data: bytes) -> tuple[str, int]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest, len(data)

    @contextmanager
    def blob(self, piece: Piece) -> Iterator[Any]:
        yield Stream(self.blobs[piece.blob])


class Stream:
    """A blob as it comes from a registry."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def start(self) -> bytes:
        return self.data[:6]

    def read(self) -> bytes:
        piece = self.data[self.position : self.position + 1000]
        self.position += len(piece)
        return piece

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


def files(count: int, *, without: int = -1) -> list[bytes]:
    """Writes of a tar with files of a few KiB; one of them may be missing."""
    source = random.Random(1)
    found = []
    for number in range(count):
        data = source.randbytes(source.randrange(1, 9) * 512)
        if number != without:
            found += [tar_writing.header(FILE, f"file-{number}".encode(), size=len(data)), data]
    return [*found, tar_writing.END]


def split(writes: list[bytes], place: Place, known: dict[str, Part]) -> tuple[Part, ...]:
    parts = Split(known, place.keep)
    for data in writes:
        parts.write(data)
    parts.finish()
    return tuple(parts.parts)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_parts, "LEAST", 4 << 10)
    monkeypatch.setattr(cache_parts, "MOST", 256 << 10)


def test_a_file_that_goes_changes_the_part_that_it_was_in() -> None:
    place = Place()
    first = split(files(2000), place, {})
    assert len(first) > 20
    before = len(place.blobs)
    again = split(files(2000), place, {part.content: part for part in first})
    assert (again, len(place.blobs)) == (first, before)
    other = split(files(2000, without=1000), place, {part.content: part for part in first})
    assert len(place.blobs) - before <= 2
    with Joined(place, Piece("folder", parts=other)) as tar:  # type: ignore[arg-type]
        assert b"".join(iter(tar.read, b"")) == b"".join(files(2000, without=1000))


def test_a_part_with_other_bytes_is_refused_once_it_is_read() -> None:
    place = Place()
    parts = split(files(50), place, {})
    damaged = bytearray(place.blobs[parts[-1].blob])
    damaged[-1] ^= 1
    place.blobs[parts[-1].blob] = bytes(damaged)
    with Joined(place, Piece("folder", parts=parts)) as tar, pytest.raises(InvalidConfig, match="has other bytes"):  # type: ignore[arg-type]
        tar.finish()


def test_what_was_kept_whole_is_read_too() -> None:
    place = Place()
    blob, size = place.keep(b"".join(files(3)))
    with Joined(place, Piece("folder", blob, size)) as tar:  # type: ignore[arg-type]
        assert tar.read()
        tar.finish()
