"""SHA-256 of texts and of files.

hashlib costs 3.5 ms to import (it loads OpenSSL) and is four times as fast on large files: it is taken for content, and
the interpreter's own module for the few short texts of a plan with nothing to read.
"""

from __future__ import annotations

import os
import sys

try:
    from _sha2 import sha256 as _small  # type: ignore[import-not-found, unused-ignore]  # 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256 as _small  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from hashlib import sha256 as _small

CHUNK = 1 << 20
_LARGE = 1 << 15  # bytes above which OpenSSL is worth its import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    if len(data) >= _LARGE and "hashlib" in sys.modules:
        import hashlib

        return hashlib.sha256(data).hexdigest()
    return str(_small(data).hexdigest())


def named_hash(kind: str, parts: list[tuple[str, str]]) -> str:
    """The SHA-256 of `kind` and of named values, in hexadecimal; no two lists give the same bytes to hash.

    Each text stands behind its length, so that no value can pass for two, or for a name.
    """
    pieces = [kind]
    for part in parts:
        pieces += part
    # In most recipes a letter is a byte, and twenty thousand texts are encoded at once.
    text = "".join([f"{len(piece)}:{piece}" for piece in pieces])
    if text.isascii():
        return sha256_hex(text.encode())
    encoded = [piece.encode("utf-8", "surrogateescape") for piece in pieces]
    return sha256_hex(b"".join([b"%d:%b" % (len(piece), piece) for piece in encoded]))


def begun_sha256(first: bytes) -> Any:
    """A SHA-256 of a file whose first chunk this is, of at most CHUNK bytes: more may come."""
    if len(first) < _LARGE:
        return _small(first)
    import hashlib

    return hashlib.sha256(first)


def file_sha256(path: str, folder: int | None = None) -> tuple[str, os.stat_result]:
    """The SHA-256 of a file's content, and its stat once it was read; `path` is beneath `folder` when that is given.

    Raises OSError, also for a link.
    """
    # O_NONBLOCK: what has just become a FIFO must not hold us.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        content = begun_sha256(os.read(descriptor, CHUNK))
        while chunk := os.read(descriptor, CHUNK):
            content.update(chunk)
        return content.hexdigest(), os.fstat(descriptor)
    finally:
        os.close(descriptor)
