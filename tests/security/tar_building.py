"""Layers for tests of unpacking: members as data, and headers that no honest program writes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

# In the names and targets of the corpus this stands for the canary's absolute path.
CANARY = "@CANARY@"
TYPES = {
    "file": tarfile.REGTYPE, "link": tarfile.LNKTYPE, "symlink": tarfile.SYMTYPE, "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE, "folder": tarfile.DIRTYPE, "fifo": tarfile.FIFOTYPE,
}  # fmt: skip


class Member(NamedTuple):
    name: str
    kind: str = "file"
    link: str = ""
    data: bytes = b"evil"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    device: tuple[int, int] = (0, 0)
    mtime: int = 0
    pax: dict[str, str] = {}


def file(name: str, **options: Any) -> Member:
    return Member(name, **options)


def folder(name: str, mode: int = 0o755, **options: Any) -> Member:
    return Member(name, "folder", mode=mode, **options)


def symlink(name: str, target: str, **options: Any) -> Member:
    return Member(name, "symlink", target, mode=0o777, **options)


def hardlink(name: str, target: str, **options: Any) -> Member:
    return Member(name, "link", target, **options)


def device(name: str, kind: str, major: int, minor: int) -> Member:
    return Member(name, kind, device=(major, minor))


def pax(name: str, **records: str) -> Member:
    return file(name, pax={key.replace("__", "."): value for key, value in records.items()})


class Raw(bytes):
    """A whole layer as bytes, for what tarfile does not write."""


Layer = list[Member] | Raw


def tar_of(layer: Layer, canary: str) -> bytes:
    if isinstance(layer, Raw):
        return layer.replace(CANARY.encode(), canary.encode())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as writer:
        for member in layer:
            info = tarfile.TarInfo(member.name.replace(CANARY, canary))
            info.type, info.linkname = TYPES[member.kind], member.link.replace(CANARY, canary)
            info.mode, info.uid, info.gid, info.mtime = member.mode, member.uid, member.gid, member.mtime
            info.devmajor, info.devminor = member.device
            info.pax_headers = member.pax
            info.size = len(member.data) if member.kind == "file" else 0
            writer.addfile(info, io.BytesIO(member.data))
    return buffer.getvalue()


def header(name: bytes, kind: bytes = b"0", size: bytes = b"%011o" % 4, **fields: bytes) -> bytes:
    """A header block with fields as they are; right only in its checksum."""
    block = bytearray(512)

    def put(offset: int, data: bytes) -> None:
        block[offset : offset + len(data)] = data

    put(0, name)
    put(100, b"0000644")
    put(108, fields.get("uid", b"0000000"))
    put(116, b"0000000")
    put(124, size)
    put(136, fields.get("mtime", b"00000000000"))
    put(148, b" " * 8)
    put(156, kind)
    put(157, fields.get("link", b""))
    put(257, b"ustar\x0000" if "gnu" not in fields else b"ustar  \0")
    put(386, fields.get("sparse", b""))
    put(483, fields.get("real", b""))
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def extended(kind: bytes, data: bytes, then: bytes) -> Raw:
    return Raw(header(b"x", kind, b"%011o" % len(data)) + padded(data) + then + padded(b"evil") + bytes(1024))


def record(text: bytes) -> bytes:
    length = len(text) + 3
    while length != len(b"%d %s\n" % (length, text)):
        length += 1
    return b"%d %s\n" % (length, text)


SPARSE_1 = record(b"GNU.sparse.major=1") + record(b"GNU.sparse.minor=0")
FILE = header(b"f") + padded(b"evil")
END = bytes(1024)


def save(stack: list[Layer], path: Path, canary: str) -> Path:
    """Writes a docker archive with these layers, all digests right."""
    blobs = [tar_of(layer, canary) for layer in stack]
    diff_ids = ["sha256:" + hashlib.sha256(blob).hexdigest() for blob in blobs]
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    members = {f"{number}/layer.tar": blob for number, blob in enumerate(blobs)}
    manifest = [{"Config": "config.json", "RepoTags": ["evil:1"], "Layers": list(members)}]
    return plain_tar(path, {**members, "config.json": config.encode(), "manifest.json": json.dumps(manifest).encode()})


def plain_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Writes a tar of plain files."""
    with tarfile.open(path, "w") as writer:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return path
