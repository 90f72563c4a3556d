"""The folder of a layer while it is written, seen over the layers beneath it as overlayfs will show them.

A layer's tar says what is *changed*: an entry's parent folders may stand in lower layers only, a parent may be a link
there, and a hard link may lead to a file there. What is written must then be what a container would have written: the
folder with the lower one's owner and mode, the file behind the link, a copy of the lower file.

Nothing is ever opened by more than one name without RESOLVE_BENEATH and NO_SYMLINKS; links are read and resolved here,
inside the layer, with the file system's root for `/` and for every `..` too many.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.image.limits import bad, size_text
from stackpy_runtime.image.lowers import (
    OPAQUE,
    READ_FOLDER,
    Found,
    find,
    inherited,
    link_of,
    no_target,
    possible_time,
    read_link,
    resolve,
)
from stackpy_runtime.image.lowers import is_opaque as is_opaque
from stackpy_runtime.image.lowers import is_whiteout as is_whiteout
from stackpy_runtime.image.lowers import status as status_of
from stackpy_runtime.image.rules import Path
from stackpy_runtime.image.rules import show as show
from stackpy_runtime.linux.files import open_beneath, pour
from stackpy_runtime.store import trees

if TYPE_CHECKING:
    from collections.abc import Sequence

_CACHED_FOLDERS = 16
_FOLDER_MEMORY = 32 << 20  # for the modification times of folders


class LayerFolder:
    """The layer in the folder of the descriptor `root`, over `lowers`: descriptors of folders, the uppermost first.

    The descriptors stay the caller's. Errors of the system are OSErrors; close() gives back what is kept open here.
    """

    def __init__(self, root: int, lowers: Sequence[int] = ()) -> None:
        self.root, self.lowers = root, lowers
        self._modified: dict[bytes, int] = {}  # folder → its modification time, set when nothing is written any more
        self._modified_bytes = 0
        self._layers = (root, *lowers)
        self._open: dict[Path, int] = {}
        self.place: Path = ()  # of the folder last asked for, without links

    def close(self) -> None:
        """Closes the folders that are kept open between entries."""
        self._forget()

    def _forget(self, keep: int = -1) -> None:
        kept = {path: descriptor for path, descriptor in self._open.items() if descriptor == keep}
        for descriptor in self._open.values():
            if descriptor != keep:
                os.close(descriptor)
        self._open = kept

    def inherit(self) -> None:
        """Gives the layer's root the owner, mode and time of the one below: the uppermost layer's is what is seen."""
        if not self.lowers:
            self.record_modified(b"", 0)  # a layer does not depend on when it was unpacked
            return
        status = os.fstat(self.lowers[0])
        _copy_attributes(self.lowers[0], self.root, status)
        self.record_modified(b"", status.st_mtime_ns)

    def folder(self, path: Path) -> int:
        """A descriptor, good until the next call, of the folder at `path`: links resolved, missing folders made."""
        self.place = path
        if not path:
            return self.root
        if (known := self._open.get(path)) is not None:
            return known
        resolved = path
        try:
            descriptor = open_beneath(self.root, b"/".join(path), READ_FOLDER)
        except OSError:
            # Missing in this layer, or a link on the way.
            self.place = resolved = self._resolve(path)
            descriptor = self._make(resolved)
        if resolved != path:
            # Kept for one call only: the links on the way may change.
            path = (b"", *path)
        if len(self._open) >= _CACHED_FOLDERS or path in self._open:
            self._forget()
        self._open[path] = descriptor
        return descriptor

    def replace(self, folder: int, name: bytes) -> bool:
        """Removes what this layer has at `name`; returns whether a folder made there now must hide the lower layers."""
        status = status_of(folder, name)
        if status is None:
            return False
        if stat.S_ISDIR(status.st_mode):
            trees.remove_beneath(folder, os.fsdecode(name))
            self._forget(keep=folder)  # the others may lie in it
        else:
            os.unlink(name, dir_fd=folder)
        return True

    def hide(self, folder: int, name: bytes) -> None:
        """A whiteout: what lower layers have at `name` is gone; what this layer has there stays (OCI layer.md)."""
        status = status_of(folder, name)
        if status is None:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=folder)
            os.utime(name, ns=(0, 0), dir_fd=folder, follow_symlinks=False)
        elif stat.S_ISDIR(status.st_mode):
            descriptor = os.open(name, READ_FOLDER, dir_fd=folder)
            try:
                make_opaque(descriptor)
            finally:
                os.close(descriptor)

    def record_modified(self, path: bytes, time_ns: int) -> None:
        """Remembers a folder's modification time, which each entry made in it would change."""
        if path not in self._modified:
            self._modified_bytes += len(path) + 100
            if self._modified_bytes > _FOLDER_MEMORY:
                bad(f"the paths of its folders are longer than {size_text(_FOLDER_MEMORY)}")
        self._modified[path] = time_ns

    def finish(self) -> None:
        """Sets the folders' modification times."""
        for path, time_ns in self._modified.items():
            try:
                descriptor = open_beneath(self.root, path or b".", READ_FOLDER)
            except OSError:
                continue  # a later entry took its place
            try:
                set_times(descriptor, time_ns)
            finally:
                os.close(descriptor)

    def link(self, target: Path, folder: int, name: bytes) -> int:
        """Makes `name` in `folder` another name of the file at `target`, copied up where it is in a lower layer.

        Returns how many bytes were copied.
        """
        # A descriptor of its own, since asking for the target's folder may close the other.
        into = os.dup(folder)
        try:
            source, last = self.folder(target[:-1]), target[-1]
            status = status_of(source, last)
            copied = 0
            if status is None:
                copied = self._copy_up(target, source)
            elif is_whiteout(status):
                no_target(target)
            elif stat.S_ISDIR(status.st_mode):
                bad(f"`{show(target)}` is a folder, and folders cannot have hard links")
            try:
                os.link(last, name, src_dir_fd=source, dst_dir_fd=into, follow_symlinks=False)
            except FileExistsError:
                present, wanted = status_of(into, name), status_of(source, last)
                if present and wanted and (present.st_dev, present.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return copied
                held = os.dup(source)
                try:
                    self.replace(into, name)
                    os.link(last, name, src_dir_fd=held, dst_dir_fd=into, follow_symlinks=False)
                except FileNotFoundError:
                    no_target(target)
                finally:
                    os.close(held)
            return copied
        finally:
            os.close(into)

    # --- the merged view ---------------------------------------------------------------------------------------------

    def _resolve(self, path: Path) -> Path:
        return resolve(path, lambda here: link_of(self._layers, find(self._layers, here), here, path))

    def _make(self, path: Path) -> int:
        """Opens a folder by its path without links; makes what is missing, with the lower layers' owners and modes."""
        folder = os.dup(self.root)
        try:
            for index, name in enumerate(path):
                here = path[: index + 1]
                status = status_of(folder, name)
                if status is None or is_whiteout(status):
                    lower = find(self._layers, here) if status is None else None
                    if status is not None:
                        os.unlink(name, dir_fd=folder)
                    os.mkdir(name, 0o755, dir_fd=folder)
                    following = os.open(name, READ_FOLDER, dir_fd=folder)
                    try:
                        if status is not None:
                            make_opaque(following)
                        if lower is not None:
                            self._like(lower, here, following)
                        else:
                            os.fchmod(following, 0o755)
                            self.record_modified(b"/".join(here), 0)
                    except BaseException:
                        os.close(following)
                        raise
                else:
                    following = os.open(name, READ_FOLDER, dir_fd=folder)
                os.close(folder)
                folder = following
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _like(self, lower: Found, path: Path, descriptor: int) -> None:
        source = open_beneath(self._layers[lower.layer], b"/".join(path), os.O_RDONLY)
        try:
            _copy_attributes(source, descriptor, lower.status)
        finally:
            os.close(source)
        self.record_modified(b"/".join(path), lower.status.st_mtime_ns)

    def _copy_up(self, path: Path, folder: int) -> int:
        """Copies a lower layer's file or link to its place in this layer, where `folder` is already."""
        resolved = self._resolve(path[:-1]) + path[-1:]
        found = find(self._layers, resolved)
        if found is None:
            no_target(path)
        name, status = path[-1], found.status
        if stat.S_ISLNK(status.st_mode):
            os.symlink(read_link(self._layers[found.layer], resolved), name, dir_fd=folder)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=folder, follow_symlinks=False)
            times = (status.st_mtime_ns, status.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
            return 0
        if not stat.S_ISREG(status.st_mode):
            bad(f"`{show(path)}` is not a file, and has no hard links")
        source = open_beneath(self._layers[found.layer], b"/".join(resolved), os.O_RDONLY)
        try:
            copy = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            try:
                pour(source, copy)
                _copy_attributes(source, copy, status)
                set_times(copy, status.st_mtime_ns)
            finally:
                os.close(copy)
        finally:
            os.close(source)
        return status.st_size


def make_opaque(folder: int) -> None:
    """Makes a folder hide what lower layers have in it."""
    os.setxattr(folder, OPAQUE, b"y")


def set_times(descriptor: int, time_ns: int) -> None:
    """Sets access and modification time, as near as the file system can."""
    time_ns = possible_time(time_ns)
    os.utime(descriptor, ns=(time_ns, time_ns))


def _copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    os.fchown(target, status.st_uid, status.st_gid)
    for name, value in inherited(source).items():
        os.setxattr(target, name, value)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
