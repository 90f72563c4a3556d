"""System calls that a filter asks about: seccomp_unotify(2)."""

from __future__ import annotations

import ctypes
import errno
import os

from stackpy_runtime.linux.libc import failure, libc, number, syscall

# include/uapi/linux/seccomp.h
FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
_RET_USER_NOTIF, _NOTIF_FLAG_CONTINUE = 0x7FC00000, 1
_NOTIF_RECV, _NOTIF_SEND = 0xC0502100, 0xC0182101  # _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, …_resp)
_NOTIF_SET_FLAGS, _SYNC_WAKE_UP = 0x40082104, 1  # _IOW('!', 4, __u64), Linux 6.6
# A filter of one instruction: whatever is called, ask. BPF_RET | BPF_K
ASK_ALWAYS = (0x06).to_bytes(2, "little") + b"\0\0" + _RET_USER_NOTIF.to_bytes(4, "little")
LISTENER = "anon_inode:seccomp notify"  # what /proc/PID/fd calls one


class seccomp_notif(ctypes.Structure):
    """struct seccomp_notif, with struct seccomp_data in it."""

    _fields_ = [
        ("id", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("nr", ctypes.c_int),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
    ]


class seccomp_notif_resp(ctypes.Structure):
    """struct seccomp_notif_resp."""

    _fields_ = [
        ("id", ctypes.c_uint64),
        ("val", ctypes.c_int64),
        ("error", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    ]


def wake_at_once(listener: int) -> None:
    """Has the kernel run whoever receives where a call is made, as soon as that waits; without effect before 6.6."""
    libc.ioctl(listener, ctypes.c_ulong(_NOTIF_SET_FLAGS), ctypes.c_ulong(_SYNC_WAKE_UP))


def let_go_on(listener: int) -> tuple[int, int] | None:
    """Takes one call that waits, has it go on as if nobody had asked, and says its architecture and number.

    None when it has gone meanwhile. Blocks where none waits.
    """
    notice = seccomp_notif()
    if libc.ioctl(listener, ctypes.c_ulong(_NOTIF_RECV), ctypes.byref(notice)):
        if ctypes.get_errno() in (errno.EINTR, errno.ENOENT):
            return None
        raise failure("ioctl SECCOMP_IOCTL_NOTIF_RECV")
    answer = seccomp_notif_resp(id=notice.id, flags=_NOTIF_FLAG_CONTINUE)
    if libc.ioctl(listener, ctypes.c_ulong(_NOTIF_SEND), ctypes.byref(answer)) and ctypes.get_errno() != errno.ENOENT:
        raise failure("ioctl SECCOMP_IOCTL_NOTIF_SEND")
    return int(notice.arch), int(notice.nr)


def ask_always() -> None:
    """Has every call of the caller from now on, and of what it begins, wait for a listener.

    The listener stays open, until execve closes it: closing it here would already have to wait for whoever has it.
    """
    from stackpy_runtime.linux.processes import install_filter

    try:
        install_filter(ASK_ALWAYS, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV)
    except OSError as error:
        # Before Linux 5.19 signals interrupt a call that waits.
        if error.errno != errno.EINVAL:
            raise
        install_filter(ASK_ALWAYS, FLAG_NEW_LISTENER)


def listener_of(pid: int, pidfd: int) -> int:
    """Our own descriptor of the listener that a process holds; -1 where it holds none (yet)."""
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return -1
    for entry in entries:
        try:
            if os.readlink(f"/proc/{pid}/fd/{entry}") != LISTENER:
                continue
        except OSError:
            continue
        found = syscall(number("pidfd_getfd"), pidfd, int(entry), 0)
        if found < 0:
            raise failure(f"pidfd_getfd of process {pid}")
        return found
    return -1
