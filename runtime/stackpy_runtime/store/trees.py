"""Removing folder trees, whatever a container or an archive has put into them.

shutil.rmtree follows what it is given by name, recurses once per level and stops at the first immutable file. Here each
folder is opened beneath its parent's descriptor with RESOLVE_NO_XDEV, so that a mount left behind is never walked into,
nor deleted through; deep trees are flattened instead of recursed into.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct

from stackpy_runtime.errors import Conflict, EngineError
from stackpy_runtime.linux.files import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)

# include/uapi/linux/fs.h; the ioctls carry a long in their numbers, and the kernel reads and writes an int.
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE, _APPEND = 0x10, 0x20

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
# Descriptors held at once; folders below are renamed up to the top of the tree.
_DEPTH = 32
_TRIES = 5


def remove(path: str) -> None:
    """Removes the file or the tree at `path`; nothing happens when it is not there.

    Raises Conflict when something is mounted in it, EngineError for other failures.
    """
    parent, name = os.path.split(os.path.abspath(path))
    try:
        folder = os.open(parent, _OPEN)
    except FileNotFoundError:
        return
    try:
        _remove_entry(folder, name, _Tree())
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (16, 18):  # EBUSY from unlink, EXDEV from openat2: a mount point
            raise Conflict(f"cannot remove `{path}`: something is mounted in it", hint=f"umount -R {path}") from None
        if isinstance(error, EngineError):
            raise
        raise EngineError(f"cannot remove `{path}`: {(error.strerror or str(error)).lower()}") from None
    finally:
        os.close(folder)


def remove_beneath(folder: int, name: str) -> None:
    """`remove` for an entry of the folder of a descriptor; raises OSError, FileNotFoundError where there is none."""
    _remove_entry(folder, name, _Tree())


def size(path: str) -> int:
    """Bytes of the regular files of a tree that nobody changes, hard links once.

    One descriptor at a time, and no path: a tree may be deeper than either allows.
    """
    seen: set[tuple[int, int]] = set()
    # To be measured is no use: what was accessed longest ago is pruned first.
    here = os.open(path, _OPEN | os.O_NOATIME | os.O_CLOEXEC)
    try:
        total, folders = _count(here, seen)
        left = [folders]
        while left:
            into = left[-1].pop() if left[-1] else None
            if into is None:
                left.pop()
                if not left:
                    break
            following = os.open(into or "..", _OPEN | os.O_NOATIME | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = following
            if into is not None:
                counted, folders = _count(here, seen)
                total += counted
                left.append(folders)
        return total
    finally:
        os.close(here)


def _count(folder: int, seen: set[tuple[int, int]]) -> tuple[int, list[str]]:
    """Bytes of the files of one folder, and the names of the folders in it."""
    total, folders = 0, []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                if found.st_nlink > 1:
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total, folders


class _Tree:
    """Where deep folders are brought to: `top`, a descriptor of the uppermost folder that is being removed."""

    def __init__(self) -> None:
        self.top, self.moved = -1, 0


def _remove_entry(folder: int, name: str, tree: _Tree, depth: int = 0) -> None:
    try:
        os.unlink(name, dir_fd=folder)
        return
    except IsADirectoryError:
        pass
    except PermissionError:
        # What unlink of a folder answers on some file systems, or an immutable file, or folder.
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            _unprotect(folder, name)
            os.unlink(name, dir_fd=folder)
            return
    try:
        os.rmdir(name, dir_fd=folder)
        return
    except OSError as error:
        if error.errno not in (1, 13, 39, 17):  # EPERM, EACCES, ENOTEMPTY, EEXIST
            raise
    opened = openat2(folder, name, _OPEN, 0, _RESOLVE)
    try:
        _clear_flags(opened)
        if tree.top < 0:
            tree.top = opened
        for attempt in range(_TRIES):
            _empty(opened, tree, depth)
            try:
                os.rmdir(name, dir_fd=folder)
                return
            except PermissionError:
                _clear_flags(folder)
            except OSError as error:
                # Something has been put in meanwhile: the keeper writes an exit code when it comes.
                if error.errno not in (39, 17) or attempt == _TRIES - 1:  # ENOTEMPTY, EEXIST
                    raise
        os.rmdir(name, dir_fd=folder)
    finally:
        if tree.top == opened:
            tree.top = -1
        os.close(opened)


def _empty(folder: int, tree: _Tree, depth: int) -> None:
    # Again until nothing is left: a flattened branch adds entries at the top.
    while True:
        with os.scandir(folder) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        if not names:
            return
        for name, is_folder in names:
            if is_folder and depth >= _DEPTH:
                tree.moved += 1
                _rename_up(folder, name, tree)
            else:
                _remove_entry(folder, name, tree, depth + 1)


def _rename_up(folder: int, name: str, tree: _Tree) -> None:
    target = f".stackpy-{os.getpid()}-{tree.moved}"
    try:
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=tree.top)
    except PermissionError:
        opened = openat2(folder, name, _OPEN, 0, _RESOLVE)
        try:
            _clear_flags(opened)
        finally:
            os.close(opened)
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=tree.top)


def _unprotect(folder: int, name: str) -> None:
    """Takes the immutable and append-only flags off a file and off the folder that it is in."""
    _clear_flags(folder)
    kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    # Others cannot be opened without an effect; the flags of links, devices and pipes cannot be set either.
    if stat.S_ISREG(kind):
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            _clear_flags(opened)
        finally:
            os.close(opened)


def _clear_flags(descriptor: int) -> None:
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))
        if flags & (_IMMUTABLE | _APPEND):
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags & ~(_IMMUTABLE | _APPEND)))
    except OSError:
        # Not every file system has these flags; removing tells whether they were in the way.
        pass
