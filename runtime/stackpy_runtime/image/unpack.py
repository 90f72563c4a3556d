"""Unpacking the tar of one layer into a folder that overlayfs can use.

Each entry is made by one name beneath the descriptor of its folder, never by a path; whatever is at that name is
removed first, and nothing is opened that is there already. A tar can so name nothing outside the layer's folder.
Whiteouts (`.wh.NAME`, `.wh..wh..opq`) become overlayfs's own. Device nodes are refused: a container gets its devices
from the engine, and one in a layer would be a way round that.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeVar

from stackpy_runtime.errors import EngineError, Unsupported
from stackpy_runtime.image.entries import BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK, Entry
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text
from stackpy_runtime.image.overlay import LayerFolder, Path, make_opaque, possible_time, set_times, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy_runtime.image.tar import Reader

_WHITEOUT, _WHITEOUT_META, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LAST_ID = 0xFFFFFFFE  # the one above means "leave it" to chown(2)

T = TypeVar("T")


def unpack(reader: Reader, root: int, lowers: Sequence[int] = (), limits: Limits = DEFAULT) -> int:
    """Writes the entries of a layer into the empty folder of the descriptor `root`; returns the bytes of its files.

    lowers: descriptors of the layers beneath, the uppermost first

    Raises InvalidConfig for a tar that no image would have, EngineError where the file system does not take it. What
    is written by then stays: the caller removes the folder.
    """
    layer = LayerFolder(root, lowers)
    try:
        unpacker = _Unpacker(reader, layer, limits)
        layer.inherit()
        for entry in reader:
            try:
                unpacker.add(entry)
            except OSError as error:
                if isinstance(error, EngineError):
                    raise
                raise _failure(entry, error) from None
        layer.finish()
        return unpacker.size
    finally:
        layer.close()


def layer_path(name: bytes, limits: Limits = DEFAULT) -> Path:
    """The parts of an entry's name; raises InvalidConfig for `..` and for what is too long."""
    if len(name) > limits.path:
        bad(f"it has a path of {len(name)} bytes, and {limits.path} are allowed: `{show((name,))}`")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if len(parts) > limits.depth:
        bad(f"it has folders {len(parts)} deep, and {limits.depth} are allowed: `{show(parts)}`")
    for part in parts:
        if part == b"..":
            bad(f"it has a path with `..`: `{show((name,))}`")
        if len(part) > limits.name:
            bad(f"it has a name of {len(part)} bytes, and {limits.name} are allowed: `{show((part,))}`")
    return parts


class _Unpacker:
    def __init__(self, reader: Reader, layer: LayerFolder, limits: Limits) -> None:
        self._reader, self._layer, self._limits = reader, layer, limits
        self.size = 0

    def add(self, entry: Entry) -> None:
        path = layer_path(entry.name, self._limits)
        if entry.uid > _LAST_ID or entry.gid > _LAST_ID:
            bad(f"`{show(path)}` belongs to {entry.uid}:{entry.gid}, which is no user and group")
        if not path:
            if entry.kind != FOLDER:
                bad("it has an entry without a name")
            self._dress_folder(self._layer.root, entry, path)
            return
        if any(part.startswith(_WHITEOUT) for part in path):
            self._whiteout(path)
            return
        folder = self._layer.folder(path[:-1])
        if entry.kind == FILE:
            self._file(folder, path, entry)
        elif entry.kind == FOLDER:
            self._folder(folder, path, entry)
        elif entry.kind == SYMLINK:
            self._symlink(folder, path, entry)
        elif entry.kind == LINK:
            target = layer_path(entry.linkname, self._limits)
            if not target:
                bad(f"the hard link `{show(path)}` leads nowhere")
            if any(part.startswith(_WHITEOUT) for part in target):
                bad(f"the hard link `{show(path)}` leads to a whiteout")
            self._count(self._layer.link(target, folder, path[-1]))
        elif entry.kind == FIFO:
            self._make(folder, path[-1], lambda: os.mkfifo(path[-1], 0o600, dir_fd=folder))
            self._dress(folder, path[-1], entry)
        elif entry.kind == CHARACTER and entry.major == entry.minor == 0:
            if self._layer.lowers:
                self._layer.hide(folder, path[-1])
        else:
            assert entry.kind in (CHARACTER, BLOCK_DEVICE)
            bad(f"it has a device node: `{show(path)}` ({entry.kind} {entry.major}:{entry.minor})")

    def _whiteout(self, path: Path) -> None:
        name = path[-1]
        if name == _OPAQUE:
            if self._layer.lowers:
                make_opaque(self._layer.folder(path[:-1]))
            return
        if any(part.startswith(_WHITEOUT_META) for part in path):
            return  # aufs's own bookkeeping (.wh..wh.plnk and others); it names nothing of the image
        if any(part.startswith(_WHITEOUT) for part in path[:-1]):
            bad(f"it has an entry within a whiteout: `{show(path)}`")
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            bad(f"it has a whiteout of nothing: `{show(path)}`")
        if self._layer.lowers:
            self._layer.hide(self._layer.folder(path[:-1]), hidden)

    def _file(self, folder: int, path: Path, entry: Entry) -> None:
        self._count(entry.size)
        name = path[-1]
        descriptor = self._make(folder, name, lambda: os.open(name, _CREATE, 0o600, dir_fd=folder))
        try:
            for offset, piece in self._reader.content(entry):
                while piece:
                    written = os.pwrite(descriptor, piece, offset)
                    piece, offset = piece[written:], offset + written
            if entry.regions is not None:
                os.ftruncate(descriptor, entry.size)
            self._owner_and_attributes(descriptor, entry, path)
            os.fchmod(descriptor, entry.mode)
            set_times(descriptor, entry.mtime_ns)
        finally:
            os.close(descriptor)

    def _folder(self, folder: int, path: Path, entry: Entry) -> None:
        name, hides_lower = path[-1], False
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                # A file, a link or a whiteout of this layer: after it comes a folder without the lower one's content.
                hides_lower = self._layer.replace(folder, name)
                os.mkdir(name, 0o700, dir_fd=folder)
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if hides_lower and self._layer.lowers:
                make_opaque(descriptor)
            self._dress_folder(descriptor, entry, path)
        finally:
            os.close(descriptor)

    def _dress_folder(self, descriptor: int, entry: Entry, path: Path) -> None:
        self._owner_and_attributes(descriptor, entry, path)
        os.fchmod(descriptor, entry.mode)
        self._layer.record_modified(b"/".join(path), entry.mtime_ns)

    def _symlink(self, folder: int, path: Path, entry: Entry) -> None:
        target = entry.linkname
        if not target or len(target) > self._limits.path:
            bad(f"the link `{show(path)}` has a target of {len(target)} bytes")
        self._make(folder, path[-1], lambda: os.symlink(target, path[-1], dir_fd=folder))
        self._dress(folder, path[-1], entry)

    def _make(self, folder: int, name: bytes, create: Callable[[], T]) -> T:
        """Calls `create`, and once more after removing what is at `name`: rare, so not asked for each entry."""
        try:
            return create()
        except FileExistsError:
            self._layer.replace(folder, name)
            return create()

    def _dress(self, folder: int, name: bytes, entry: Entry) -> None:
        """Owner, mode and time of a link or a pipe, which cannot be opened without an effect."""
        for attribute in entry.xattrs or ():
            wanted(attribute, (name,))  # only the refusal: the kernel keeps user attributes off both (xattr(7))
        os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if entry.kind == FIFO:
            # Nobody else is here: the folder is root's alone until the layer is committed.
            os.chmod(name, entry.mode, dir_fd=folder)
        time_ns = possible_time(entry.mtime_ns)
        os.utime(name, ns=(time_ns, time_ns), dir_fd=folder, follow_symlinks=False)

    def _owner_and_attributes(self, descriptor: int, entry: Entry, path: Path) -> None:
        os.fchown(descriptor, entry.uid, entry.gid)
        for name, value in (entry.xattrs or {}).items():
            if wanted(name, path):
                try:
                    os.setxattr(descriptor, name, value)
                except OSError as error:
                    if error.errno != 95:  # EOPNOTSUPP
                        raise
                    raise Unsupported(
                        f"the engine root's file system has no attributes like `{show((name,))}` of `{show(path)}`",
                        hint="put the engine root on ext4, xfs or btrfs with --root DIR",
                    ) from None

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > self._limits.unpacked:
            bad(f"its files are larger than {size_text(self._limits.unpacked)}")


def wanted(name: bytes, path: Path) -> bool:
    """Whether an extended attribute enters the layer; raises InvalidConfig for one that would deceive the kernel.

    Labels of another host's security modules and attributes of other systems are left out, as other engines do.
    """
    if name.startswith((b"trusted.", b"user.overlay.")):
        bad(f"`{show(path)}` has the attribute `{show((name,))}`, by which overlayfs is steered")
    return name == b"security.capability" or name.startswith((b"user.", b"system.posix_acl_"))


def _failure(entry: Entry, error: OSError) -> EngineError:
    reason = (error.strerror or str(error)).lower()
    hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
    return EngineError(f"cannot write `{show((entry.name,))}`: {reason}", hint=hint)
