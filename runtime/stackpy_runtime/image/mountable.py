"""Whether layers can be mounted from files here: tried once with a layer of nothing, since versions tell too little.

The kernel must mount erofs from a file (6.12, CONFIG_EROFS_FS_BACKED_BY_FILE), clone a mount that is attached nowhere
and take one as a layer of overlayfs (6.15); the engine root's file system must have pages to map (tmpfs has not), and
must not itself be stacked too high, as it is inside a container.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stackpy_runtime.errors import EngineError
from stackpy_runtime.image import erofs
from stackpy_runtime.image.layer_tree import Folder
from stackpy_runtime.linux import libc, mounts
from stackpy_runtime.store import layers, mounted

if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_tried: dict[str, bool] = {}


def from_files(root: Root) -> bool:
    """Whether the layers of this engine root can be mounted from files; asked once in a process."""
    if root.path not in _tried:
        staged = layers.reserve(root)
        opened: list[int] = []
        try:
            _tried[root.path] = _try(staged, opened)
        except OSError as error:
            if not isinstance(error, EngineError):
                raise
            _tried[root.path] = False
        finally:
            for descriptor in opened:
                os.close(descriptor)
            layers.discard(root, staged)
    return _tried[root.path]


def _try(staged: str, opened: list[int]) -> bool:
    index = os.open(f"{staged}/index", _NEW, 0o600)
    opened.append(index)
    tar = os.open(f"{staged}/tar", _NEW, 0o600)
    opened.append(tar)
    os.ftruncate(tar, 2 * erofs.BLOCK)
    erofs.write(Folder(0o755, 0, 0, 0), index, erofs.HEAD, 2, bytes(16))
    opened.append(mounted.mount(index, tar))
    opened.append(mounts.open_tree(libc.AT_FDCWD, f"/proc/self/fd/{opened[-1]}"))
    lower = opened[-1]
    folder = os.open(staged, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.append(folder)
    for name in ("upper", "work"):
        os.mkdir(name, dir_fd=folder)
    options: dict[str, str | None] = {
        "lowerdir+": f"/proc/self/fd/{lower}",
        "upperdir": f"/proc/self/fd/{folder}/upper",
        "workdir": f"/proc/self/fd/{folder}/work",
        "volatile": None,
    }
    opened.append(mounts.new_mount("overlay", options))
    return True
