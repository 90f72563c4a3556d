"""Layers of our own as registries keep them: gzip, the same bytes each time on one host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from stackpy_runtime.errors import EngineError
from stackpy_runtime.image import exporting
from stackpy_runtime.image.hashing import Sha256
from stackpy_runtime.store import digests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy_runtime.store.store import Store

_WBITS = 31  # a gzip header, which has no time and no name in it
_CHUNK = 1 << 20


class Packed(NamedTuple):
    """A layer as a registry has it: digest and bytes of it, how it is compressed (gzip, zstd, or "" for not at all).

    file: descriptor of what holds it, or -1 where only that is known
    """

    digest: str
    size: int
    compression: str
    file: int = -1

    @property
    def media_type(self) -> str:
        """OCI's for it (layer.md)."""
        return exporting.LAYER_TYPE + (f"+{self.compression}" if self.compression else "")

    def pieces(self) -> Iterator[bytes]:
        """Its bytes from the beginning."""
        place = 0
        while piece := os.pread(self.file, _CHUNK, place):
            place += len(piece)
            yield piece


def remembered(store: Store, layer_id: str, diff_id: str) -> Packed | None:
    """As what a layer, whose tar has this digest, was pulled or last pushed; None for one that never was."""
    known = digests.packed(store.root, layer_id, diff_id)
    return None if known is None else Packed(*known)


def pack(store: Store, layer_id: str, diff_id: str, epoch: int, file: int) -> Packed:
    """Compresses a layer into an empty file. Raises EngineError, also where its tar is another than it was."""
    sink = _Gzip(file)
    try:
        tar = exporting.layer_tar(store, layer_id, sink, epoch=epoch)
        sink.finish()
    except OSError as error:
        if isinstance(error, EngineError):
            raise
        hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
        raise EngineError(f"cannot compress the layer: {(error.strerror or str(error)).lower()}", hint=hint) from None
    if tar.diff_id != diff_id:
        raise EngineError(f"layer `{layer_id[:19]}` is no longer what it was: its tar is {tar.diff_id}")
    packed = Packed("sha256:" + sink.hash.hexdigest(), sink.size, "gzip", file)
    digests.remember_packed(store.root, layer_id, diff_id, *packed[:3])
    return packed


class _Gzip:
    """Where a tar goes to be compressed into a file and hashed."""

    def __init__(self, file: int) -> None:
        self._file, self.size = file, 0
        self.hash = Sha256()
        self._compressor = _compressor()

    def write(self, data: bytes, /) -> None:
        self._put(self._compressor.compress(data))

    def finish(self) -> None:
        self._put(self._compressor.flush())

    def _put(self, data: bytes) -> None:
        self.hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]


def _compressor() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib.compressobj(6, zlib.DEFLATED, _WBITS)
    # Tried with a Debian image: within a tenth of what gzip -6 makes of it, in a tenth of the time; its best, level 3,
    # takes twice as long for one hundredth less.
    return isal_zlib.compressobj(2, isal_zlib.DEFLATED, _WBITS)
