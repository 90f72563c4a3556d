"""A large file that is written from its beginning to its end, and has to outlive a power cut soon after."""

from __future__ import annotations

import os

from stackpy_runtime.linux.files import begin_sync

# Bytes after which the disk is set to work: it takes them while the next are decompressed, not when all is done.
_EVERY = 8 << 20


class Written:
    """Writes the pieces that it is called with, one after the other; raises OSError."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size, self._begun = 0, 0

    def __call__(self, piece: bytes) -> None:
        written = os.write(self._descriptor, piece)
        while written < len(piece):
            written += os.write(self._descriptor, memoryview(piece)[written:])
        self._size += len(piece)
        if self._size - self._begun >= _EVERY:
            begin_sync(self._descriptor, self._begun, self._size - self._begun)
            self._begun = self._size
