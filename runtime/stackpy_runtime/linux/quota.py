"""Project quotas: how much may be written below a folder (quotactl(2), ioctl_xfs_fssetxattr(2)).

A folder has a number, its project, which all that is made in it inherits; the file system counts the blocks of each
project and refuses more than its limit. ext4 and xfs have them, where they are mounted with `prjquota`.
"""

from __future__ import annotations

import ctypes
import errno
import os

from stackpy_runtime.linux.libc import failure, libc, syscall

SYS_QUOTACTL_FD = 443  # Linux 5.14
Q_GETQUOTA, Q_SETQUOTA, PRJQUOTA = 0x800007, 0x800008, 2  # include/uapi/linux/quota.h
QIF_BLIMITS = 1
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820  # include/uapi/linux/fs.h
FS_XFLAG_PROJINHERIT = 0x200
BLOCK = 1024


class fsxattr(ctypes.Structure):
    """struct fsxattr."""

    _fields_ = [
        ("xflags", ctypes.c_uint32),
        ("extsize", ctypes.c_uint32),
        ("nextents", ctypes.c_uint32),
        ("projid", ctypes.c_uint32),
        ("cowextsize", ctypes.c_uint32),
        ("pad", ctypes.c_char * 8),
    ]


class if_dqblk(ctypes.Structure):
    """struct if_dqblk; limits in blocks of 1 KiB."""

    _fields_ = [
        *[(name, ctypes.c_uint64) for name in "bhardlimit bsoftlimit curspace ihardlimit isoftlimit".split()],
        *[(name, ctypes.c_uint64) for name in "curinodes btime itime".split()],
        ("valid", ctypes.c_uint32),
    ]


def _quotactl(descriptor: int, command: int, project: int, block: if_dqblk) -> int:
    """errno, 0 when it has been done."""
    result = syscall(SYS_QUOTACTL_FD, descriptor, command << 8 | PRJQUOTA, project, block)
    return ctypes.get_errno() if result < 0 else 0


def in_use(descriptor: int, project: int) -> bool:
    """Whether files of a file system have this project. Raises KernelError where it has no project quotas: ESRCH.

    descriptor: of a folder in it
    """
    block = if_dqblk()
    code = _quotactl(descriptor, Q_GETQUOTA, project, block)
    if code == errno.ENOENT:
        return False
    if code:
        raise failure(f"quotactl Q_GETQUOTA project={project}", code)
    return bool(block.curinodes or block.curspace)


def set_limit(descriptor: int, project: int, size: int) -> None:
    """Bounds what files of a project may take, in bytes."""
    blocks = -(-size // BLOCK)
    block = if_dqblk(bhardlimit=blocks, bsoftlimit=blocks, valid=QIF_BLIMITS)
    if code := _quotactl(descriptor, Q_SETQUOTA, project, block):
        raise failure(f"quotactl Q_SETQUOTA project={project} {size}", code)


def assign(folder: str, project: int) -> None:
    """Gives an empty folder a project, and with it all that will be made in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        attributes = fsxattr()
        if libc.ioctl(descriptor, ctypes.c_ulong(FS_IOC_FSGETXATTR), ctypes.byref(attributes)):
            raise failure(f"FS_IOC_FSGETXATTR {folder}")
        attributes.projid = project
        attributes.xflags |= FS_XFLAG_PROJINHERIT
        if libc.ioctl(descriptor, ctypes.c_ulong(FS_IOC_FSSETXATTR), ctypes.byref(attributes)):
            raise failure(f"FS_IOC_FSSETXATTR {folder} project={project}")
    finally:
        os.close(descriptor)
