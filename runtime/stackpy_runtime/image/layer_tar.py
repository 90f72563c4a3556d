"""The tar of a layer's folder: the same tree gives the same bytes, wherever and whenever it is asked for.

Entries stand in the order of their names, a folder before what is in it; times are clamped and whole seconds; what
overlayfs marks (character device 0:0, an opaque folder) becomes OCI's `.wh.` again (image-spec, layer.md). Everything
is opened by one name beneath its folder's descriptor, so that a tree that changes meanwhile leads nowhere else.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import EngineError, Unsupported
from stackpy_runtime.image import tar_writing
from stackpy_runtime.image.entries import BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK
from stackpy_runtime.image.limits import DEFAULT
from stackpy_runtime.image.lowers import is_opaque, is_whiteout
from stackpy_runtime.image.rules import show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Sink(Protocol):
        """Where bytes go."""

        def write(self, data: bytes, /) -> object:
            """Takes all of them."""


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
# What opening a folder, a file or a link answers when it has become another of them.
_EXCHANGED = (errno.ENOTDIR, errno.ELOOP, errno.EINVAL)
_TRIES = 50  # of an entry that somebody exchanges for another meanwhile
_PLAIN_ROOT = (0o755, 0, 0)
NEVER = (1 << 63) - 1  # an epoch that clamps nothing


class LayerDigest(NamedTuple):
    """The uncompressed tar of a layer: the digest of its bytes, and how many."""

    diff_id: str
    size: int


class Hashed:
    """Counts and hashes what is written, and passes it on; to nowhere without `out`."""

    def __init__(self, out: Sink | None = None) -> None:
        self._out, self._hash, self.size = out, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Takes bytes."""
        self._hash.update(data)
        self.size += len(data)
        if self._out is not None:
            self._out.write(data)

    @property
    def digest(self) -> LayerDigest:
        """Of all that was written."""
        return LayerDigest("sha256:" + self._hash.hexdigest(), self.size)


def write(root: int, out: Sink, *, epoch: int = NEVER, whiteouts: bool = True) -> None:
    """Writes the tree beneath the descriptor `root`, end of archive included.

    epoch: seconds since 1970; later times become this one
    whiteouts: translate overlayfs's marks, for a layer; without it they cannot be, for a merged tree

    Sockets are left out, as by every archiver: they are nothing without the process that listens. Raises Unsupported
    for what an image's layer cannot hold.
    """
    writer = _Writer(_Guarded(out), epoch, whiteouts)
    status = os.fstat(root)
    try:
        if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != _PLAIN_ROOT or _attributes(root):
            writer.folder(root, b".", status)
        writer.tree(root)
    except _Unwritable as failure:
        raise failure.error from None
    out.write(tar_writing.END)


def write_one(folder: int, name: str, out: Sink, *, called: str) -> bool:
    """Writes one entry of a folder with all that is in it, end of archive included; whether it was still there.

    called: its name in the archive; "." for what is in a folder, without the folder's own name
    """
    writer = _Writer(_Guarded(out), NEVER, whiteouts=False)
    try:
        written = writer.one(folder, os.fsencode(name), os.fsencode(called))
    except _Unwritable as failure:
        raise failure.error from None
    out.write(tar_writing.END)
    return written


class _Unwritable(Exception):
    """The sink has failed, which is not what reading the tree has."""

    def __init__(self, error: OSError) -> None:
        self.error = error


class _Guarded:
    def __init__(self, out: Sink) -> None:
        self._out = out

    def write(self, data: bytes) -> None:
        try:
            self._out.write(data)
        except OSError as error:
            raise _Unwritable(error) from None


class _Writer:
    def __init__(self, out: _Guarded, epoch: int, whiteouts: bool) -> None:
        self._out, self._epoch, self._whiteouts = out, epoch, whiteouts
        self._links: dict[tuple[int, int], bytes] = {}
        self._written = False  # any entry

    def one(self, folder: int, name: bytes, path: bytes) -> bool:
        """An entry and, of a folder, everything in it; False when it is gone."""
        self._written = False
        opened = self._entry(folder, name, path)
        if opened >= 0:
            try:
                self.tree(opened, path)
            finally:
                os.close(opened)
        return self._written

    def tree(self, root: int, path: bytes = b"") -> None:
        """Everything in a folder, whose own path that is; one descriptor is open for each folder on the way down."""
        held: list[tuple[int, bytes, Iterator[bytes]]] = [(root, path, iter(self._begin(root, path)))]
        try:
            while held:
                folder, path, names = held[-1]
                name = next(names, None)
                if name is None:
                    held.pop()
                    if folder != root:
                        os.close(folder)
                    continue
                here = path + b"/" + name if path else name
                opened = self._entry(folder, name, here)
                if opened >= 0:
                    held.append((opened, here, iter(())))
                    if len(held) > DEFAULT.depth:
                        raise Unsupported(f"`{_shown(here)}` is more than {DEFAULT.depth} folders deep")
                    held[-1] = (opened, here, iter(self._begin(opened, here)))
        finally:
            for folder, _, _ in held:
                if folder != root:
                    os.close(folder)

    def _begin(self, folder: int, path: bytes) -> list[bytes]:
        """The sorted names in a folder; says first that it is opaque."""
        if self._whiteouts and is_opaque(folder):
            self._out.write(tar_writing.header(FILE, (path + b"/" if path else b"") + b".wh..wh..opq"))
        return sorted(os.fsencode(name) for name in os.listdir(folder))

    def _entry(self, folder: int, name: bytes, path: bytes) -> int:
        """Writes one entry; a folder's descriptor, or -1."""
        if self._whiteouts and name.startswith(b".wh."):
            raise Unsupported(f"`{_shown(path)}` cannot be in a layer: its name says that something is removed")
        for attempt in range(_TRIES):
            try:
                return self._write(folder, name, path)
            except FileNotFoundError:
                return -1  # removed since its name was read: only a running container's tree changes
            except OSError as error:
                if isinstance(error, EngineError):
                    raise
                # A folder, file or link has been put in the place of another: then that is the entry.
                if error.errno in _EXCHANGED and attempt < _TRIES - 1:
                    continue
                reason = (error.strerror or str(error)).lower()
                raise EngineError(f"cannot read `{_shown(path)}`: {reason}") from None
        raise AssertionError("unreachable")

    def _write(self, folder: int, name: bytes, path: bytes) -> int:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            opened = os.open(name, _FOLDER, dir_fd=folder)
            try:
                self.folder(opened, path, os.fstat(opened))
            except BaseException:
                os.close(opened)
                raise
            return opened
        if stat.S_ISREG(status.st_mode):
            self._file(folder, name, path)
        elif not self._linked(path, status):
            self._special(folder, name, path, status)
        return -1

    def folder(self, descriptor: int, path: bytes, status: os.stat_result) -> None:
        """The entry of a folder."""
        self._header(FOLDER, path, status, attributes=_attributes(descriptor))

    def _file(self, folder: int, name: bytes, path: bytes) -> None:
        descriptor = os.open(name, _FILE, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "changed while it was read")  # as if open had said so
            if self._linked(path, status):
                return
            self._header(FILE, path, status, size=status.st_size, attributes=_attributes(descriptor))
            left = status.st_size
            while left:
                data = os.read(descriptor, min(left, _CHUNK))
                if not data:
                    # It has shrunk: the header has promised more, and zeros are what truncation leaves.
                    data = bytes(min(left, _CHUNK))
                left -= len(data)
                self._out.write(data)
            if remainder := tar_writing.padding(status.st_size):
                self._out.write(remainder)
        finally:
            os.close(descriptor)

    def _linked(self, path: bytes, status: os.stat_result) -> bool:
        """Whether the entry is a further name of one that was written, and is written as that."""
        # Every whiteout may be one inode with thousands of names.
        if status.st_nlink < 2 or is_whiteout(status):
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first is path:
            return False
        self._header(LINK, path, status, target=first)
        return True

    def _special(self, folder: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        mode = status.st_mode
        if stat.S_ISLNK(mode):
            self._header(SYMLINK, path, status, target=os.readlink(name, dir_fd=folder))
        elif stat.S_ISFIFO(mode):
            self._header(FIFO, path, status)
        elif self._whiteouts and is_whiteout(status):
            parent, slash, last = path.rpartition(b"/")
            self._out.write(tar_writing.header(FILE, parent + slash + b".wh." + last))
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            kind = CHARACTER if stat.S_ISCHR(mode) else BLOCK_DEVICE
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            self._header(kind, path, status, device=device)

    def _header(
        self,
        kind: str,
        path: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        target: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: dict[bytes, bytes] | None = None,
    ) -> None:
        self._written = True
        self._out.write(
            tar_writing.header(
                kind,
                path,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                size=size,
                mtime=min(status.st_mtime_ns // 1_000_000_000, self._epoch),
                target=target,
                device=device,
                attributes=attributes,
            )
        )


def _attributes(descriptor: int) -> dict[bytes, bytes]:
    """The extended attributes that a layer carries; those that unpacking takes, and no mark of overlayfs or of ours."""
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return {}  # a file system without any
    found = {}
    for name in names:
        if name == "security.capability" or (
            name.startswith(("user.", "system.posix_acl_")) and not name.startswith("user.overlay.")
        ):
            found[os.fsencode(name)] = os.getxattr(descriptor, name)
    return found


def _shown(path: bytes) -> str:
    return show(tuple(path.split(b"/")))
