"""Finding shared libraries as the dynamic loader does: ld.so(8) and its cache, without running it.

The cache's format is glibc's (sysdeps/generic/dl-cache.h); its order is kept when a part of it is written, since the
loader searches it by bisection.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.image import elf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy_runtime.image.elf import Elf

CACHE = "/etc/ld.so.cache"

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER, _ENTRY = struct.Struct("=20sIIB3xI12x"), struct.Struct("=iIIIQ")
_OLD_MAGIC = b"ld.so-1.7.0\0"  # a file for old and new programs holds the new cache behind the old one
_SMALLEST_OLD_ENTRY = 12

# e_machine and class → the ABI bits of a cache entry's flags (dl-cache.h): those that two ABIs of one host share a
# cache with. Elsewhere the file itself tells.
_ABI = {(62, 2): 0x0300, (3, 1): 0x0000, (62, 1): 0x0800, (183, 2): 0x0A00, (40, 1): 0x0900, (243, 2): 0x1000}

# Where the loaders of distributions look without being told; $LIB of multiarch systems follows from the machine.
_MULTIARCH = {
    (62, 2): "x86_64-linux-gnu",
    (3, 1): "i386-linux-gnu",
    (183, 2): "aarch64-linux-gnu",
    (40, 1): "arm-linux-gnueabihf",
    (243, 2): "riscv64-linux-gnu",
}


class CacheEntry(NamedTuple):
    """One library of ld.so.cache."""

    flags: int
    name: str
    path: str
    version: int
    hardware: int


def read_cache(data: bytes) -> list[CacheEntry]:
    """The entries of an ld.so.cache in its order; none for a file of another kind."""
    start = 0
    try:
        if data.startswith(_OLD_MAGIC):
            (count,) = struct.unpack_from("=I", data, len(_OLD_MAGIC))
            start = len(_OLD_MAGIC) + 4 + count * _SMALLEST_OLD_ENTRY
            start += -start % 8
        magic, count, *_ = _HEADER.unpack_from(data, start)
        if magic != _MAGIC:
            return []
        result: list[CacheEntry] = []
        for index in range(count):
            flags, name, path, version, hardware = _ENTRY.unpack_from(data, start + _HEADER.size + index * _ENTRY.size)
            # Offsets count from the new header.
            result.append(CacheEntry(flags, _text(data, start + name), _text(data, start + path), version, hardware))
    except (struct.error, ValueError):
        return []
    return result


def _text(data: bytes, offset: int) -> str:
    return os.fsdecode(data[offset : data.index(b"\0", offset)])


def write_cache(entries: Iterable[CacheEntry]) -> bytes:
    """An ld.so.cache of these entries, which are in the order of one that was read."""
    rows = list(entries)
    strings, places = bytearray(), {}
    base = _HEADER.size + len(rows) * _ENTRY.size
    for entry in rows:
        for text in (entry.name, entry.path):
            if text not in places:
                places[text] = base + len(strings)
                strings += os.fsencode(text) + b"\0"
    endian = 2 if struct.pack("=H", 1) == b"\1\0" else 3  # cache_file_new_flags_endian_*
    parts = [_HEADER.pack(_MAGIC, len(rows), len(strings), endian, 0)]
    parts += [
        _ENTRY.pack(entry.flags, places[entry.name], places[entry.path], entry.version, entry.hardware)
        for entry in rows
    ]
    return b"".join(parts) + bytes(strings)


class Libraries:
    """The libraries of this host.

    cache: the entries of its ld.so.cache
    """

    def __init__(self) -> None:
        try:
            with open(CACHE, "rb") as file:
                self.cache = read_cache(file.read())
        except OSError:
            self.cache = []
        self._by_name: dict[str, list[CacheEntry]] = {}
        for entry in self.cache:
            # Variants for newer processors (glibc-hwcaps) are only faster: the plain one is always there.
            if not entry.hardware:
                self._by_name.setdefault(entry.name, []).append(entry)

    def find(self, name: str, needing: Elf, origin: str, inherited: list[str]) -> str | None:
        """The path of the library `name` that `needing`, a file in the folder `origin`, would get.

        inherited: DT_RPATH folders of those that loaded it, expanded
        """
        if "/" in name:
            path = expand(name, origin, needing)
            return path if _fits(path, needing) else None
        own = [] if needing.runpath else [*expanded(needing.rpath, origin, needing), *inherited]
        for folder in [*own, *expanded(needing.runpath, origin, needing)]:
            if _fits(f"{folder}/{name}", needing):
                return f"{folder}/{name}"
        abi = _ABI.get(needing.machine[:2])
        for entry in self._by_name.get(name, ()):
            if (abi is None or entry.flags & 0xFF00 == abi) and _fits(entry.path, needing):
                return entry.path
        for folder in _default_folders(needing):
            if _fits(f"{folder}/{name}", needing):
                return f"{folder}/{name}"
        return None


def expanded(folders: list[str], origin: str, needing: Elf) -> list[str]:
    """Folders of an RPATH or RUNPATH with $ORIGIN and $LIB replaced."""
    return [expand(folder, origin, needing) for folder in folders]


def expand(text: str, origin: str, needing: Elf) -> str:
    """ld.so(8), dynamic string tokens."""
    library = "lib64" if needing.machine[1] == 2 else "lib"
    for token, value in (("ORIGIN", origin), ("LIB", library), ("PLATFORM", os.uname().machine)):
        text = text.replace(f"${{{token}}}", value).replace(f"${token}", value)
    return text


def _default_folders(needing: Elf) -> list[str]:
    triple = _MULTIARCH.get(needing.machine[:2])
    multiarch = [f"/lib/{triple}", f"/usr/lib/{triple}"] if triple else []
    wide = ["/lib64", "/usr/lib64"] if needing.machine[1] == 2 else []
    return [*multiarch, *wide, "/lib", "/usr/lib", "/usr/local/lib"]


def _fits(path: str, needing: Elf) -> bool:
    try:
        found = elf.read(path)
    except OSError:
        return False
    return found is not None and found.machine == needing.machine
