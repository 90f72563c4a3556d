"""Digests of layers, remembered where the layer is: they come and go with it, and a step made again has its own.

They are attributes of the layer's folder, or index, that nobody in a container sees. A file system without such
attributes has them computed each time.
"""

from __future__ import annotations

import os

from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

_TAR, _PACKED = "trusted.stackpy.tar", "trusted.stackpy.packed"
_ORIGINAL = "original"


def tar(root: Root, layer_id: str, epoch: int) -> tuple[str, int] | None:
    """Digest and size of the layer's tar with times up to `epoch`; None where nobody has computed them yet."""
    return _digest(_read(root, layer_id, f"{_TAR}.{epoch}"))


def remember_tar(root: Root, layer_id: str, epoch: int, diff_id: str, size: int) -> None:
    """Keeps them."""
    _write(root, layer_id, f"{_TAR}.{epoch}", f"{diff_id} {size}")


def original(root: Root, layer_id: str) -> tuple[str, int] | None:
    """Digest and size of the tar that the layer came as; None for a layer that was made here."""
    return _digest(_read(root, layer_id, f"{_TAR}.{_ORIGINAL}"))


def remember_original(root: Root, layer_id: str, diff_id: str, size: int) -> None:
    """Keeps them."""
    _write(root, layer_id, f"{_TAR}.{_ORIGINAL}", f"{diff_id} {size}")


def packed(root: Root, layer_id: str, diff_id: str) -> tuple[str, int, str] | None:
    """Digest, size and compression (gzip, zstd or "") of the tar of this digest as it was pulled, or last pushed."""
    of, _, rest = _read(root, layer_id, _PACKED).partition(" ")
    rest, _, compression = rest.partition(";")
    known = _digest(rest) if of == diff_id else None
    return None if known is None else (*known, compression)


def remember_packed(root: Root, layer_id: str, diff_id: str, digest: str, size: int, compression: str) -> None:
    """Keeps them."""
    _write(root, layer_id, _PACKED, f"{diff_id} {digest} {size};{compression}")


def _digest(text: str) -> tuple[str, int] | None:
    digest, _, size = text.partition(" ")
    return (digest, int(size)) if size.isdigit() else None


def _read(root: Root, layer_id: str, name: str) -> str:
    try:
        return os.getxattr(layers.home(root, layer_id), name).decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _write(root: Root, layer_id: str, name: str, text: str) -> None:
    try:
        os.setxattr(layers.home(root, layer_id), name, text.encode())
    except OSError:
        pass  # as the module says
