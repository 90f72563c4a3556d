"""Blobs: bytes at a place in a file, read forward, decompressed, hashed and measured on the way."""

from __future__ import annotations

import os
import zlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from stackpy_runtime.errors import EngineError, Unsupported
from stackpy_runtime.image.hashing import Sha256
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.image.entries import Source

_CHUNK = 256 << 10
# What is decompressed at a time: of larger pieces malloc gives the memory back to the kernel, and takes it anew.
_OUTPUT = 512 << 10
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# zstd's own default; a frame may ask for far more memory.
_ZSTD_WINDOW = 1 << 27


class Blob(NamedTuple):
    """A part of an open file; the descriptor is the owner's."""

    descriptor: int
    offset: int
    size: int

    def read_all(self) -> bytes:
        """The whole content; the caller has looked at `size`."""
        data = bytearray()
        while len(data) < self.size:
            piece = os.pread(self.descriptor, self.size - len(data), self.offset + len(data))
            if not piece:
                bad("it ends within a file")
            data += piece
        return bytes(data)


class Raw:
    """The bytes of a blob as they are, hashed where that is wanted: it takes as long as decompressing."""

    def __init__(self, blob: Blob, *, hashed: bool = False) -> None:
        self._blob, self.position = blob, 0
        self._hash = Sha256() if hashed else None

    def read(self) -> bytes:
        """The next piece."""
        wanted = min(_CHUNK, self._blob.size - self.position)
        if not wanted:
            return b""
        piece = os.pread(self._blob.descriptor, wanted, self._blob.offset + self.position)
        if not piece:
            bad("it ends within a file")
        self.position += len(piece)
        if self._hash is not None:
            self._hash.update(piece)
        return piece

    @property
    def digest(self) -> str:
        """sha256 of what was read; "" when it was not hashed."""
        return "" if self._hash is None else "sha256:" + self._hash.hexdigest()


class Stream(Protocol):
    """Stored bytes that come from elsewhere than a file."""

    position: int

    def start(self) -> bytes:
        """The first six bytes, which `read` gives too."""

    def read(self) -> bytes:
        """The next piece; b"" at the end."""

    @property
    def digest(self) -> str:
        """sha256 of what was read."""


class Content:
    """The uncompressed bytes of a blob, hashed and kept within limits.

    blob: a part of a file, or a stream
    report: told the compressed position after each piece
    hashed: also hash the bytes as they are stored, for `digest`
    """

    def __init__(
        self,
        blob: Blob | Stream,
        limits: Limits = DEFAULT,
        report: Callable[[int], None] | None = None,
        *,
        hashed: bool = False,
    ) -> None:
        start = _start(blob) if isinstance(blob, Blob) else blob.start()
        self._compressed = bool(compression_of(start))
        self.raw = Raw(blob, hashed=hashed and self._compressed) if isinstance(blob, Blob) else blob
        self._source = _decompressed(self.raw, start)
        self._limits, self._report = limits, report
        self._hash = Sha256()
        self.size = 0

    def read(self) -> bytes:
        """The next piece; raises InvalidConfig when the stream is damaged or grows beyond the limits."""
        piece = self._source.read()
        self._hash.update(piece)
        self.size += len(piece)
        if self.size > self._limits.unpacked:
            bad(f"it has more than {size_text(self._limits.unpacked)} when decompressed")
        if self.size > self._limits.ratio_from and self.size > self.raw.position * self._limits.ratio:
            bad(f"it decompresses to more than {self._limits.ratio} times its size: this is no honest layer")
        if self._report is not None:
            self._report(self.raw.position)
        return piece

    def finish(self) -> None:
        """Reads what the tar did not need, on both sides, so that both digests cover everything."""
        while self.read():
            pass
        while self.raw.read():
            pass

    @property
    def digest(self) -> str:
        """sha256 of the stored bytes read; needs `hashed`."""
        return self.raw.digest if self._compressed else self.diff_id

    @property
    def diff_id(self) -> str:
        """sha256 of the uncompressed bytes read."""
        return "sha256:" + self._hash.hexdigest()


def _decompressed(raw: Source, start: bytes) -> Source:
    """A source of the uncompressed bytes of the blob that `raw` reads, which begins with `start`.

    Media types are not asked: they are wrong often enough, and the digest decides anyway.
    """
    compression = compression_of(start)
    if compression == "other":
        bad("it is compressed with bzip2 or xz, and gzip and zstd can be read")
    return _Gzip(raw) if compression == "gzip" else _Zstd(raw) if compression == "zstd" else raw


def is_compressed(blob: Blob) -> bool:
    """Whether the blob begins as a compressed stream does."""
    return bool(compression_of(_start(blob)))


def _start(blob: Blob) -> bytes:
    return os.pread(blob.descriptor, min(6, blob.size), blob.offset)


def compression_of(start: bytes) -> str:
    """How a stream that begins so is compressed: `gzip`, `zstd`, `other`, or "" for not at all."""
    if start.startswith(_GZIP):
        return "gzip"
    if start.startswith(_ZSTD) or (start[1:4] == b"\x2a\x4d\x18" and start[0] >> 4 == 5):  # or a skippable frame
        return "zstd"
    return "other" if start.startswith((b"BZh", b"\xfd7zXZ")) else ""


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def eof(self) -> bool: ...


def _inflater() -> tuple[Callable[[], _Decompressor], type[Exception]]:
    try:
        # Three times as fast as zlib; without it everything works.
        from isal import isal_zlib
    except ImportError:
        return lambda: zlib.decompressobj(wbits=31), zlib.error
    # Its stubs have the error as a value instead of a class.
    return lambda: isal_zlib.decompressobj(wbits=31), cast(type[Exception], isal_zlib.IsalError)


class _Gzip:
    """gzip, of one member or several; zeros may follow the last, as gzip(1) allows."""

    def __init__(self, raw: Source) -> None:
        self._raw = raw
        self._new, self._error = _inflater()
        self._member: _Decompressor | None = self._new()
        self._input = b""

    def read(self) -> bytes:
        ended = False
        while True:
            if not self._input and not ended:
                self._input = self._raw.read()
                ended = not self._input
            if self._member is None:
                self._input = self._input.lstrip(b"\0")
                if ended:
                    return b""
                if self._input:
                    self._member = self._new()
                continue
            try:
                # Bounded, so that a bomb is seen before it has filled the memory.
                output = self._member.decompress(self._input, _OUTPUT)
            except self._error as error:
                bad(f"its gzip stream is damaged: {error}")
            if self._member.eof:
                self._input, self._member = self._member.unused_data, None
            else:
                self._input = self._member.unconsumed_tail
                # Without input it may still have had output to give.
                if ended and not output:
                    bad("its gzip stream ends early")
            if output:
                return output


class _Zstd:
    """zstd, of one frame or several."""

    def __init__(self, raw: Source) -> None:
        try:
            import zstandard
        except ImportError:
            raise Unsupported(
                "it is compressed with zstd, and the Python package zstandard is missing",
                hint="python3 -m pip install zstandard",
            ) from None
        self._error: type[Exception] = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._stream: Any = decompressor.stream_reader(cast(IO[bytes], _File(raw)), read_across_frames=True)

    def read(self) -> bytes:
        try:
            piece: bytes = self._stream.read(_OUTPUT)
        except self._error as error:
            bad(f"its zstd stream is damaged: {error}")
        return piece


class _File:
    """A source as the file object that zstandard wants."""

    def __init__(self, raw: Source) -> None:
        self._raw, self._rest = raw, b""

    def read(self, size: int = -1) -> bytes:
        piece = self._rest or self._raw.read()
        if size >= 0:
            piece, self._rest = piece[:size], piece[size:]
        else:
            self._rest = b""
        return piece


def copy_decompressed(blob: Blob, target: int, limits: Limits) -> int:
    """Writes the uncompressed bytes of a whole archive to a file; returns how many."""
    content = Content(blob, limits)
    while piece := content.read():
        while piece:
            try:
                piece = piece[os.write(target, piece) :]
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise EngineError(f"cannot decompress the archive: {reason}", hint="free some space") from None
    return content.size
