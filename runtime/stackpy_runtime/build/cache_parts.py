"""The tar of a cache folder in parts: one that is there already is neither compressed nor brought again.

Cut where names say so, so that a file that is new, or gone, changes the part that it is in and no other. A part is cut
anywhere in the tar; only all of them together are one.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

from stackpy_runtime.build.cache_places import Part, Piece
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image.blobs import Content
from stackpy_runtime.image.entries import BLOCK
from stackpy_runtime.image.limits import DEFAULT, bad, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from stackpy_runtime.build.cache_places import Place

LEAST, MOST = 4 << 20, 32 << 20  # bytes of a part before it is compressed; it is held in memory meanwhile
_ONE_IN = 16  # names where a part that has its least may end
_MAGIC = slice(257, 262)  # of a tar's header (POSIX ustar)
_NAME = 100


class Split:
    """Takes a tar as it is written, and has its parts kept.

    known: parts that are there, by the digest of what is in them
    keep: compresses and keeps a part's bytes; gives the blob's digest and size
    """

    def __init__(self, known: Mapping[str, Part], keep: Callable[[bytes], tuple[str, int]]) -> None:
        self._known, self._keep = known, keep
        self._pieces: list[bytes] = []
        self._size = 0
        self.parts: list[Part] = []
        self.new = 0  # bytes of those that were not there, as they are stored

    def write(self, data: bytes) -> None:
        """Takes bytes; a header is one write."""
        if self._size >= MOST or (self._size >= LEAST and _ends_part(data)):
            self.finish()
        self._pieces.append(bytes(data))
        self._size += len(data)

    def finish(self) -> None:
        """Ends the last part."""
        if not self._size:
            return
        data = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        content = hashlib.sha256(data).hexdigest()
        part = self._known.get(content)
        if part is None:
            part = Part(*self._keep(data), content)
            self.new += part.size
        self.parts.append(part)


def _ends_part(data: bytes) -> bool:
    """Whether a write is the header of an entry by whose name a part ends."""
    return len(data) >= BLOCK and data[_MAGIC] == b"ustar" and zlib.crc32(data[:_NAME]) % _ONE_IN == 0


class Joined:
    """The tar of a piece, read from its parts one after the other, each verified when it has been read.

    A context manager, since the part that is being read is open.
    """

    def __init__(self, place: Place, piece: Piece) -> None:
        self._pieces = _read(place, parts_of(piece))

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.close()

    def read(self) -> bytes:
        """The next piece of it; raises InvalidConfig for a part that has other bytes than its digest says."""
        return next(self._pieces, b"")

    def finish(self) -> None:
        """Reads what the tar did not need, so that all is verified."""
        while self.read():
            pass


def _read(place: Place, parts: Iterable[Part]) -> Generator[bytes, None, None]:
    size = 0
    for part in parts:
        with place.blob(Piece("", part.blob, part.size)) as blob:
            content = Content(blob, hashed=True)
            while piece := content.read():
                size += len(piece)
                if size > DEFAULT.unpacked:
                    bad(f"it has more than {size_text(DEFAULT.unpacked)} when decompressed")
                yield piece
            content.finish()
        if content.digest != part.blob:
            raise InvalidConfig(f"its blob {part.blob[:19]} has other bytes than its digest says")


def parts_of(piece: Piece) -> tuple[Part, ...]:
    """The parts of a piece; one that was kept whole is the only one of itself."""
    return piece.parts or ((Part(piece.blob, piece.size, ""),) if piece.blob else ())
