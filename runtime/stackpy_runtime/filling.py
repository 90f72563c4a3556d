"""Fills an empty volume with what the image has at its mount point, as Docker does.

Apart from volume.py, which needs the store: this runs in the fork that becomes a container.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux.files import open_beneath, pour
from stackpy_runtime.store import trees

# On the volume's folder while it is being filled: found by somebody who holds the lock, it says that the filler died.
# A trusted attribute, which nothing in a container can set: a file of that meaning would get a volume emptied.
_FILLING = "trusted.stackpy.filling"
# Two descriptors for each level.
_DEPTH = 256

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def wants_filling(path: str) -> bool:
    """Whether the volume at `path` is empty, or was being filled by somebody, who may have died."""
    return not os.listdir(path) or _FILLING in os.listxattr(path)


def fill(source: int, target: int) -> bool:
    """Copies the folder of the descriptor `source` into the volume of `target` if it is empty; returns whether it did.

    Owners, modes, extended attributes, times and links come along; the volume's own folder becomes like the source.
    Links are copied as links, devices and sockets left out. Several containers may come at once: one fills, the others
    wait. Killed on the way, it begins anew the next time.
    """
    target = os.dup(target)
    try:
        fcntl.flock(target, fcntl.LOCK_EX)
        names = os.listdir(target)
        if names and _FILLING not in os.listxattr(target):
            return False
        for name in names:
            trees.remove_beneath(target, name)
        os.setxattr(target, _FILLING, b"1")
        try:
            _Copy(target).folder(source, target)
        except BaseException:
            for name in os.listdir(target):
                trees.remove_beneath(target, name)
            os.removexattr(target, _FILLING)
            raise
        status = os.fstat(source)
        _dress(source, target, status)
        os.removexattr(target, _FILLING)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        return True
    except OSError as error:
        if isinstance(error, EngineError):
            raise
        hint = "free some space and try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise EngineError(f"cannot fill the volume: {(error.strerror or str(error)).lower()}", hint=hint) from None
    finally:
        # Not close alone: the caller's descriptor is the same open file.
        fcntl.flock(target, fcntl.LOCK_UN)
        os.close(target)


def copy(source: int, target: int) -> None:
    """Copies the folder of the descriptor `source` into the empty one of `target`, which nobody else knows yet."""
    _Copy(target).folder(source, target)
    _dress(source, target, os.fstat(source))


class _Copy:
    """Copies one tree; remembers where it has put files with several names."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._path: list[str] = []
        self._linked: dict[tuple[int, int], str] = {}

    def folder(self, source: int, target: int) -> None:
        """Copies what is in one folder into another."""
        if len(self._path) > _DEPTH:
            raise EngineError(f"cannot fill the volume: the image has folders more than {_DEPTH} deep there")
        for name in os.listdir(source):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._subfolder(source, target, name)
            elif stat.S_ISREG(status.st_mode):
                if status.st_nlink == 1 or not self._link(target, name, status):
                    _copy_file(source, target, name)
            elif stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
                _dress_name(target, name, status)
            elif stat.S_ISFIFO(status.st_mode):
                os.mkfifo(name, 0o600, dir_fd=target)
                _set_mode(target, name, stat.S_IMODE(status.st_mode))
                _dress_name(target, name, status)

    def _subfolder(self, source: int, target: int, name: str) -> None:
        here = os.open(name, _FOLDER, dir_fd=source)
        try:
            os.mkdir(name, 0o700, dir_fd=target)
            there = os.open(name, _FOLDER, dir_fd=target)
            try:
                self._path.append(name)
                self.folder(here, there)
                self._path.pop()
                _dress(here, there, os.fstat(here))
            finally:
                os.close(there)
        finally:
            os.close(here)

    def _link(self, target: int, name: str, status: os.stat_result) -> bool:
        """Makes `name` another name of a file that was copied; False when its first name is yet to be copied."""
        key = (status.st_dev, status.st_ino)
        if key not in self._linked:
            self._linked[key] = "/".join([*self._path, name])
            return False
        parent, _, last = self._linked[key].rpartition("/")
        folder = open_beneath(self._target, parent or ".", _FOLDER)
        try:
            os.link(last, name, src_dir_fd=folder, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(folder)
        return True


def _copy_file(source: int, target: int, name: str) -> None:
    here = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        status = os.fstat(here)
        if not stat.S_ISREG(status.st_mode):
            raise EngineError(f"cannot fill the volume: `{name}` changed meanwhile")
        there = os.open(name, _CREATE, 0o600, dir_fd=target)
        try:
            pour(here, there)
            _dress(here, there, status)
        finally:
            os.close(there)
    finally:
        os.close(here)


def _dress(source: int, target: int, status: os.stat_result) -> None:
    """Gives a copied file or folder what it has besides its content."""
    os.fchown(target, status.st_uid, status.st_gid)
    for attribute in os.listxattr(source):
        # trusted.* steers overlayfs and is not the image's.
        if not attribute.startswith("trusted."):
            try:
                os.setxattr(target, attribute, os.getxattr(source, attribute))
            except OSError as error:
                # The volume's file system has no such attributes; the files are of use without them.
                if error.errno != errno.EOPNOTSUPP:
                    raise
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _set_mode(folder: int, name: str, mode: int) -> None:
    """Sets the mode of a pipe, and of nothing else: a link that another container of the volume has put in its place
    could lead to any file of the host, whose rights we have.
    """
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not stat.S_ISFIFO(os.fstat(opened).st_mode):
            raise EngineError(f"cannot fill the volume: `{name}` changed meanwhile")
        os.chmod(f"/proc/self/fd/{opened}", mode)
    finally:
        os.close(opened)


def _dress_name(folder: int, name: str, status: os.stat_result) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=folder, follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=folder, follow_symlinks=False)
