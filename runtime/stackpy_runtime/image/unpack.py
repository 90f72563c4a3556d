"""Unpacking the tar of one layer into a folder that overlayfs can use.

Each entry is made by one name beneath the descriptor of its folder, never by a path; whatever is at that name is
removed first, and nothing is opened that is there already. A tar can so name nothing outside the layer's folder.
Whiteouts (`.wh.NAME`, `.wh..wh..opq`) become overlayfs's own. A device node is a name without a power: layers are seen
through mounts that open no devices, and only root can walk to the folder.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeVar

from stackpy_runtime.errors import EngineError, Unsupported
from stackpy_runtime.image.entries import BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK, Entry
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text
from stackpy_runtime.image.lowers import possible_time
from stackpy_runtime.image.overlay import LayerFolder, make_opaque, set_times
from stackpy_runtime.image.rules import (
    Path,
    attributes,
    check_device,
    check_owner,
    hidden,
    is_whiteout,
    layer_path,
    link_target,
    show,
    symlink_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy_runtime.image.tar import Reader

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

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


class _Unpacker:
    def __init__(self, reader: Reader, layer: LayerFolder, limits: Limits) -> None:
        self._reader, self._layer, self._limits = reader, layer, limits
        self.size = 0

    def add(self, entry: Entry) -> None:
        path = layer_path(entry.name, self._limits)
        check_owner(entry, path)
        if not path:
            if entry.kind != FOLDER:
                bad("it has an entry without a name")
            self._layer.place = ()
            self._dress_folder(self._layer.root, entry, path)
            return
        if is_whiteout(path):
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
            target = link_target(entry, path, self._limits)
            self._count(self._layer.link(target, folder, path[-1]))
            self._dress_linked(path, entry)
        elif entry.kind == FIFO:
            self._make(folder, path[-1], lambda: os.mkfifo(path[-1], 0o600, dir_fd=folder))
            self._dress(folder, path, entry)
        elif entry.kind == CHARACTER and entry.major == entry.minor == 0:
            if self._layer.lowers:
                self._layer.hide(folder, path[-1])
        else:
            check_device(entry, path)
            kind = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}[entry.kind]
            number = os.makedev(entry.major, entry.minor)
            self._make(folder, path[-1], lambda: os.mknod(path[-1], kind | 0o600, number, dir_fd=folder))
            self._dress(folder, path, entry)

    def _whiteout(self, path: Path) -> None:
        name = hidden(path)
        if name is None or not self._layer.lowers:
            return
        folder = self._layer.folder(path[:-1])
        if name:
            self._layer.hide(folder, name)
        else:
            make_opaque(folder)

    def _file(self, folder: int, path: Path, entry: Entry) -> None:
        self._count(entry.size)
        name = path[-1]
        descriptor = self._make(folder, name, lambda: os.open(name, _CREATE, 0o600, dir_fd=folder))
        try:
            self._reader.write(entry, descriptor)
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
        self._layer.record_modified(b"/".join(self._layer.place + path[-1:]), entry.mtime_ns)

    def _symlink(self, folder: int, path: Path, entry: Entry) -> None:
        target = symlink_target(entry, path, self._limits)
        self._make(folder, path[-1], lambda: os.symlink(target, path[-1], dir_fd=folder))
        self._dress(folder, path, entry)

    def _make(self, folder: int, name: bytes, create: Callable[[], T]) -> T:
        """Calls `create`, and once more after removing what is at `name`: rare, so not asked for each entry."""
        try:
            return create()
        except FileExistsError:
            self._layer.replace(folder, name)
            return create()

    def _dress(self, folder: int, path: Path, entry: Entry) -> None:
        """Owner, mode and time of a link, a pipe or a device, which cannot be opened without an effect."""
        attributes(entry, path)  # only the refusals: the kernel keeps user attributes off all three (xattr(7))
        name = path[-1]
        os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if entry.kind != SYMLINK:
            # Nobody else is here: the folder is root's alone until the layer is committed.
            os.chmod(name, entry.mode, dir_fd=folder)
        time_ns = possible_time(entry.mtime_ns)
        os.utime(name, ns=(time_ns, time_ns), dir_fd=folder, follow_symlinks=False)

    def _dress_linked(self, path: Path, entry: Entry) -> None:
        """What a hard link says of the file counts, as in other engines: it is what every name of it shows then."""
        folder, name = self._layer.folder(path[:-1]), path[-1]
        attributes(entry, path)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):  # else it would lose its capabilities for nothing
            os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                self._attributes(descriptor, entry, path)
                os.fchmod(descriptor, entry.mode)
                set_times(descriptor, entry.mtime_ns)
            finally:
                os.close(descriptor)
        elif not stat.S_ISLNK(status.st_mode):
            os.chmod(name, entry.mode, dir_fd=folder)
            time_ns = possible_time(entry.mtime_ns)
            os.utime(name, ns=(time_ns, time_ns), dir_fd=folder, follow_symlinks=False)

    def _owner_and_attributes(self, descriptor: int, entry: Entry, path: Path) -> None:
        os.fchown(descriptor, entry.uid, entry.gid)
        self._attributes(descriptor, entry, path)

    def _attributes(self, descriptor: int, entry: Entry, path: Path) -> None:
        for name, value in attributes(entry, path).items():
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


def _failure(entry: Entry, error: OSError) -> EngineError:
    reason = (error.strerror or str(error)).lower()
    hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
    return EngineError(f"cannot write `{show((entry.name,))}`: {reason}", hint=hint)
