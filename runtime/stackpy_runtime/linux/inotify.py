"""Waiting until a file changes (inotify(7)): whoever follows a log is told at once and does not look in between."""

from __future__ import annotations

import ctypes
import os
import select

from stackpy_runtime.linux.libc import failure, libc

# include/uapi/linux/inotify.h
IN_MODIFY, IN_ATTRIB, IN_MOVE_SELF, IN_DELETE_SELF = 0x2, 0x4, 0x800, 0x400
IN_MOVED_TO, IN_CREATE = 0x80, 0x100


class Watch:
    """Files that are watched for being written, renamed or removed. Where the host has no watches left, time tells."""

    def __init__(self) -> None:
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        if self._descriptor >= 0:
            self._poll.register(self._descriptor, select.POLLIN)

    def add(self, path: str) -> bool:
        """Watches a file; False where it does not exist, or the user has too many watches (max_user_watches)."""
        return self._add(path, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)

    def add_folder(self, path: str) -> bool:
        """Watches a folder for what is made in it or renamed into it."""
        return self._add(path, IN_CREATE | IN_MOVED_TO)

    def _add(self, path: str, mask: int) -> bool:
        found = libc.inotify_add_watch(self._descriptor, ctypes.c_char_p(os.fsencode(path)), ctypes.c_uint32(mask))
        if found >= 0:
            return True
        if ctypes.get_errno() in (2, 9, 28):  # ENOENT; EBADF: there was no instance left; ENOSPC: no watch
            return False
        raise failure(f"inotify_add_watch {path}")

    def wait(self, seconds: float) -> None:
        """Returns when one of them has changed since the last call, at the latest after `seconds`."""
        if self._poll.poll(seconds * 1000):
            try:
                os.read(self._descriptor, 65536)
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Watches no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
