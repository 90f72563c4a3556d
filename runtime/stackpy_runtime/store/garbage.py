"""Removing what nothing refers to any more, and what a crash has left."""

from __future__ import annotations

import fcntl
import os
import time

from stackpy_runtime.errors import Conflict
from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import lasting, layers, mounted, trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store

# How long something new is left alone, since its row may be written after it.
GRACE_SECONDS = 600.0


class Collected(NamedTuple):
    """What a collection removed, by ID; the staging folders by name."""

    layers: list[str]
    containers: list[str]
    staging: list[str]


def collect(store: Store, *, grace: float = GRACE_SECONDS, alone: bool = False) -> Collected:
    """Removes layers without an image or a step, blobs that no image names, containers' folders without a row, and
    staging folders of the dead.

    grace: seconds for which something is safe after it was made
    alone: nobody is making a container or a volume now, so that what is half made is left from a crash

    No volume is ever touched; an empty folder for one that never came to be goes. Layers and blobs are skipped while
    somebody holds `layers.using`; a container's folder in which something is mounted is left for the next time. A
    missing root is left missing.
    """
    root = store.root
    if not root.exists():
        return Collected([], [], [])
    old = time.time() - grace
    half_made = float("inf") if alone else old
    containers = _containers(store, root, half_made)
    _volumes(store, root, half_made)
    collected = _layers(store, root, old)
    # Last, since a layer goes through staging, and a crash in between leaves it there.
    return Collected(collected, containers, abandoned(root))


def collect_layers(store: Store, forgotten: AbstractSet[str]) -> list[str]:
    """Removes those of these layers that no image refers to, however young they are, and though a step still does.

    Returns the layers' IDs: none while somebody holds `layers.using`. Steps without their layer are as good as
    forgotten; their rows can wait until the index, on a full disk, has room to be written.
    """
    return _layers(store, store.root, time.time() - GRACE_SECONDS, forgotten)


def _layers(store: Store, root: Root, old: float, forgotten: AbstractSet[str] = frozenset()) -> list[str]:
    if not forgotten and not _older_layers(root, old) - store.layers_in_use() and not _unnamed_blobs(store, old):
        return []
    going: list[str] = []
    staged = layers.reserve(root)
    folder = os.open(root.layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # All asked again, now that nobody commits.
        going_too = forgotten - store.layers_of_images()
        for layer_id in sorted((_older_layers(root, old) - store.layers_in_use()) | going_too):
            if layers.paths(root, layer_id):
                layers.remove(root, layer_id, staged)
                going.append(layer_id)
        for name in _unnamed_blobs(store, old):
            os.unlink(f"{root.blobs}/sha256/{name}")
    except BlockingIOError:
        pass  # a build is under way
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)
        layers.discard(root, staged)
    mounted.sweep()
    return going


def _unnamed_blobs(store: Store, old: float) -> list[str]:
    """Names of blobs that were put there before `old` and that no image names, directly or through another blob."""
    try:
        older = _older(f"{store.root.blobs}/sha256", old)
    except FileNotFoundError:
        return []
    if not older:
        return []
    used = lasting.blobs_in_use(store.root, store.image_documents())
    return [name for name in older if name not in used]


def _older_layers(root: Root, moment: float) -> set[str]:
    """Layers of which nothing has been put there since `moment`."""
    older = _older(root.layers, moment)
    young = {layers.identifier(name) for name in set(os.listdir(root.layers)).difference(older)}
    return {layers.identifier(name) for name in older} - young - {""}


def _containers(store: Store, root: Root, old: float) -> list[str]:
    known = {container["id"] for container in store.containers()}
    gone = []
    for name in _older(root.containers, old):
        if name in known:
            continue
        try:
            trees.remove(f"{root.containers}/{name}")
        except Conflict:
            continue
        gone.append(name)
    return gone


def _volumes(store: Store, root: Root, old: float) -> None:
    """Removes empty folders of volumes that are not in the index: their containers did not come to be."""
    known = {volume["name"] for volume in store.volumes()}
    for name in _older(root.volumes, old):
        if name not in known:
            for folder in (f"{root.volumes}/{name}/_data", f"{root.volumes}/{name}"):
                try:
                    os.rmdir(folder)
                except OSError:
                    continue  # somebody's data


def abandoned(root: Root) -> list[str]:
    """Removes the staging folders that nobody holds any more; their names."""
    gone = []
    parent = os.open(root.staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Nobody is between making a folder and locking it while this is held.
        fcntl.flock(parent, fcntl.LOCK_EX)
        left = [name for name in sorted(os.listdir(parent)) if _abandoned(parent, name)]
    finally:
        os.close(parent)
    for name in left:
        trees.remove(f"{root.staging}/{name}")
        gone.append(name)
    return gone


def _abandoned(parent: int, name: str) -> bool:
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # not a folder: nothing of ours
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(folder)
    return True


def _older(path: str, moment: float) -> list[str]:
    """Entries of a folder that were put there, or renamed, before `moment`; the status change time says so."""
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_ctime <= moment:
                    found.append(entry.name)
            except FileNotFoundError:
                continue
    return sorted(found)
