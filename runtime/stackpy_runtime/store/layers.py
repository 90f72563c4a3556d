"""Layers on disk, written in ROOT/staging and renamed into place, in one of two kinds:

- ROOT/layers/ID, a folder with plain IDs: what a build step left behind, or what was unpacked;
- ROOT/layers/ID.tar and ID.erofs, a layer's own tar and an index over it: what was pulled or loaded where the kernel
  mounts it (image/staging.py). The index is there last and goes first: without it there is no such layer.

Whoever reads asks for `folder` or `open_mounted`, and need not know which it is. What calls the kernel by ctypes is
loaded where it is called: many a command only asks whether a layer is there.

A staging folder is locked (flock) by the process that made it for as long as it lives, which is how the garbage
collection tells the work of others from what a crash has left; neither a PID that came back nor a PID namespace can
deceive it.
"""

from __future__ import annotations

import fcntl
import os
import time
from _thread import allocate_lock

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.store.root import INDEX as INDEX
from stackpy_runtime.store.root import TAR as TAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")

# An attribute of the layer's folder, or index, that nobody in a container sees.
_SIZE = "trusted.stackpy.size"

# Staging folder → the descriptor that holds its lock, for this process.
_held: dict[str, int] = {}
_guard = allocate_lock()


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
    target = place(root, layer_id)
    with using(root):
        try:
            if not os.access(target + INDEX, os.F_OK):
                os.rename(source, target)
                return target
        except OSError as error:
            if error.errno not in (17, 39):  # EEXIST, ENOTEMPTY: the layer is there already
                raise _failure("create", target, error) from None
        touch(root, layer_id)
    return target


def adopt_tar(root: Root, source: str, layer_id: str) -> None:
    """Renames the files `source`.tar and `source`.erofs, in a staging folder, to the layer `layer_id`, unless it is
    there already.
    """
    target = place(root, layer_id)
    with using(root):
        if exists(root, layer_id):
            touch(root, layer_id)
            return
        try:
            for suffix in (TAR, INDEX):
                os.rename(source + suffix, target + suffix)
        except OSError as error:
            raise _failure("create", target + suffix, error) from None


def touch(root: Root, layer_id: str) -> None:
    """Makes a layer young: whoever uses it now, or is about to refer to it, wants it to be collected last."""
    for path in paths(root, layer_id):
        # The time of modification is the layer's own: a container sees it.
        modified = os.stat(path, follow_symlinks=False).st_mtime_ns
        os.utime(path, follow_symlinks=False, ns=(time.time_ns(), modified))


def remove(root: Root, layer_id: str, into: str) -> None:
    """Moves a layer into a staging folder, which is discarded then; what is there of it, when a crash has left a part.

    The caller holds `using`, or the collection's lock, and knows that nobody refers to the layer.
    """
    for path in paths(root, layer_id):
        os.rename(path, f"{into}/{os.path.basename(path)}")


def flush(root: Root) -> None:
    """Makes all layers outlive a power cut; before a row says for good that they are there."""
    descriptor = os.open(root.layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        from stackpy_runtime.linux.files import sync_file_system

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
    try:
        from stackpy_runtime.store import trees

        trees.remove(staged)
    finally:
        # Also where it cannot be removed: what nobody holds is collected.
        with _guard:
            descriptor = _held.pop(staged, -1)
        if descriptor >= 0:
            os.close(descriptor)


def place(root: Root, layer_id: str) -> str:
    """Where a folder layer lies, or would lie; raises InvalidConfig for what cannot be a layer's ID."""
    if not layer_id or len(layer_id) > 128 or not _ALLOWED.issuperset(layer_id):
        raise InvalidConfig(f"`{layer_id}` is not a layer ID")
    return f"{root.layers}/{layer_id}"


def folder(root: Root, layer_id: str) -> str:
    """The folder of a layer, to read; a tar layer is mounted for it, as long as this process lives.

    For a layer that is not there, where it would lie. Raises InvalidConfig for what cannot be a layer's ID, EngineError
    for a tar layer that cannot be mounted.
    """
    path = place(root, layer_id)
    if not os.access(path + INDEX, os.F_OK):
        return path
    from stackpy_runtime.store import mounted

    return mounted.hold(path + INDEX, path + TAR, layer_id)


def lower(root: Root, layer_id: str) -> str:
    """A layer for those who make mounts of it, in whatever process: they open it with `mounted.clone`."""
    from stackpy_runtime.store import mounted

    return mounted.source(folder(root, layer_id))


def open_mounted(root: Root, layer_id: str) -> int:
    """A detached mount of a layer, a clone of its own for the caller: to be idmapped, or attached."""
    from stackpy_runtime.store import mounted

    return mounted.clone(lower(root, layer_id))


def tar(root: Root, layer_id: str) -> str:
    """The path of the layer's own tar, byte for byte what its diff ID says; "" for a folder layer."""
    path = place(root, layer_id)
    return path + TAR if os.access(path + INDEX, os.F_OK) else ""


def exists(root: Root, layer_id: str) -> bool:
    """Whether the layer is on disk."""
    path = place(root, layer_id)
    return os.path.isdir(path) or os.access(path + INDEX, os.F_OK)


def paths(root: Root, layer_id: str) -> list[str]:
    """What there is of a layer on disk: its folder, or its index and its tar; in the order to remove them."""
    path = place(root, layer_id)
    return [entry for entry in (path, path + INDEX, path + TAR) if os.path.lexists(entry)]


def identifier(name: str) -> str:
    """The ID of the layer that an entry of ROOT/layers belongs to; "" for one that is not ours."""
    layer_id = name.removesuffix(TAR).removesuffix(INDEX)
    return layer_id if _ALLOWED.issuperset(layer_id) else ""


def home(root: Root, layer_id: str) -> str:
    """Where attributes of the engine's own are kept for a layer: its folder, or its index."""
    path = place(root, layer_id)
    return path + INDEX if os.access(path + INDEX, os.F_OK) else path


def size(root: Root, layer_id: str) -> int:
    """Bytes of the layer's regular files, hard links once; counted when first asked for, then read from the folder."""
    marked = home(root, layer_id)
    try:
        return int(os.getxattr(marked, _SIZE))
    except (OSError, ValueError):
        from stackpy_runtime.store import trees

        counted = trees.size(folder(root, layer_id))
    mark_size(marked, counted)
    return counted


def mark_size(path: str, counted: int) -> None:
    """Writes the size of a layer's files down at its folder or index."""
    try:
        os.setxattr(path, _SIZE, str(counted).encode())
    except OSError:
        # Only a saving: a file system without trusted attributes has it counted each time.
        pass


def _failure(what: str, path: str, error: OSError) -> EngineError:
    hint = "free some space and try again" if error.errno == 28 else ""  # ENOSPC
    return EngineError(f"cannot {what} `{path}`: {(error.strerror or str(error)).lower()}", hint=hint)
