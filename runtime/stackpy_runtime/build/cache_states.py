"""What a cache folder of RUN steps was when it was last brought elsewhere: one that has not changed is not read again.

Kept at the folder itself, as an attribute that nothing in a container can set. No file's content is looked at: its
inode, size and time of change say whether it is the same, and the latter nobody sets but the kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTE = "trusted.stackpy.carried"
_TICK_NS = 1_000_000_000  # the kernel's clock for files has ticks: what has just changed may change within one
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def state(folder: int) -> str:
    """A hash over names and what stat(2) says of all that is in a folder; "" where something has just changed."""
    whole = hashlib.sha256()
    latest = 0
    top = os.fstat(folder)
    # Not the folder's own time of change, which this attribute moves; what is put into it changes its modification.
    whole.update(f"{top.st_mode} {top.st_uid} {top.st_gid} {top.st_mtime_ns}".encode())
    for path, status in _entries(folder):
        fields = (
            status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_nlink,
            status.st_mtime_ns, status.st_ctime_ns, status.st_rdev,
        )  # fmt: skip
        whole.update(path.encode("utf-8", "surrogateescape") + b"\0" + repr(fields).encode())
        latest = max(latest, status.st_ctime_ns)
    return whole.hexdigest() if time.time_ns() - latest > _TICK_NS else ""


def _entries(folder: int) -> Iterator[tuple[str, os.stat_result]]:
    held: list[tuple[int, str, Iterator[str]]] = [(os.dup(folder), "", iter(sorted(os.listdir(folder))))]
    try:
        while held:
            here, path, names = held[-1]
            name = next(names, None)
            if name is None:
                os.close(held.pop()[0])
                continue
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            yield f"{path}/{name}", status
            if stat.S_ISDIR(status.st_mode):
                opened = os.open(name, _FOLDER, dir_fd=here)
                held.append((opened, f"{path}/{name}", iter(())))
                held[-1] = (opened, f"{path}/{name}", iter(sorted(os.listdir(opened))))
    finally:
        for here, _, _ in held:
            os.close(here)


def remembered(folder: int, now: str) -> str:
    """What a folder in this state was kept as; "" where it is in another one."""
    try:
        before = json.loads(os.getxattr(folder, _ATTRIBUTE))
        return str(before["kept"]) if now and before["state"] == now else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def remember(folder: int, then: str, kept: str) -> None:
    """Notes what a folder was kept as, in the state that it was in before it was read."""
    if not then:
        return
    try:
        os.setxattr(folder, _ATTRIBUTE, json.dumps({"state": then, "kept": kept}).encode())
    except OSError:
        pass  # a file system without attributes: it is read again the next time
