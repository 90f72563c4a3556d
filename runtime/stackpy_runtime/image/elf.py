"""What a program needs to be loaded, read from its ELF file; nothing is executed, as ldd would (elf(5), gABI)."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_RPATH, _DT_RUNPATH = 1, 5, 10, 15, 29

# More than any real file has; a broken one must not make us read without end.
_MOST_HEADERS, _MOST_BYTES = 4096, 16 << 20


class Elf(NamedTuple):
    """The part of an ELF file that the dynamic loader goes by.

    machine: e_machine, class and byte order: what must agree between a program and its libraries
    interpreter: PT_INTERP, or ""
    needed: DT_NEEDED; rpath, runpath: folders, with $ORIGIN unexpanded
    """

    machine: tuple[int, int, int]
    interpreter: str
    needed: list[str]
    rpath: list[str]
    runpath: list[str]


def read(path: str) -> Elf | None:
    """The ELF file at `path`; None for any other file. Raises OSError when it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        head = os.pread(descriptor, 64, 0)
        if len(head) < 52 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
            return None
        return _parse(descriptor, head)
    except (struct.error, UnicodeDecodeError, IndexError, OverflowError, ValueError):
        return None
    finally:
        os.close(descriptor)


def _parse(descriptor: int, head: bytes) -> Elf:
    wide = head[4] == 2
    order = "<" if head[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{order}H", head, 18)
    if wide:
        (offset,) = struct.unpack_from(f"{order}Q", head, 32)
        size, count = struct.unpack_from(f"{order}HH", head, 54)
    else:
        (offset,) = struct.unpack_from(f"{order}I", head, 28)
        size, count = struct.unpack_from(f"{order}HH", head, 42)
    table = os.pread(descriptor, size * min(count, _MOST_HEADERS), offset)
    loads: list[tuple[int, int, int]] = []
    dynamic, interpreter = (0, 0), ""
    for index in range(min(count, _MOST_HEADERS)):
        if wide:
            kind, _, place, address, _, length = struct.unpack_from(f"{order}IIQQQQ", table, index * size)
        else:
            kind, place, address, _, length = struct.unpack_from(f"{order}IIIII", table, index * size)
        if kind == _PT_LOAD:
            loads.append((address, place, length))
        elif kind == _PT_DYNAMIC:
            dynamic = (place, length)
        elif kind == _PT_INTERP:
            interpreter = os.fsdecode(os.pread(descriptor, min(length, 4096), place).split(b"\0")[0])
    entries = _dynamic(os.pread(descriptor, min(dynamic[1], _MOST_BYTES), dynamic[0]), wide, order)
    strings = _strings(descriptor, entries, loads)
    return Elf(
        (machine, head[4], head[5]),
        interpreter,
        [_text(strings, value) for tag, value in entries if tag == _DT_NEEDED],
        _folders(strings, entries, _DT_RPATH),
        _folders(strings, entries, _DT_RUNPATH),
    )


def _dynamic(data: bytes, wide: bool, order: str) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    size = 16 if wide else 8
    for tag, value in struct.iter_unpack(f"{order}{'qQ' if wide else 'iI'}", data[: len(data) // size * size]):
        if not tag:
            break
        result.append((tag, value))
    return result


def _strings(descriptor: int, entries: list[tuple[int, int]], loads: list[tuple[int, int, int]]) -> bytes:
    """The dynamic string table: the entry holds its address, and the segments say where that lies in the file."""
    values = dict(entries)
    address, size = values.get(_DT_STRTAB, 0), min(values.get(_DT_STRSZ, 0), _MOST_BYTES)
    for start, place, length in loads:
        if start <= address < start + length:
            return os.pread(descriptor, size, place + address - start)
    return b""


def _text(strings: bytes, offset: int) -> str:
    return os.fsdecode(strings[offset : strings.index(b"\0", offset)]) if offset < len(strings) else ""


def _folders(strings: bytes, entries: list[tuple[int, int]], tag: int) -> list[str]:
    found = [_text(strings, value) for kind, value in entries if kind == tag]
    return [folder for text in found for folder in text.split(":") if folder]
