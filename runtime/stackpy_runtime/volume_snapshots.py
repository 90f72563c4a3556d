"""Snapshots of volumes: what a volume held at a moment, kept beside it under ROOT/volumes/NAME/_snapshots.

    _snapshots/ID/about.json     id, created, size, labels
    _snapshots/ID/data           the files
    _snapshots/.ID               one that the volume's content of now is about to become (see `restore`)

They have no row in the index: a folder that is there is a snapshot, since it comes there by one rename, complete and
on disk. They move with their volume and go with it. What they are for is told by labels, which are the caller's.
"""

from __future__ import annotations

import errno
import json
import os
import time

from stackpy_runtime import volume
from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.linux.files import exchange, sync_file_system
from stackpy_runtime.store import garbage, layers, tree_copying, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from stackpy_runtime.model import VolumeSnapshot
    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = "_snapshots"


def of_volume(root: Root, name: str) -> list[VolumeSnapshot]:
    """The snapshots of a volume, oldest first; none where there is no such volume."""
    place = _place(root, name)
    try:
        names = sorted(entry for entry in os.listdir(place) if not entry.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (_about(f"{place}/{entry}") for entry in names)
    return [about for about in found if about is not None]


def take(
    store: Store,
    name: str,
    labels: Mapping[str, str],
    still: AbstractContextManager[object],
    go_on: Callable[[], None] = lambda: None,
) -> VolumeSnapshot:
    """Copies what is in a volume; whole and on disk, or not at all.

    still: entered while files are read: nobody may write meanwhile
    go_on: called again and again; what it raises ends it

    Raises NotFound, Conflict where something is mounted in the volume, and EngineError, on a full disk for example.
    """
    root, path = store.root, store.volume(name)["mountpoint"]
    with _staged(root, name) as staged:
        with still:
            _copy(path, staged, go_on)
        about = _described(staged, labels)
        _keep(root, name, staged, about["id"])
    return about


def remove(store: Store, name: str, identity: str) -> None:
    """Removes a snapshot; nothing happens where it has gone already."""
    staged = layers.reserve(store.root)
    try:
        os.rename(f"{_place(store.root, name)}/{_checked(identity)}", f"{staged}/{identity}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _failure(name, "cannot remove a snapshot of it", error) from None
    finally:
        layers.discard(store.root, staged)
    _tidy(store.root, name)


def restore(
    store: Store,
    name: str,
    identity: str,
    labels: Mapping[str, str],
    ready: Callable[[], None],
    go_on: Callable[[], None] = lambda: None,
) -> VolumeSnapshot:
    """Makes the content of a snapshot that of its volume, in one step; what was in it becomes a snapshot.

    labels: of that one
    ready: called when all is copied, to end whatever uses the volume; what it raises leaves everything as it was

    Killed before the step, the volume is as it was, and what was copied goes the next time; killed after it, the
    content of before becomes the snapshot then. Raises as `take`, and NotFound for the snapshot too.
    """
    root, known = store.root, store.volume(name)
    source = f"{_place(root, name)}/{_checked(identity)}/data"
    if not os.path.isdir(source):
        raise NotFound(f"no such snapshot of volume `{name}`: {identity}", hint=f"`stackpy volume inspect {name}`")
    path = known["mountpoint"]
    volume.restore(store, name)  # somebody may have deleted it, which is a reason to ask for the snapshot
    finish(root, name)
    with _staged(root, name) as staged:
        _copy(source, staged, go_on)
        about = _described(staged, labels, holds=os.stat(path).st_ino, size=usage.allocated(path))
        _keep(root, name, staged, f".{about['id']}")
    pending = f"{_place(root, name)}/.{about['id']}"
    try:
        ready()
        was, becomes = os.stat(path), os.stat(f"{pending}/data")
        exchange(path, f"{pending}/data")
        # XFS takes a folder for written when it gets another parent.
        for place, status in ((path, becomes), (f"{pending}/data", was)):
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
        _sync(os.path.dirname(path))
    except OSError as error:
        finish(root, name)
        if isinstance(error, EngineError):
            raise
        raise _failure(name, "cannot restore a snapshot of it", error) from None
    except BaseException:
        finish(root, name)
        raise
    finish(root, name)
    return about


def finish(root: Root, name: str) -> None:
    """Ends what a `restore` that was killed has left: its copy goes, or the content of before becomes a snapshot."""
    place = _place(root, name)
    try:
        left = [entry for entry in os.listdir(place) if entry.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in left:
        about = _about(f"{place}/{entry}")
        if about is not None and os.stat(f"{place}/{entry}/data").st_ino == about.get("holds"):
            os.rename(f"{place}/{entry}", f"{place}/{entry[1:]}")
            continue
        staged = layers.reserve(root)
        try:
            os.rename(f"{place}/{entry}", f"{staged}/gone")
        finally:
            layers.discard(root, staged)
    _tidy(root, name)


# --- what it is made of ----------------------------------------------------------------------------------------------


class _staged:
    """A folder that is being filled with a snapshot; what is left of it at the end goes, whatever happens."""

    def __init__(self, root: Root, name: str) -> None:
        self._root, self._name = root, name

    def __enter__(self) -> str:
        # What one that was killed has left takes room that is needed now.
        garbage.abandoned(self._root)
        self._path = layers.reserve(self._root)
        return self._path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        layers.discard(self._root, self._path)
        if isinstance(error, OSError) and not isinstance(error, EngineError):
            raise _failure(self._name, "cannot take a snapshot of it", error) from None
        if isinstance(error, EngineError):
            error.subject = error.subject or f"volume {self._name}"


def _copy(path: str, staged: str, go_on: Callable[[], None]) -> None:
    os.mkdir(f"{staged}/snapshot", 0o700)
    for name in ("snapshot/data", "links"):
        os.mkdir(f"{staged}/{name}", 0o700)
    with _opened(path) as source, _opened(f"{staged}/snapshot/data") as target, _opened(f"{staged}/links") as aside:
        tree_copying.copy(source, target, aside, go_on)


class _opened:
    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, _FOLDER)

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _described(
    staged: str, labels: Mapping[str, str], holds: int | None = None, size: int | None = None
) -> VolumeSnapshot:
    """Writes what a staged snapshot is; all of it is on disk then.

    holds: the inode of the folder that it will hold, where that is not yet the one that was copied; size: of that
    """
    about: VolumeSnapshot = {
        # They sort by time; RFC 3339 has no room for two in one second.
        "id": f"{time.time_ns():016x}",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "size": usage.allocated(f"{staged}/snapshot/data") if size is None else size,
        "labels": dict(labels),
    }
    if holds is not None:
        about["holds"] = holds
    descriptor = os.open(f"{staged}/snapshot/about.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(about, file)
        file.flush()
        sync_file_system(file.fileno())
    return about


def _keep(root: Root, name: str, staged: str, entry: str) -> None:
    place = _place(root, name)
    if not os.path.isdir(os.path.dirname(place)):
        raise NotFound(f"no such volume: `{name}`")  # it was removed meanwhile
    try:
        os.mkdir(place, 0o700)
    except FileExistsError:
        pass
    os.rename(f"{staged}/snapshot", f"{place}/{entry}")
    for folder in (place, os.path.dirname(place)):
        _sync(folder)


def _place(root: Root, name: str) -> str:
    return f"{root.volumes}/{name}/{_PLACE}"


def _checked(identity: str) -> str:
    if not identity.isalnum():
        raise NotFound(f"no such snapshot: `{identity}`")
    return identity


def _about(path: str) -> Any:
    """What a snapshot's folder says of itself; None where that cannot be read."""
    try:
        with open(f"{path}/about.json", encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _tidy(root: Root, name: str) -> None:
    try:
        os.rmdir(_place(root, name))
    except OSError:
        pass  # one is left, or there never was any


def _sync(folder: str) -> None:
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(name: str, what: str, error: OSError) -> EngineError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space and try again: `stackpy system df` shows what takes it" if full else ""
    reason = (error.strerror or str(error)).lower()
    return EngineError(f"{what}: {reason}", subject=f"volume {name}", hint=hint)
