"""Whether layers can be mounted from files here: tried once with a layer of nothing, since versions tell too little.

The kernel must mount erofs from a file (6.12, CONFIG_EROFS_FS_BACKED_BY_FILE), and take it as a layer of overlayfs. The
file system must have pages to map (tmpfs has not), and must not itself be stacked too high, as inside a container.
"""

from __future__ import annotations

import errno
import os

from stackpy_runtime.image import erofs
from stackpy_runtime.image.layer_tree import Folder
from stackpy_runtime.linux import libc, mounts
from stackpy_runtime.linux.overlays import attached
from stackpy_runtime.store import mounted

_UNNAMED = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC

_tried: dict[str, bool] = {}


def from_files(folder: str) -> bool:
    """Whether layers that lie in a folder can be mounted from files; asked once in a process. Leaves nothing."""
    if folder not in _tried:
        opened: list[int] = []
        try:
            _try(folder, opened)
            _tried[folder] = True
        except OSError:
            _tried[folder] = False
        finally:
            for descriptor in opened:
                os.close(descriptor)
    return _tried[folder]


def _try(folder: str, opened: list[int]) -> None:
    for _ in range(2):
        opened.append(os.open(folder, _UNNAMED, 0o600))  # noqa: PERF401 - closed by the caller, whatever comes
    index, tar = opened
    os.ftruncate(tar, 2 * erofs.BLOCK)
    root = Folder(0o755, 0, 0, 0)
    root.children = {name: Folder(0o755, 0, 0, 0) for name in (b"a", b"b")}
    erofs.write(root, index, erofs.HEAD, 2, bytes(16))
    opened.append(mounted.mount(index, tar))
    try:
        clone = mounts.open_tree(libc.AT_FDCWD, f"/proc/self/fd/{opened[-1]}")
        opened.append(clone)
        opened.append(mounts.new_mount("overlay", {"lowerdir": f"/proc/self/fd/{clone}/a:/proc/self/fd/{clone}/b"}))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Before Linux 6.15 each mount is made anew, and attached to be a layer.
        opened.append(mounted.mount(index, tar))
        opened.append(attached(opened[-2:], "", {}, mounts.MOUNT_ATTR_NODEV))
