"""Opening what lies beneath a descriptor, whatever the tree's owner does meanwhile: openat2(2), statfs(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from stackpy_runtime.linux.libc import AT_FDCWD, failure, flag_names, libc, syscall

SYS_OPENAT2 = 437
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
PROC_SUPER_MAGIC, SYSFS_MAGIC = 0x9FA0, 0x62656572

_RESOLVE = {1: "NO_XDEV", 2: "NO_MAGICLINKS", 4: "NO_SYMLINKS", 8: "BENEATH", 16: "IN_ROOT"}


class open_how(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(folder: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """A descriptor; raises KernelError with errno set (ENOENT, ELOOP, EXDEV, …)."""
    # The kernel answers EAGAIN when a rename elsewhere raced with the walk; openat2(2) says to try again.
    for _ in range(128):
        how = open_how(flags | os.O_CLOEXEC, mode, resolve)
        result = syscall(SYS_OPENAT2, folder, path, how, ctypes.sizeof(how))
        if result >= 0:
            return result
        if ctypes.get_errno() != 11:
            break
    raise failure(f"open {os.fsdecode(path)} resolve={flag_names(resolve, _RESOLVE)}")


def open_beneath(folder: int, path: str | bytes, flags: int, mode: int = 0, *, follow: bool = False) -> int:
    """Opens `path` beneath `folder`: EXDEV when it leads outside, ELOOP for a link on the way unless `follow`."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (0 if follow else RESOLVE_NO_SYMLINKS)
    return openat2(folder, path, flags, mode, resolve)


MOST_LINKS = 40  # MAXSYMLINKS (include/linux/namei.h)


def open_in_root(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Opens `path` as a process would whose root is `root`: absolute links and `..` stay inside."""
    return openat2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


class statfs(ctypes.Structure):
    """The head of struct statfs(2)."""

    _fields_ = [("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248)]


def file_system_type(descriptor: int) -> int:
    """The magic number of the file system that a descriptor is on."""
    buffer = statfs()
    if libc.fstatfs(descriptor, ctypes.byref(buffer)):
        raise failure(f"fstatfs fd {descriptor}")
    return int(buffer.f_type) & 0xFFFFFFFF


def pour(source: int, target: int) -> None:
    """Copies a file, from where both descriptors stand to the end of `source`, in the kernel where it can."""
    try:
        while os.copy_file_range(source, target, 1 << 30):
            pass
    except OSError as error:
        # Between most file systems it cannot; both descriptors stand where it stopped.
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM):
            raise
        while piece := os.read(source, 1 << 20):
            while piece:
                piece = piece[os.write(target, piece) :]


_SYNC_FILE_RANGE_WRITE = 2  # include/uapi/linux/fs.h


def begin_sync(descriptor: int, offset: int, size: int) -> None:
    """sync_file_range(2): has the kernel begin to write a part of a file to disk, so that a sync later waits for less.

    Only a hint: where it is not taken the sync does all of it.
    """
    numbers = ctypes.c_int64(offset), ctypes.c_int64(size), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)
    libc.sync_file_range(ctypes.c_int(descriptor), *numbers)


def sync_file_system(descriptor: int) -> None:
    """syncfs(2): when it returns, all that was written to the file system of the descriptor outlives a power cut."""
    if libc.syncfs(descriptor):
        raise failure(f"syncfs fd {descriptor}")


def make_folders(root: int, path: str, mode: int = 0o755, *, links: int = MOST_LINKS) -> int:
    """Makes the folders of `path` as seen from `root` (links resolved inside it) and returns a descriptor of the last.

    Each part is made beneath a descriptor of its parent, so a tree that changes meanwhile cannot lead outside. Of a
    link to nothing what it leads to is made, inside the root too; at most `links` of them.
    """
    current = os.dup(root)
    walked = ""
    for part in [part for part in path.split("/") if part not in ("", ".")]:
        walked = f"{walked}/{part}"
        try:
            following = open_in_root(root, walked, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            if error.errno != 2:
                os.close(current)
                raise
            try:
                os.mkdir(part, mode, dir_fd=current)
            except FileExistsError:
                # A link to nothing, or somebody was faster; opening it tells.
                if links and (target := linked(current, walked)):
                    os.close(make_folders(root, target, mode, links=links - 1))
            except OSError as cause:
                os.close(current)
                raise failure(f"mkdir {walked}", cause.errno) from None
            following = open_in_root(root, walked, os.O_PATH | os.O_DIRECTORY)
        os.close(current)
        current = following
    return current


def make_file(root: int, path: str, *, links: int = MOST_LINKS) -> None:
    """Makes an empty file at `path` as seen from `root`, with its folders, as make_folders does."""
    parent = make_folders(root, os.path.dirname(path), links=links)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(os.path.basename(path), flags, 0o644, dir_fd=parent))
    except FileExistsError:
        if links and (target := linked(parent, path)):
            make_file(root, target, links=links - 1)
    except OSError as error:
        raise failure(f"create {path}", error.errno) from None
    finally:
        os.close(parent)


def folder_mode(root: int, path: str) -> int | None:
    """The permissions of the folder at `path` as seen from `root`; None when there is none."""
    try:
        descriptor = open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def linked(folder: int, path: str) -> str:
    """Where the link `path` leads, whose folder is open as `folder`; "" when it is none."""
    try:
        target = os.readlink(os.path.basename(path), dir_fd=folder)
    except OSError:
        return ""
    return os.path.join(os.path.dirname(path), target)


def rename_new(source: str, target: str) -> bool:
    """Renames where nothing has the new name, an empty folder neither; False where something has. renameat2(2)."""
    noreplace = 1  # RENAME_NOREPLACE, include/uapi/linux/fs.h
    if not libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), noreplace):
        return True
    if ctypes.get_errno() == errno.EEXIST:
        return False
    raise failure(f"rename {source} to {target}")


def exchange(one: str, other: str) -> None:
    """Has two entries of a file system take each other's place in one step. renameat2(2)"""
    exchanging = 2  # RENAME_EXCHANGE, include/uapi/linux/fs.h
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), exchanging):
        raise failure(f"rename flags=EXCHANGE {one} and {other}")
