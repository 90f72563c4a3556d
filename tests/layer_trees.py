"""Layers taken in in both ways, and all that can be seen of their trees."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from stackpy_runtime.image.limits import DEFAULT, Limits
from stackpy_runtime.image.staging import TarLayer
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.image.unpack import unpack

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Pieces:
    """A source of bytes in pieces."""

    def __init__(self, data: bytes, length: int = 4096) -> None:
        self._data, self._length, self._at = data, length, 0

    def read(self) -> bytes:
        piece = self._data[self._at : self._at + self._length]
        self._at += len(piece)
        return piece


class Taken:
    """Layers over each other, as descriptors, the uppermost last; a context manager."""

    def __init__(self, folder: Path, limits: Limits = DEFAULT) -> None:
        self.folder, self.limits = folder, limits
        self.opened: list[int] = []
        folder.mkdir(exist_ok=True)

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.opened:
            os.close(descriptor)

    def index(self, tar: bytes) -> int:
        """One more layer, as its tar and an index."""
        layer = TarLayer(f"{self.folder}/{len(self.opened)}-{os.urandom(4).hex()}")
        try:
            layer.index("layer", layer.entries(Pieces(tar), self.limits), self.opened[::-1], self.limits)
            mount = layer.mount()
        finally:
            layer.close()
        self.opened.append(os.open(f"/proc/self/fd/{mount}/.", FOLDER))
        os.close(mount)
        return self.opened[-1]

    def unpack(self, tar: bytes) -> int:
        """One more layer, as a folder."""
        path = f"{self.folder}/{len(self.opened)}-{os.urandom(4).hex()}"
        os.mkdir(path, 0o755)
        descriptor = os.open(path, FOLDER)
        lowers = self.opened[::-1]
        self.opened.append(descriptor)
        unpack(Reader(Pieces(tar), self.limits), descriptor, lowers, self.limits)
        return descriptor


def everything(root: int) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree: kind, mode, owner, links, size, time, device, attributes, content, and which
    names are one file.
    """
    found: dict[str, tuple[object, ...]] = {}
    names: dict[tuple[int, int], list[str]] = {}
    top = f"/proc/self/fd/{root}/."
    for base, folders, files in os.walk(top):
        for name in [*folders, *files, *(["."] if base == top else [])]:
            path = f"{base}/{name}"
            shown = os.path.relpath(path, top)
            status = os.lstat(path)
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if not key.startswith("trusted.stackpy.")
            }
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            is_folder = stat.S_ISDIR(status.st_mode)
            if not is_folder:
                names.setdefault((status.st_dev, status.st_ino), []).append(shown)
            found[shown] = (
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_nlink,
                0 if is_folder else status.st_size,
                status.st_mtime_ns,
                status.st_rdev,
                attributes,
                content,
            )
    for same in names.values():
        for shown in same:
            found[shown] = (*found[shown], sorted(same))
    return found


def mounts_of(pid: int | str) -> list[list[str]]:
    """What is at the top of each layer that a process has mounted."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.statvfs(f"/proc/{pid}/fd/{name}/.").f_bsize == 512:
                found.append(sorted(os.listdir(f"/proc/{pid}/fd/{name}/.")))
        except OSError:
            continue
    return found
