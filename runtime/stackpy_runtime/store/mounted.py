"""Layers that are a tar with an index beside it, mounted: once in a process, without a path, and cloned from there.

A mount that is attached nowhere goes with the last descriptor of it, so no death of ours leaves one behind, and nobody
else's mount table grows. Clones share what the kernel has read of a layer; another process mounts it anew, and shares
the tar's pages.
"""

from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock

from stackpy_runtime.errors import EngineError, Unsupported
from stackpy_runtime.linux import libc, mounts
from stackpy_runtime.store.root import INDEX, TAR

_ATTRIBUTES = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID
# What the kernel answers for an index that it cannot read: EINVAL, EIO, EUCLEAN, EOPNOTSUPP, EBADMSG, ENXIO.
_DAMAGE = (errno.EINVAL, errno.EIO, errno.EUCLEAN, errno.EOPNOTSUPP, errno.EBADMSG, errno.ENXIO)

# Whether this kernel clones mounts that are attached nowhere (6.15); not known before the first is asked for.
_cloning: bool | None = None

# Index → the mount's descriptor, and which file it is of.
_held: dict[str, tuple[int, tuple[int, int, int]]] = {}
# And the other way round.
_indexes: dict[int, str] = {}
# A folder of layers → when it was last modified as far as is known.
_modified: dict[str, int] = {}
_TICK_NS = 1_000_000_000
_guard = allocate_lock()


def mount(index: int, tar: int) -> int:
    """A detached mount of an index over a tar, both open; raises OSError. File-backed erofs came with Linux 6.12."""
    # By descriptor: fsconfig(2) takes values of 255 bytes, and what was opened is what is mounted.
    options: dict[str, str | None] = {"source": f"/proc/self/fd/{index}", "device": f"/proc/self/fd/{tar}"}
    return mounts.new_mount("erofs", options, _ATTRIBUTES)


def hold(index: str, tar: str, layer_id: str) -> str:
    """Mounts a layer unless this process has it mounted; returns the path of the mount's root.

    The path is good for other processes too, and as long as this one lives and the layer is there. Raises EngineError.
    """
    with _guard:
        try:
            identity = _identity(index)
            held = _held.get(index)
            if held is None or held[1] != identity:
                _sweep()
                held = _held[index] = (_mount(index, tar), identity)
                _indexes[held[0]] = index
        except OSError as error:
            raise _failure(layer_id, error) from None
        return _path(held[0])


def source(path: str) -> str:
    """What `clone` takes in whatever process for a layer's folder: itself; before Linux 6.15 the index of one that is
    mounted here.
    """
    global _cloning
    ours = f"/proc/{os.getpid()}/fd/"
    if not path.startswith(ours):
        return path
    with _guard:
        index = _indexes.get(int(path.removeprefix(ours).removesuffix("/.")))
        if index is not None and _cloning is None:
            _cloning = _clones(path)
    return path if index is None or _cloning else index


def clone(path: str) -> int:
    """A detached mount of a folder, or of a layer by its index."""
    if path.endswith(INDEX):
        return _mount(path, path.removesuffix(INDEX) + TAR)
    return mounts.open_tree(libc.AT_FDCWD, path)


def _clones(path: str) -> bool:
    try:
        os.close(mounts.open_tree(libc.AT_FDCWD, path))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _path(descriptor: int) -> str:
    # With the dot it is a folder to those who follow no links.
    return f"/proc/{os.getpid()}/fd/{descriptor}/."


def sweep() -> None:
    """Lets go of layers that are no longer there, whose space is free then; cheap when asked again and again."""
    with _guard:
        folders = {os.path.dirname(index) for index in _held}
        if any(_changed(folder) for folder in folders):
            _sweep()


def _changed(folder: str) -> bool:
    """Whether anything was put into a folder or taken out since this was last asked."""
    try:
        modified = os.stat(folder).st_mtime_ns
    except OSError:
        return True
    before = _modified.get(folder)
    # A time that has just passed may come once more: the kernel's clock for files has ticks.
    _modified[folder] = modified if time.time_ns() - modified > _TICK_NS else 0
    return before != modified


def _sweep() -> None:
    for index, (descriptor, identity) in list(_held.items()):
        try:
            if _identity(index) == identity:
                continue
        except OSError:
            pass  # removed, or its whole root is
        del _held[index]
        del _indexes[descriptor]
        os.close(descriptor)


def _identity(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    # Not the time of its last change: attributes are kept at an index.
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _mount(index: str, tar: str) -> int:
    opened: list[int] = []
    try:
        for path in (index, tar):
            opened.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))  # noqa: PERF401 - closed below
        return mount(*opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _failure(layer_id: str, error: OSError) -> EngineError:
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENODEV, errno.ENOTBLK):
        return Unsupported(
            f"layer {layer_id} is kept as its tar, and this kernel mounts none: {reason}",
            hint="boot Linux 6.12 or later, or remove the image and load it again",
        )
    if error.errno in _DAMAGE:
        return EngineError(
            f"the index of layer {layer_id} is damaged: {reason}", hint="remove the image, and load or pull it again"
        )
    return EngineError(f"cannot mount layer {layer_id}: {reason}")
