"""Copying a folder tree as it is: owners, modes, times, extended attributes, links, holes, devices, pipes and sockets.

Where the file system can, files are cloned (FICLONE: XFS, btrfs) and take no room until one of the two changes. The
walk holds one folder of each side open and leaves it through `..`, since a tree may be deeper than a path may be long
or descriptors are many; that it comes back to where it was is checked. Nothing is followed, and no mount is entered.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from stackpy_runtime.errors import Conflict, EngineError
from stackpy_runtime.linux.files import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# To be copied is no use of a file.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_FICLONE = 0x40049409  # include/uapi/linux/fs.h
_PIECE = 64 << 20  # bytes between two looks at whether to go on
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.ENOTTY)

_Identity = tuple[int, int]


class _Level(NamedTuple):
    """A folder that is being copied: both sides, its status, and the folders in it that are left."""

    here: _Identity
    there: _Identity
    status: os.stat_result
    left: list[str]


def copy(source: int, target: int, aside: int, go_on: Callable[[], None] = lambda: None) -> None:
    """Copies the folder of the descriptor `source`, which nobody changes, into the empty one of `target`.

    aside: an empty folder beside the target, for the first names of files with several; what is in it is rubbish after
    go_on: called again and again; what it raises ends the copy

    Raises Conflict where something is mounted in the source, and OSError.
    """
    _Copy(aside, go_on).tree(source, target)


class _Copy:
    def __init__(self, aside: int, go_on: Callable[[], None]) -> None:
        self._aside, self._go_on = aside, go_on
        self._linked: dict[_Identity, str] = {}
        self._clones = True  # until the file system has refused

    def tree(self, source: int, target: int) -> None:
        here, there = os.open(".", _FOLDER | os.O_NOATIME, dir_fd=source), os.open(".", _FOLDER, dir_fd=target)
        try:
            levels = [self._enter(here, there)]
            while True:
                level = levels[-1]
                if level.left:
                    name = level.left.pop()
                    here = _exchange(here, _open_folder(here, name))
                    os.mkdir(name, 0o700, dir_fd=there)
                    there = _exchange(there, os.open(name, _FOLDER, dir_fd=there))
                    levels.append(self._enter(here, there))
                    continue
                dress(here, there, level.status)
                levels.pop()
                if not levels:
                    return
                here = _exchange(here, os.open("..", _FOLDER | os.O_NOATIME, dir_fd=here))
                there = _exchange(there, os.open("..", _FOLDER, dir_fd=there))
                if (_identity(here), _identity(there)) != (levels[-1].here, levels[-1].there):
                    raise EngineError("a folder was moved while it was copied", hint="try again")
        finally:
            os.close(here)
            os.close(there)

    def _enter(self, here: int, there: int) -> _Level:
        """Copies what is in a folder but folders."""
        status, left = os.fstat(here), []
        for name in os.listdir(here):
            self._go_on()
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                left.append(name)
            else:
                self._entry(here, there, name, found)
        return _Level(_identity(here), _identity(there), status, left)

    def _entry(self, here: int, there: int, name: str, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._linked:
            os.link(self._linked[key], name, src_dir_fd=self._aside, dst_dir_fd=there, follow_symlinks=False)
            return
        if stat.S_ISREG(status.st_mode):
            self._file(here, there, name)
        else:
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
            else:
                os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=there)
            _dress_name(here, there, name, status)
        if status.st_nlink > 1:
            self._linked[key] = str(len(self._linked))
            os.link(name, self._linked[key], src_dir_fd=there, dst_dir_fd=self._aside, follow_symlinks=False)

    def _file(self, here: int, there: int, name: str) -> None:
        source = os.open(name, _READ, dir_fd=here)
        try:
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode):
                raise EngineError(f"`{name}` changed while it was copied", hint="try again")
            target = os.open(name, _CREATE, 0o600, dir_fd=there)
            try:
                if not self._cloned(source, target):
                    self._pour(source, target, status.st_size)
                dress(source, target, status)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _cloned(self, source: int, target: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(target, _FICLONE, source)
                return True
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self._clones = False
        return False

    def _pour(self, source: int, target: int, size: int) -> None:
        """The content with its holes."""
        place = 0
        while place < size:
            try:
                begin = os.lseek(source, place, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # a hole to the end
                    raise
                break
            place = min(size, os.lseek(source, begin, os.SEEK_HOLE))
            while begin < place:
                self._go_on()
                done = _copy_range(source, target, begin, min(_PIECE, place - begin))
                if not done:
                    break
                begin += done
        os.ftruncate(target, size)


def dress(source: int, target: int, status: os.stat_result) -> None:
    """Gives a copied file or folder what it has besides its content."""
    os.fchown(target, status.st_uid, status.st_gid)
    for attribute in os.listxattr(source):
        os.setxattr(target, attribute, os.getxattr(source, attribute))
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _dress_name(here: int, there: int, name: str, status: os.stat_result) -> None:
    """The same for what cannot be opened without an effect, in a folder that nobody else knows."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
    source, target = f"/proc/self/fd/{here}/{name}", f"/proc/self/fd/{there}/{name}"
    for attribute in os.listxattr(source, follow_symlinks=False):
        value = os.getxattr(source, attribute, follow_symlinks=False)
        os.setxattr(target, attribute, value, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=there)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=there, follow_symlinks=False)


def _copy_range(source: int, target: int, place: int, length: int) -> int:
    """Copies at most `length` bytes at a place of both; returns how many it were."""
    try:
        return os.copy_file_range(source, target, length, place, place)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    piece = os.pread(source, min(length, 1 << 20), place)
    done = 0
    while done < len(piece):
        done += os.pwrite(target, piece[done:], place + done)
    return done


def _open_folder(folder: int, name: str) -> int:
    try:
        return openat2(folder, os.fsencode(name), _FOLDER | os.O_NOATIME, 0, _RESOLVE)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise Conflict(f"something is mounted at `{name}` in it", hint="umount it") from None
        raise


def _exchange(descriptor: int, following: int) -> int:
    os.close(descriptor)
    return following


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
