"""Mounts by descriptor: the mount API of Linux 5.2 and later (fsopen(2), open_tree(2), mount_setattr(2))."""

from __future__ import annotations

import ctypes

from stackpy_runtime.linux.libc import AT_EMPTY_PATH, failure, flag_names, libc, number, syscall

SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT, SYS_MOUNT_SETATTR = 428, 429, 430, 431, 432, 442

# include/uapi/linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = (
    1, 2, 4, 8, 0x20, 0x1000, 0x2000, 0x4000,
)  # fmt: skip
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, AT_RECURSIVE = 1, 0o2000000, 0x8000
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME = 0, 0x10, 0x20, 0x70
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000

_MS = {
    MS_RDONLY: "MS_RDONLY",
    MS_NOSUID: "MS_NOSUID",
    MS_NODEV: "MS_NODEV",
    MS_NOEXEC: "MS_NOEXEC",
    MS_REMOUNT: "MS_REMOUNT",
    MS_BIND: "MS_BIND",
    MS_MOVE: "MS_MOVE",
    MS_REC: "MS_REC",
    MS_UNBINDABLE: "MS_UNBINDABLE",
    MS_PRIVATE: "MS_PRIVATE",
    MS_SLAVE: "MS_SLAVE",
    MS_SHARED: "MS_SHARED",
}
_ATTR = {
    MOUNT_ATTR_RDONLY: "MOUNT_ATTR_RDONLY",
    MOUNT_ATTR_NOSUID: "MOUNT_ATTR_NOSUID",
    MOUNT_ATTR_NODEV: "MOUNT_ATTR_NODEV",
    MOUNT_ATTR_NOEXEC: "MOUNT_ATTR_NOEXEC",
    MOUNT_ATTR_NOATIME: "MOUNT_ATTR_NOATIME",
    MOUNT_ATTR_STRICTATIME: "MOUNT_ATTR_STRICTATIME",
    MOUNT_ATTR_NODIRATIME: "MOUNT_ATTR_NODIRATIME",
    MOUNT_ATTR_IDMAP: "MOUNT_ATTR_IDMAP",
    MOUNT_ATTR_NOSYMFOLLOW: "MOUNT_ATTR_NOSYMFOLLOW",
}


class mount_attr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    arguments = [None if text is None else text.encode() for text in (source, target, kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode()):
        raise failure(f"mount src={source} dst={target} type={kind} flags={flag_names(flags, _MS)}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    if libc.umount2(target.encode(), flags):
        raise failure(f"umount dst={target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    if syscall(number("pivot_root"), new, old) < 0:
        raise failure(f"pivot_root new={new} old={old}")


def open_tree(folder: int, path: str, flags: int = OPEN_TREE_CLONE) -> int:
    """A detached clone of the mount at `path` beneath the descriptor `folder`; "" is the descriptor itself."""
    empty = 0 if path else AT_EMPTY_PATH
    result = syscall(SYS_OPEN_TREE, folder, path, flags | OPEN_TREE_CLOEXEC | empty)
    if result < 0:
        raise failure(f"open_tree path={path or f'fd {folder}'}")
    return result


def move_mount(mount_descriptor: int, folder: int, path: str) -> None:
    """Attaches a detached mount at `path` beneath `folder`; "" is the descriptor itself."""
    target = 0 if path else MOVE_MOUNT_T_EMPTY_PATH
    if syscall(SYS_MOVE_MOUNT, mount_descriptor, "", folder, path, MOVE_MOUNT_F_EMPTY_PATH | target) < 0:
        raise failure(f"move_mount dst={path or f'fd {folder}'}")


def fsopen(kind: str) -> int:
    """A configuration context of a file system."""
    result = syscall(SYS_FSOPEN, kind, FSOPEN_CLOEXEC)
    if result < 0:
        raise failure(f"fsopen {kind}")
    return result


def fsconfig(context: int, command: int, key: str | None = None, value: str | None = None) -> int:
    """fsconfig(2); returns errno instead of raising, since callers try forms that older kernels lack."""
    return ctypes.get_errno() if syscall(SYS_FSCONFIG, context, command, key, value, 0) < 0 else 0


def fsmount(context: int, attributes: int = 0) -> int:
    """The mount of a configured context, detached."""
    result = syscall(SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, attributes)
    if result < 0:
        raise failure(f"fsmount attr={flag_names(attributes, _ATTR)}")
    return result


def new_mount(kind: str, options: dict[str, str | None], attributes: int = 0) -> int:
    """A detached mount of a file system: `options` maps a key to its value, or to None for a flag.

    `source` is what tables of mounts and df(1) call it: the file system's name where it is not given.
    """
    import os

    context = fsopen(kind)
    try:
        for key, value in {"source": kind, **options}.items():
            command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
            if code := fsconfig(context, command, key, value):
                raise failure(f"fsconfig {kind} {key}={value}", code)
        if code := fsconfig(context, FSCONFIG_CMD_CREATE):
            raise failure(f"fsconfig {kind} create", code)
        return fsmount(context, attributes)
    finally:
        os.close(context)


def new_memory(options: dict[str, str], attributes: int = 0) -> int:
    """A detached tmpfs that is never swapped out, where the kernel knows how (6.4) and the caller may."""
    try:
        return new_mount("tmpfs", {**options, "noswap": None}, attributes)
    except OSError as error:
        if error.errno != 22:  # EINVAL: the option is not known
            raise
        return new_mount("tmpfs", dict(options), attributes)


def mount_setattr(
    descriptor: int,
    path: str = "",
    *,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    users: int = -1,
    recursive: bool = False,
) -> None:
    """mount_setattr(2) on a mount; `users`: descriptor of the user namespace to idmap it with."""
    if users >= 0:
        set_ |= MOUNT_ATTR_IDMAP
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    attributes = mount_attr(set_, clear, propagation, max(users, 0))
    if syscall(SYS_MOUNT_SETATTR, descriptor, path, flags, attributes, ctypes.sizeof(attributes)) < 0:
        where = path or f"fd {descriptor}"
        raise failure(f"mount_setattr {where} set={flag_names(set_, _ATTR)} clear={flag_names(clear, _ATTR)}")
