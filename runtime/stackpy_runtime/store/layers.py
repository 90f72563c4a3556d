"""Layers on disk: folders with plain IDs under ROOT/layers, written in ROOT/staging and renamed into place.

A staging folder is locked (flock) by the process that made it for as long as it lives, which is how the garbage
collection tells the work of others from what a crash has left; neither a PID that came back nor a PID namespace can
deceive it.
"""

from __future__ import annotations

import fcntl
import os
from threading import Lock

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.linux.files import sync_file_system
from stackpy_runtime.store import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")

# An attribute of the layer's folder that nobody in a container sees.
_SIZE = "trusted.stackpy.size"

# Staging folder → the descriptor that holds its lock, for this process.
_held: dict[str, int] = {}
_guard = Lock()


def stage(root: Root) -> str:
    """A new folder under ROOT/staging with empty `upper` and `work`; it is this process's until commit or discard."""
    path = reserve(root)
    try:
        # The upper folder becomes the root of a file system: programs of any user must be able to walk it.
        os.mkdir(f"{path}/upper", 0o755)
        os.chmod(f"{path}/upper", 0o755)  # noqa: S103 - the reason above; mkdir's mode went through the umask
        os.mkdir(f"{path}/work", 0o755)
    except OSError as error:
        discard(root, path)
        raise _failure("create", path, error) from None
    return path


def reserve(root: Root) -> str:
    """A new, empty folder under ROOT/staging, held like one of `stage`."""
    path = f"{root.staging}/{os.urandom(8).hex()}"
    try:
        parent = os.open(root.staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Against a collection that comes between mkdir and flock.
            fcntl.flock(parent, fcntl.LOCK_SH)
            os.mkdir(path, 0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(parent)
    except OSError as error:
        raise _failure("create", path, error) from None
    with _guard:
        _held[path] = descriptor
    return path


def commit(root: Root, staged: str, layer_id: str) -> str:
    """Makes the `upper` folder of a staging folder the layer `layer_id`, removes the rest, returns the layer's path.

    Atomic; where the layer exists already it stays, and the staged one goes. Record who refers to the layer soon: the
    garbage collection leaves a new one alone for ten minutes, or for as long as `using` holds.
    """
    target = adopt(root, f"{staged}/upper", layer_id)
    discard(root, staged)
    return target


def adopt(root: Root, source: str, layer_id: str) -> str:
    """Renames the folder `source`, in a staging folder, to the layer `layer_id`, unless it is there already."""
    target = folder(root, layer_id)
    with using(root):
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno not in (17, 39):  # EEXIST, ENOTEMPTY: the layer is there already
                raise _failure("create", target, error) from None
            # It may have been left by a crash long ago, without anybody referring to it: from now on it is young.
            os.utime(target, follow_symlinks=False, ns=_times(target))
    return target


def flush(root: Root) -> None:
    """Makes all layers outlive a power cut; before a row says for good that they are there."""
    descriptor = os.open(root.layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file_system(descriptor)
    finally:
        os.close(descriptor)


class using:
    """While this is held no layer is collected; for work that commits several before it records who refers to them.

    Held by several at once; a collection meanwhile skips layers instead of waiting.
    """

    def __init__(self, root: Root) -> None:
        self._path = root.layers
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _failure("open", self._path, error) from None
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def __exit__(self, *_: object) -> None:
        # A child forked meanwhile has the same open file, and would keep the lock if it were only closed.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def discard(root: Root, staged: str) -> None:
    """Removes a staging folder and all in it; nothing happens when it is gone already."""
    if os.path.dirname(staged) != root.staging:
        raise InvalidConfig(f"`{staged}` is not a staging folder of `{root.path}`")
    trees.remove(staged)
    with _guard:
        descriptor = _held.pop(staged, -1)
    if descriptor >= 0:
        os.close(descriptor)


def folder(root: Root, layer_id: str) -> str:
    """Where the layer lies, or would lie; raises InvalidConfig for what cannot be a layer's ID."""
    if not layer_id or len(layer_id) > 128 or not _ALLOWED.issuperset(layer_id):
        raise InvalidConfig(f"`{layer_id}` is not a layer ID")
    return f"{root.layers}/{layer_id}"


def exists(root: Root, layer_id: str) -> bool:
    """Whether the layer is on disk."""
    return os.path.isdir(folder(root, layer_id))


def size(root: Root, layer_id: str) -> int:
    """Bytes of the layer's regular files, hard links once; counted when first asked for, then read from the folder."""
    path = folder(root, layer_id)
    try:
        return int(os.getxattr(path, _SIZE))
    except (OSError, ValueError):
        counted = trees.size(path)
    try:
        os.setxattr(path, _SIZE, str(counted).encode())
    except OSError:
        # Only a saving: a file system without trusted attributes has it counted each time.
        pass
    return counted


def _times(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)
    return found.st_atime_ns, found.st_mtime_ns


def _failure(what: str, path: str, error: OSError) -> EngineError:
    hint = "free some space and try again" if error.errno == 28 else ""  # ENOSPC
    return EngineError(f"cannot {what} `{path}`: {(error.strerror or str(error)).lower()}", hint=hint)
