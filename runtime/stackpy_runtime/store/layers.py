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
from stackpy_runtime.store import trees
from stackpy_runtime.store.root import Root

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")

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

    Atomic; where the layer exists already it stays, and the staged one goes.
    """
    target = folder(root, layer_id)
    try:
        os.rename(f"{staged}/upper", target)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno != 39:  # ENOTEMPTY: the layer is there already
            raise _failure("create", target, error) from None
    discard(root, staged)
    return target


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


def _failure(what: str, path: str, error: OSError) -> EngineError:
    hint = "free some space and try again" if error.errno == 28 else ""  # ENOSPC
    return EngineError(f"cannot {what} `{path}`: {(error.strerror or str(error)).lower()}", hint=hint)
