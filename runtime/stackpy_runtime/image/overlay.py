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
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from stackpy_runtime.image.limits import bad, size_text
from stackpy_runtime.linux.files import open_beneath
from stackpy_runtime.store import trees

if TYPE_CHECKING:
    from collections.abc import Sequence

OPAQUE = "trusted.overlay.opaque"
_HIDDEN_ATTRIBUTES = "trusted."
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAXIMUM_LINKS = 40  # path_resolution(7)
_CACHED_FOLDERS = 16
_FOLDER_MEMORY = 32 << 20  # for the modification times of folders

Path = tuple[bytes, ...]


class _Found(NamedTuple):
    """An entry that a container would see, and the layer that it is in: 0 for this one."""

    layer: int
    status: os.stat_result


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
        if not path:
            return self.root
        if (known := self._open.get(path)) is not None:
            return known
        resolved = path
        try:
            descriptor = open_beneath(self.root, b"/".join(path), _FOLDER)
        except OSError:
            # Missing in this layer, or a link on the way.
            resolved = self._resolve(path)
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
        status = _status(folder, name)
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
        status = _status(folder, name)
        if status is None:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=folder)
        elif stat.S_ISDIR(status.st_mode):
            descriptor = os.open(name, _FOLDER, dir_fd=folder)
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
                descriptor = open_beneath(self.root, path or b".", _FOLDER)
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
            status = _status(source, last)
            copied = 0
            if status is None:
                copied = self._copy_up(target, source)
            elif is_whiteout(status):
                _no_target(target)
            elif stat.S_ISDIR(status.st_mode):
                bad(f"`{show(target)}` is a folder, and folders cannot have hard links")
            try:
                os.link(last, name, src_dir_fd=source, dst_dir_fd=into, follow_symlinks=False)
            except FileExistsError:
                present, wanted = _status(into, name), _status(source, last)
                if present and wanted and (present.st_dev, present.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return copied
                held = os.dup(source)
                try:
                    self.replace(into, name)
                    os.link(last, name, src_dir_fd=held, dst_dir_fd=into, follow_symlinks=False)
                except FileNotFoundError:
                    _no_target(target)
                finally:
                    os.close(held)
            return copied
        finally:
            os.close(into)

    # --- the merged view ---------------------------------------------------------------------------------------------

    def _find(self, path: Path) -> _Found | None:
        """The entry at a path without links, as overlayfs would show it."""
        for layer, root in enumerate(self._layers):
            folder, hides_lower = os.dup(root), False
            try:
                for index, name in enumerate(path):
                    status = _status(folder, name)
                    if status is None:
                        break
                    if is_whiteout(status):
                        return None
                    if index == len(path) - 1:
                        return _Found(layer, status)
                    if not stat.S_ISDIR(status.st_mode):
                        return None
                    following = os.open(name, _FOLDER, dir_fd=folder)
                    os.close(folder)
                    folder = following
                    hides_lower = hides_lower or is_opaque(folder)
            finally:
                os.close(folder)
            if hides_lower:
                return None
        return None

    def _resolve(self, path: Path) -> Path:
        """The same folder without links on the way; what does not exist stays as it is."""
        done: list[bytes] = []
        left = list(reversed(path))
        links = 0
        while left:
            name = left.pop()
            if name == b"..":
                del done[-1:]
                continue
            here = (*done, name)
            found = self._find(here)
            if found is None or stat.S_ISDIR(found.status.st_mode):
                done.append(name)
                continue
            if not stat.S_ISLNK(found.status.st_mode):
                bad(f"`{show(path)}` is no folder: `{show(here)}` is a file")
            links += 1
            if links > _MAXIMUM_LINKS:
                bad(f"`{show(path)}` is behind too many links")
            target = self._read_link(found.layer, here)
            if target.startswith(b"/"):
                done.clear()
            left.extend(part for part in reversed(target.split(b"/")) if part not in (b"", b"."))
        return tuple(done)

    def _read_link(self, layer: int, path: Path) -> bytes:
        folder = open_beneath(self._layers[layer], b"/".join(path[:-1]) or b".", _FOLDER)
        try:
            return os.readlink(path[-1], dir_fd=folder)
        finally:
            os.close(folder)

    def _make(self, path: Path) -> int:
        """Opens a folder by its path without links; makes what is missing, with the lower layers' owners and modes."""
        folder = os.dup(self.root)
        try:
            for index, name in enumerate(path):
                here = path[: index + 1]
                status = _status(folder, name)
                if status is None or is_whiteout(status):
                    lower = self._find(here) if status is None else None
                    if status is not None:
                        os.unlink(name, dir_fd=folder)
                    os.mkdir(name, 0o755, dir_fd=folder)
                    following = os.open(name, _FOLDER, dir_fd=folder)
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
                    following = os.open(name, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = following
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _like(self, lower: _Found, path: Path, descriptor: int) -> None:
        source = open_beneath(self._layers[lower.layer], b"/".join(path), os.O_RDONLY)
        try:
            _copy_attributes(source, descriptor, lower.status)
        finally:
            os.close(source)
        self.record_modified(b"/".join(path), lower.status.st_mtime_ns)

    def _copy_up(self, path: Path, folder: int) -> int:
        """Copies a lower layer's file or link to its place in this layer, where `folder` is already."""
        resolved = self._resolve(path[:-1]) + path[-1:]
        found = self._find(resolved)
        if found is None:
            _no_target(path)
        name, status = path[-1], found.status
        if stat.S_ISLNK(status.st_mode):
            os.symlink(self._read_link(found.layer, resolved), name, dir_fd=folder)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=folder, follow_symlinks=False)
            return 0
        if not stat.S_ISREG(status.st_mode):
            bad(f"`{show(path)}` is not a file, and has no hard links")
        source = open_beneath(self._layers[found.layer], b"/".join(resolved), os.O_RDONLY)
        try:
            copy = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            try:
                while os.copy_file_range(source, copy, 1 << 30):
                    pass
                _copy_attributes(source, copy, status)
                set_times(copy, status.st_mtime_ns)
            finally:
                os.close(copy)
        finally:
            os.close(source)
        return status.st_size


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs's mark for a removed entry."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(folder: int) -> bool:
    """Whether a folder hides what lower layers have in it."""
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError:
        return False


def make_opaque(folder: int) -> None:
    """Makes a folder hide what lower layers have in it."""
    os.setxattr(folder, OPAQUE, b"y")


def set_times(descriptor: int, time_ns: int) -> None:
    """Sets access and modification time, as near as the file system can."""
    time_ns = possible_time(time_ns)
    os.utime(descriptor, ns=(time_ns, time_ns))


def possible_time(time_ns: int) -> int:
    """The nearest time that utimensat(2) takes: 64 bits of nanoseconds end in 2262, and that refuses no file."""
    return max(0, min(time_ns, (1 << 63) - 1))


def show(path: Path) -> str:
    """A path for messages: without control characters, and not longer than a line."""
    text = b"/".join(path).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-55:]}"


def _no_target(path: Path) -> NoReturn:
    bad(f"it has a hard link to `{show(path)}`, which is not there")


def _status(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    os.fchown(target, status.st_uid, status.st_gid)
    for name in os.listxattr(source):
        # Overlayfs's own marks belong to the place, not to the file.
        if not name.startswith(_HIDDEN_ATTRIBUTES):
            os.setxattr(target, name, os.getxattr(source, name))
    os.fchmod(target, stat.S_IMODE(status.st_mode))
