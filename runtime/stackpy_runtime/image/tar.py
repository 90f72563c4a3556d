"""Reading tar streams: POSIX pax, GNU and old ones (tar(5) of libarchive; pax(1); GNU tar's manual, appendix D).

tarfile is not used: it reads extended headers of any size into memory, keeps every member that it has seen, and takes
four times as long for a header. What is read here is read forward once, within limits, and nothing is kept.
"""

from __future__ import annotations

import os

from stackpy_runtime.image import sparse
from stackpy_runtime.image.entries import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    FIFO,
    FILE,
    FOLDER,
    LINK,
    SYMLINK,
    Entry,
    Source,
    Stream,
)
from stackpy_runtime.image.fields import decimal, nanoseconds, number, records, signed, text, verify
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ZERO = bytes(BLOCK)
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"1": LINK,
    b"2": SYMLINK,
    b"3": CHARACTER,
    b"4": BLOCK_DEVICE,
    b"5": FOLDER,
    b"6": FIFO,
}
_XATTR = b"SCHILY.xattr."


class Reader:
    """The entries of a tar stream, in their order.

    The content of an entry is read with `content` before the next entry is asked for; what is not read is skipped,
    with `seek` (told the offset from which the source is to go on) where it is given.
    Raises InvalidConfig for a stream that is no tar, ends early or passes a limit.
    """

    def __init__(self, source: Source, limits: Limits = DEFAULT, *, seek: Callable[[int], None] | None = None) -> None:
        self._stream, self._limits = Stream(source, seek), limits
        self._left = 0  # bytes of the present entry, padding included
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            self.count += 1
            if self.count > self._limits.entries:
                bad(f"it has more than {self._limits.entries} entries")
            yield entry

    def content(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        """The data of a file as (offset, bytes)."""
        stored = entry.stored
        regions = [(0, stored)] if entry.regions is None else entry.regions
        for offset, length in regions:
            for piece in self._stream.pieces(length):
                self._left -= len(piece)
                stored -= len(piece)
                yield offset, piece
                offset += len(piece)
        if stored:
            bad("it ends within a file")

    def write(self, entry: Entry, descriptor: int) -> None:
        """Writes the data of a file into an empty one, with its holes."""
        for offset, piece in self.content(entry):
            while piece:
                written = os.pwrite(descriptor, piece, offset)
                piece, offset = piece[written:], offset + written
        if entry.regions is not None:
            os.ftruncate(descriptor, entry.size)

    @property
    def offset(self) -> int:
        """Where in the stream the content of the present entry begins, as long as none of it was read."""
        return self._stream.offset

    def _next(self) -> Entry | None:
        extended: list[tuple[bytes, bytes]] = []
        long_name = long_link = None
        budget = self._limits.header
        while True:
            self._stream.skip(self._left)
            self._left = 0
            block = self._stream.read(BLOCK)
            # One zero block is the end for GNU tar too; two are the rule.
            if not block or block == _ZERO:
                if extended or long_name is not None or long_link is not None:
                    bad("it ends after an extended header")
                return None
            if len(block) < BLOCK:
                bad("it ends within a header")
            verify(block)
            kind = block[156:157]
            if kind not in b"xgLK":
                break
            size = number(block[124:136], "size")
            budget -= size + BLOCK
            if budget < 0:
                bad(f"the extended headers of one entry are longer than {size_text(self._limits.header)}")
            data = self._stream.read(size)
            if len(data) < size:
                bad("it ends within an extended header")
            self._left = -size % BLOCK
            if kind == b"x":
                extended = records(data)
            elif kind == b"L":
                long_name = data.split(b"\0", 1)[0]
            elif kind == b"K":
                long_link = data.split(b"\0", 1)[0]
            # A global header (g) is skipped, as other engines do: no layer's entries depend on one.
        return self._entry(block, kind, extended, long_name, long_link)

    def _entry(
        self,
        block: bytes,
        kind: bytes,
        extended: list[tuple[bytes, bytes]],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        if kind not in _KINDS:
            bad(f"it has an entry of the unknown type {kind!r}")
        name = text(block, 0, 100)
        if block[345] and block[257:263] == b"ustar\0":
            name = text(block, 345, 155) + b"/" + name
        entry = Entry(
            _KINDS[kind],
            name,
            text(block, 157, 100) if block[157] else b"",
            number(block[100:108], "mode") & 0o7777,
            number(block[108:116], "UID"),
            number(block[116:124], "GID"),
            signed(block[136:148], "modification time") * 1_000_000_000,
        )
        entry.stored = number(block[124:136], "size")
        if entry.kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = number(block[329:337], "device"), number(block[337:345], "device")
        if long_name is not None:
            entry.name = long_name
        if long_link is not None:
            entry.linkname = long_link
        if kind == b"\0" and entry.name.endswith(b"/"):
            entry.kind = FOLDER
        if extended:
            _apply(entry, extended)
        if entry.kind != FILE:
            # Some writers repeat the file's size for a link; no data follows.
            entry.stored = 0
        entry.size = entry.stored
        self._left = entry.stored + -entry.stored % BLOCK
        if entry.kind == FILE and (extended or kind == b"S"):
            before = self._stream.offset
            sparse.apply(entry, self._stream, block if kind == b"S" else None, extended, self._limits.regions)
            if entry.regions is not None:
                # A map that stands before the data has been read; old maps do not count.
                self._left -= self._stream.offset - before if kind != b"S" else 0
        if b"\0" in entry.name or b"\0" in entry.linkname:
            bad("it has a name with a NUL in it")
        if not 0 <= entry.size < 1 << 63:
            bad(f"it has a file of {entry.size} bytes")
        return entry


def _apply(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """What a pax header says instead of the block; an empty value leaves the block's (pax(1))."""
    for key, value in records:
        if key.startswith(_XATTR):
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[key[len(_XATTR) :]] = value
        elif not value:
            continue
        elif key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.linkname = value
        elif key == b"size":
            entry.stored = decimal(value, "size")
        elif key == b"uid":
            entry.uid = decimal(value, "UID")
        elif key == b"gid":
            entry.gid = decimal(value, "GID")
        elif key == b"mtime":
            entry.mtime_ns = nanoseconds(value)
