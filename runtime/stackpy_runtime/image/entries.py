"""What a tar stream is made of: entries, and exact reads from a source of pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stackpy_runtime.image.limits import bad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512

FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = (
    "file",
    "link",
    "symlink",
    "char",
    "block",
    "folder",
    "fifo",
)


class Source(Protocol):
    """Where bytes come from."""

    def read(self) -> bytes:
        """The next piece, of any length; b"" at the end."""


class Entry:
    """One member of a tar. Names are bytes as they stand there; `regions` is not None for a sparse file."""

    __slots__ = (
        "gid", "kind", "linkname", "major", "minor", "mode", "mtime_ns", "name", "regions", "size", "stored", "uid",
        "xattrs",
    )  # fmt: skip

    def __init__(self, kind: str, name: bytes, linkname: bytes, mode: int, uid: int, gid: int, mtime_ns: int) -> None:
        self.kind, self.name, self.linkname = kind, name, linkname
        self.mode, self.uid, self.gid, self.mtime_ns = mode, uid, gid, mtime_ns
        self.major = self.minor = 0
        self.size = self.stored = 0  # of the file, and of its data in the archive
        self.xattrs: dict[bytes, bytes] | None = None
        self.regions: list[tuple[int, int]] | None = None  # offset, length


class Stream:
    """Exact reads from a source."""

    def __init__(self, source: Source, seek: Callable[[int], None] | None = None) -> None:
        self._source, self._seek, self._buffer, self._position = source, seek, b"", 0
        self._ended = 0  # bytes before the buffer

    @property
    def offset(self) -> int:
        """Bytes consumed so far."""
        return self._ended + self._position

    def skip(self, size: int) -> None:
        """Passes over `size` bytes, by seeking where the source can; raises InvalidConfig when it ends before."""
        target = self.offset + size
        if self._seek is not None and target > self._ended + len(self._buffer):
            self._buffer, self._position, self._ended = b"", 0, target
            self._seek(target)
            return
        while self.offset < target:
            left = len(self._buffer) - self._position
            if left >= target - self.offset:
                self._position += target - self.offset
                return
            self._ended += len(self._buffer)
            self._buffer, self._position = self._source.read(), 0
            if not self._buffer:
                bad("it ends within a file")

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer only at the end."""
        end = self._position + size
        if end <= len(self._buffer):
            piece = self._buffer[self._position : end]
            self._position = end
            return piece
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes as they come; fewer only at the end."""
        while size:
            if self._position == len(self._buffer):
                self._ended += self._position
                self._buffer, self._position = self._source.read(), 0
                if not self._buffer:
                    return
            piece = self._buffer[self._position : self._position + size]
            self._position += len(piece)
            size -= len(piece)
            yield piece
