"""`storage_opt size`: bounds what a container may write to its root, by a project quota of the file system below."""

from __future__ import annotations

import errno
import fcntl
import os

from stackpy_runtime.errors import KernelError, Unsupported
from stackpy_runtime.linux import quota

LOCK = "/run/stackpy/projects.lock"
# Others number their projects from 1 on, Docker from the one of its root's folder.
_FIRST, _COUNT = 1 << 24, 1 << 24
_ATTEMPTS = 1000


def check(folder: str) -> None:
    """Raises Unsupported where the file system of a folder, or of what it will be in, has no project quotas."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        quota.in_use(descriptor, _FIRST)
    except KernelError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):  # a plan by somebody who is not root
            raise _lacking(folder, error) from None
    finally:
        os.close(descriptor)


def bound(folder: str, size: int) -> None:
    """Bounds a new container's `upper` and `work` together. Raises Unsupported, or KernelError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.makedirs(os.path.dirname(LOCK), mode=0o755, exist_ok=True)
        with open(LOCK, "a", encoding="ascii") as lock:
            # Whoever looks for a free number on this host has a turn; several roots may be on one file system.
            fcntl.flock(lock, fcntl.LOCK_EX)
            project = _free(descriptor)
            quota.set_limit(descriptor, project, size)
            for name in ("upper", "work"):
                quota.assign(f"{folder}/{name}", project)
    except KernelError as error:
        raise _lacking(folder, error) from None
    finally:
        os.close(descriptor)


def _free(descriptor: int) -> int:
    """A project that no file has: what is left of a removed container's is its limit, which the next one sets anew."""
    for _ in range(_ATTEMPTS):
        project = _FIRST + int.from_bytes(os.urandom(4), "big") % _COUNT
        if not quota.in_use(descriptor, project):
            return project
    raise KernelError("storage_opt: no free project is found on the file system", errno=errno.EBUSY)


def _lacking(folder: str, error: KernelError) -> KernelError | Unsupported:
    if error.errno not in (errno.ESRCH, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
        return error
    return Unsupported(
        f"storage_opt: the file system of {folder} has no project quotas",
        hint="put the engine root on ext4 or xfs that is mounted with prjquota "
        "(ext4: `tune2fs -O project,quota -Q prjquota` while it is not mounted)",
    )
