"""The build cache: layers of steps that no image has, folders that outlive RUN steps, and hashes of contexts' files.

Its entries go by age of use, the one that was used longest ago first. What a running build uses is held: layers by
`layers.using`, a folder by its lock.
"""

from __future__ import annotations

import fcntl
import os

from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import garbage, layers, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Literal

    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store


class Entry(NamedTuple):
    """Something that the next build would make anew.

    kind: "step": a layer; "mount": a folder of RUN steps; "stat": what is known of a context's files
    used: seconds since 1970
    """

    kind: Literal["step", "mount", "stat"]
    name: str
    size: int
    used: float


def entries(store: Store, spare: Container[str] = ()) -> list[Entry]:
    """Everything in the cache, with the bytes that its removal would free; measures folders as du does.

    spare: IDs of images that do not keep their layers from being counted
    """
    root = store.root
    of_images = {layer for image in store.images() if image["id"] not in spare for layer in image["layers"]}
    steps = [layer for layer in store.step_layers() if layer and layer not in of_images]
    return [
        *(_step(root, layer) for layer in steps if layers.exists(root, layer)),
        *_folders(f"{root.path}/cache/mounts", "mount"),
        *_folders(f"{root.path}/cache/stat", "stat"),
    ]


def _step(root: Root, layer: str) -> Entry:
    # layers.touch sets the time of access; the others are of the layer's making, or of an attribute that was added.
    used = os.stat(layers.home(root, layer)).st_atime
    return Entry("step", layer, usage.layer(root, layer), used)


def excess(found: Iterable[Entry], keep: int) -> list[Entry]:
    """What has to go so that at most `keep` bytes stay: those that were used longest ago. Pure."""
    ordered = sorted(found, key=lambda entry: entry.used)
    left = sum(entry.size for entry in ordered)
    going = []
    for entry in ordered:
        if left <= keep:
            break
        if entry.size:
            going.append(entry)
            left -= entry.size
    return going


def remove(store: Store, going: Iterable[Entry]) -> list[Entry]:
    """Removes entries, as far as nobody uses them now; returns those that are gone.

    Layers go before their rows, since a full disk takes no row; a step without its layer is as good as forgotten.
    """
    wanted = list(going)
    steps = {entry.name for entry in wanted if entry.kind == "step"}
    gone = {entry.name for entry in wanted if entry.kind != "step" and _discard(store.root, entry)}
    if steps:
        gone |= set(garbage.collect_layers(store, steps))
    _forget_missing(store)
    return [entry for entry in wanted if entry.name in gone]


def _forget_missing(store: Store) -> None:
    """Forgets the results of steps whose layer is gone: just now, or when a prune was killed on the way."""
    missing = [
        step
        for layer, steps in store.step_layers().items()
        if layer and not layers.exists(store.root, layer)
        for step in steps
    ]
    if missing:
        store.delete_steps(missing)


def _folders(path: str, kind: Literal["mount", "stat"]) -> list[Entry]:
    try:
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            used = os.stat(f"{path}/{name}", follow_symlinks=False).st_mtime
        except FileNotFoundError:
            continue
        found.append(Entry(kind, name, usage.allocated(f"{path}/{name}"), used))
    return found


def _discard(root: Root, entry: Entry) -> bool:
    """Takes a folder or file of the cache away, unless a step uses it."""
    path = f"{root.path}/cache/{'mounts' if entry.kind == 'mount' else 'stat'}/{entry.name}"
    staged = layers.reserve(root)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # A step holds its folders for as long as it runs.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(path, f"{staged}/gone")
        finally:
            os.close(descriptor)
    except (FileNotFoundError, BlockingIOError):
        return False
    finally:
        layers.discard(root, staged)
    return True
