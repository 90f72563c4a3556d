"""SHA-256 beside the work that the bytes are for."""

from __future__ import annotations

import hashlib

from stackpy_runtime.image.beside import Beside


class Sha256:
    """As hashlib.sha256; one thread at a time may use it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._beside = Beside(self._hash.update)

    def update(self, data: bytes) -> None:
        """Takes bytes, which must not change."""
        self._beside.give(data)

    def hexdigest(self) -> str:
        """The digest of all that was taken."""
        self._beside.finish()
        return self._hash.hexdigest()
