"""Overlays over mounts that are attached nowhere, for kernels before 6.15: overlayfs refuses such layers there.

They are attached in a mount namespace of a thread's own, at names that a page of options has room for; the overlay that
is made of them needs neither the names nor the thread any more.
"""

from __future__ import annotations

import os

from stackpy_runtime.linux import libc, mounts
from stackpy_runtime.linux.namespaces import CLONE_NEWNS
from stackpy_runtime.linux.threads import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A folder that every host has, hidden beneath a tmpfs for this thread alone.
_MEETING_POINT = "/etc"


def attached(lowers: Sequence[int], staged: str, options: Mapping[str, str | None], attributes: int) -> int:
    """A detached overlay mount.

    lowers: detached mounts, the uppermost first; they are attached, and stay the caller's to close
    staged: a folder with `upper` and `work` to write to, or ""
    options: more of overlayfs's; attributes: MOUNT_ATTR_*
    """

    def work() -> int:
        opened = -1
        try:
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            paths = {}
            if staged:
                # Opened here: a folder counts as this namespace's by the mount that it is reached through.
                opened = os.open(staged, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                top = f"/proc/thread-self/fd/{opened}"
                paths = {"upperdir": f"{top}/upper", "workdir": f"{top}/work"}
            mounts.mount("tmpfs", _MEETING_POINT, "tmpfs", 0, "mode=755,size=1m")
            os.chdir(_MEETING_POINT)
            for index, lower in enumerate(lowers):
                os.mkdir(str(index))
                mounts.move_mount(lower, libc.AT_FDCWD, str(index))
            lowerdir = ":".join(str(index) for index in range(len(lowers)))
            return mounts.new_mount("overlay", {"lowerdir": lowerdir, **paths, **options}, attributes)
        finally:
            if opened >= 0:
                os.close(opened)

    return apart(work, CLONE_NEWNS)
