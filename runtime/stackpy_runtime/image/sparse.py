"""Sparse files in tars: GNU's old header, and the three forms within pax headers (GNU tar's manual, appendix D)."""

from __future__ import annotations

from stackpy_runtime.image.entries import BLOCK, Entry, Stream
from stackpy_runtime.image.fields import decimal, number
from stackpy_runtime.image.limits import bad


def apply(entry: Entry, stream: Stream, old: bytes | None, extended: list[tuple[bytes, bytes]], most: int) -> None:
    """Gives a sparse file its true size and its regions; an entry that is none stays as it is.

    old: the header of GNU's own type; most: how many regions are allowed
    """
    keys = {key: value for key, value in extended if key.startswith(b"GNU.sparse.")}
    if old is not None:
        numbers = _old_map(old, stream, most)
        entry.size = number(old[483:495], "size")
    elif keys.get(b"GNU.sparse.major") == b"1":
        numbers = _leading_map(entry, stream, most)
        entry.size = decimal(keys.get(b"GNU.sparse.realsize", b""), "size")
    elif b"GNU.sparse.map" in keys:
        numbers = [decimal(text, "sparse map") for text in keys[b"GNU.sparse.map"].split(b",")]
        entry.size = decimal(keys.get(b"GNU.sparse.size", b""), "size")
    elif b"GNU.sparse.size" in keys:
        pairs = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        numbers = [decimal(value, "sparse map") for key, value in extended if key in pairs]
        entry.size = decimal(keys[b"GNU.sparse.size"], "size")
    else:
        return
    entry.name = keys.get(b"GNU.sparse.name", entry.name)
    entry.regions = list(zip(numbers[::2], numbers[1::2], strict=False))
    position = data = 0
    for offset, length in entry.regions:
        if offset < position:
            bad("the regions of a sparse file overlap")
        position, data = offset + length, data + length
    if len(numbers) % 2 or position > entry.size or data != entry.stored:
        bad("the map of a sparse file does not fit the file")
    if len(entry.regions) > most:
        bad(f"a sparse file has more than {most} regions")


def _old_map(block: bytes, stream: Stream, most: int) -> list[int]:
    numbers = _sparse_numbers(block[386:482])
    more = block[482]
    while more:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            bad("it ends within a header")
        numbers += _sparse_numbers(block[:504])
        more = block[504]
        if len(numbers) > 2 * most:
            bad(f"a sparse file has more than {most} regions")
    return numbers


def _leading_map(entry: Entry, stream: Stream, most: int) -> list[int]:
    """Version 1.0: decimal numbers, a line each, before the data: how many pairs, then the pairs."""
    numbers: list[int] = []
    wanted, rest, used = 1, b"", 0
    while len(numbers) < wanted:
        block = stream.read(BLOCK)
        used += BLOCK
        if len(block) < BLOCK or used > entry.stored:
            bad("the map of a sparse file does not fit the file")
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > 2 * BLOCK:
            bad("the map of a sparse file is not one")
        for line in lines:
            if len(numbers) == wanted:
                break
            numbers.append(decimal(line, "sparse map"))
            wanted = 1 + 2 * numbers[0]
        if wanted > 2 * most:
            bad(f"a sparse file has more than {most} regions")
    entry.stored -= used
    return numbers[1:]


def _sparse_numbers(area: bytes) -> list[int]:
    numbers: list[int] = []
    for start in range(0, len(area), 24):
        if not area[start]:
            break
        numbers += [
            number(area[start : start + 12], "sparse map"),
            number(area[start + 12 : start + 24], "sparse map"),
        ]
    return numbers
