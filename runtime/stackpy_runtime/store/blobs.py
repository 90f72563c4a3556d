"""OCI content as it came, by digest: ROOT/blobs/sha256/HEX, written aside and renamed into place."""

from __future__ import annotations

import os

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

_DIGITS = frozenset("0123456789abcdef")


def path(root: Root, digest: str) -> str:
    """Where the blob lies, or would lie; raises InvalidConfig for what is no sha256 digest."""
    hexadecimal = digest.removeprefix("sha256:")
    if len(hexadecimal) != 64 or not _DIGITS.issuperset(hexadecimal):
        raise InvalidConfig(f"`{digest[:100]}` is not a sha256 digest")
    return f"{root.blobs}/sha256/{hexadecimal}"


def put(root: Root, digest: str, data: bytes) -> None:
    """Keeps a small blob (a configuration, a manifest) whose digest the caller has checked; it outlives a power cut."""
    target = path(root, digest)
    if os.path.exists(target):
        return
    staged = layers.reserve(root)
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with open(f"{staged}/blob", "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{staged}/blob", target)
    except OSError as error:
        hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
        raise EngineError(f"cannot write `{target}`: {(error.strerror or str(error)).lower()}", hint=hint) from None
    finally:
        layers.discard(root, staged)


def get(root: Root, digest: str) -> bytes | None:
    """The content of a small blob; None where it is not there."""
    try:
        with open(path(root, digest), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def adopt(root: Root, digest: str, source: str) -> None:
    """Renames a file in a staging folder to the blob whose digest it has; the caller makes it outlive a power cut."""
    target = path(root, digest)
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.rename(source, target)
    except OSError as error:
        raise EngineError(f"cannot write `{target}`: {(error.strerror or str(error)).lower()}") from None


def is_whole(descriptor: int, digest: str) -> bool:
    """Whether an open blob still has its digest; it may not, after a power cut."""
    with open(descriptor, "rb", closefd=False) as file:
        import hashlib  # only where a blob is read that was there before

        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() == digest
