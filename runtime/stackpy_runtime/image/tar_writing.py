"""Writing tar headers: ustar, with a pax header in front where a field does not fit (pax(1), IEEE Std 1003.1). Pure.

The same entry always gives the same bytes: digests are made of them. No user or group names, whole seconds, and a pax
header only where it must be, its records in the order of their names.
"""

from __future__ import annotations

from stackpy_runtime.image.entries import BLOCK, BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

END = bytes(2 * BLOCK)

_FLAGS = {FILE: b"0", LINK: b"1", SYMLINK: b"2", CHARACTER: b"3", BLOCK_DEVICE: b"4", FOLDER: b"5", FIFO: b"6"}
# What the octal digits of a field can hold.
_LARGEST_ID, _LARGEST_SIZE = 0o7777777, 0o77777777777
_NAME = 100


def header(
    kind: str,
    name: bytes,
    *,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
    attributes: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """The header of an entry, with its pax header where it needs one; the content, padded, follows it.

    kind: as in entries.py
    name: without a slash at either end; a folder's gets its own
    mtime: seconds since the epoch
    target: where a link leads
    device: major and minor
    attributes: extended attributes by their whole name
    """
    if kind == FOLDER:
        name += b"/"
    records: dict[bytes, bytes] = {b"SCHILY.xattr." + key: value for key, value in (attributes or {}).items()}
    if _needs_record(name):
        records[b"path"] = name
    if _needs_record(target):
        records[b"linkpath"] = target
    for key, value, largest in (
        (b"uid", uid, _LARGEST_ID),
        (b"gid", gid, _LARGEST_ID),
        (b"size", size, _LARGEST_SIZE),
        (b"mtime", mtime, _LARGEST_SIZE),
    ):
        if not 0 <= value <= largest:
            records[key] = b"%d" % value
    block = _block(_FLAGS[kind], name, mode, uid, gid, size, mtime, target, device)
    if not records:
        return block
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    return _block(b"x", b"././@PaxHeader", 0o644, 0, 0, len(data), 0) + data + padding(len(data)) + block


def padding(size: int) -> bytes:
    """The zeros between content of `size` bytes and the next header."""
    return bytes(-size % BLOCK)


def _needs_record(text: bytes) -> bool:
    # Readers disagree on what bytes above 127 mean in a ustar header; in a pax header they are UTF-8, or taken as is.
    return len(text) > _NAME or not text.isascii()


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    # The length counts its own digits.
    while (whole := len(rest) + len(str(length))) != length:
        length = whole
    return b"%d" % length + rest


def _block(
    flag: bytes,
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    def octal(value: int, largest: int, digits: int) -> bytes:
        return b"%0*o\0" % (digits, value if 0 <= value <= largest else 0)

    fields = [
        name[:_NAME].ljust(_NAME, b"\0"),
        octal(mode, 0o7777777, 7),
        octal(uid, _LARGEST_ID, 7),
        octal(gid, _LARGEST_ID, 7),
        octal(size, _LARGEST_SIZE, 11),
        octal(mtime, _LARGEST_SIZE, 11),
        b" " * 8,
        flag,
        target[:_NAME].ljust(_NAME, b"\0"),
        b"ustar\x0000",
        bytes(64),  # the owners' names: numbers alone mean the same everywhere
        octal(device[0], 0o7777777, 7),
        octal(device[1], 0o7777777, 7),
        bytes(155 + 12),
    ]
    block = b"".join(fields)
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])
