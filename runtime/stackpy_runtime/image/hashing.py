"""SHA-256 beside the work that the bytes are for: in a thread, since hashlib lets others run while it hashes.

A layer is decompressed, hashed, read as a tar and written to disk, all in one pass; hashing is a quarter of that.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

# Below it handing over costs more than hashing.
_SMALL = 32 << 10
# Pieces that wait at most, so that memory is not filled where hashing is the slowest.
_WAITING = 4


class Sha256:
    """As hashlib.sha256; one thread at a time may use it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._places = threading.Semaphore(_WAITING)

    def update(self, data: bytes) -> None:
        """Takes bytes, which must not change."""
        if self._thread is None:
            if len(data) < _SMALL:
                self._hash.update(data)
                return
            self._thread = threading.Thread(target=_work, args=(self._hash, self._queue, self._places), daemon=True)
            self._thread.start()
            # Whoever lets go of this without asking for the digest leaves no thread behind.
            weakref.finalize(self, self._queue.put, None)
        self._places.acquire()
        self._queue.put(data)

    def hexdigest(self) -> str:
        """The digest of all that was taken."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            self._queue = SimpleQueue()
        return self._hash.hexdigest()


def _work(hash_: _Hash, queue: SimpleQueue[bytes | None], places: threading.Semaphore) -> None:
    while (data := queue.get()) is not None:
        hash_.update(data)
        places.release()
