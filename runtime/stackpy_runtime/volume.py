"""Named volumes: their folders under ROOT/volumes.

The files of a volume belong to the user from the first start on. Nothing here removes one that a container uses, and
nothing but `remove` removes any.
"""

from __future__ import annotations

import os
import re
import time

from stackpy_runtime.errors import EngineError, InvalidConfig, NotFound
from stackpy_runtime.store import event_log, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.model import Volume
    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


def mountpoint(root: Root, name: str) -> str:
    """Where the files of a volume lie; raises InvalidConfig for what cannot be a volume's name."""
    if not NAME.fullmatch(name):
        raise InvalidConfig(f"`{name}` is not a volume name", hint="letters, digits, `_`, `.` and `-`, no `/`")
    return f"{root.volumes}/{name}/_data"


def prepare(store: Store, name: str, labels: Mapping[str, str]) -> Volume:
    """The folder of a volume that is about to be in the index; `withdraw` removes it where it does not come to that."""
    path = mountpoint(store.root, name)
    volume: Volume = {
        "name": name,
        "driver": "local",
        "mountpoint": path,
        "labels": dict(labels),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    # The folder first: a row without one could not be mounted. One that a crash left without a row is taken over.
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
        os.chmod(path, 0o755)  # noqa: S103 - users of the container's own must get in; ROOT/volumes is root's alone
    except OSError as error:
        withdraw(store, name)
        raise EngineError(f"cannot create `{path}`: {(error.strerror or str(error)).lower()}") from None
    return volume


def withdraw(store: Store, name: str) -> None:
    """Removes the folder of a volume that is not in the index; one that holds anything stays."""
    path = mountpoint(store.root, name)
    try:
        store.volume(name)
    except NotFound:
        for folder in (path, os.path.dirname(path)):
            try:
                os.rmdir(folder)
            except OSError:
                # Not there, or somebody's data.
                continue


def created(store: Store, volume: Volume) -> None:
    """Tells that a volume is there."""
    event_log.record(store.root, event_log.event("volume", "create", volume["name"], {"driver": "local"}))


def create(store: Store, name: str, labels: Mapping[str, str]) -> Volume:
    """Makes an empty volume; raises Conflict when there is one of this name."""
    volume = prepare(store, name, labels)
    try:
        store.insert_volume(volume)
    except BaseException:
        withdraw(store, name)
        raise
    created(store, volume)
    return volume


def restore(store: Store, name: str) -> None:
    """Makes the folder of a volume that somebody has deleted; one that is there stays as it is. Raises NotFound."""
    known = store.volume(name)
    if not os.path.isdir(known["mountpoint"]):
        prepare(store, known["name"], {})


def rename(store: Store, name: str, new: str) -> None:
    """Gives a volume another name; its files, and who has mounted them, are not touched.

    Killed between the two, the folder has the new name and the index the old one: the same call finishes it. Raises
    NotFound, InvalidConfig, or Conflict where the new name is taken.
    """
    volume, path = store.volume(name), mountpoint(store.root, new)
    here, there = os.path.dirname(volume["mountpoint"]), os.path.dirname(path)

    def move() -> None:
        try:
            if os.path.isdir(here):
                if os.path.exists(there):
                    os.rmdir(path)
                    os.rmdir(there)  # of one that was never made; one that holds anything stays
                os.rename(here, there)
        except OSError as error:
            raise EngineError(
                f"cannot move `{here}`: {(error.strerror or str(error)).lower()}", subject=f"volume {name}"
            ) from None

    store.rename_volume(name, {**volume, "name": new, "mountpoint": path}, move)


def remove(store: Store, name: str, *, of: str = "") -> None:
    """Removes a volume and its files.

    of: the name of a container that uses it, and is about to be removed itself

    Raises NotFound, or Conflict when a container, running or not, uses it; then everything is as before.
    """
    folder = os.path.dirname(mountpoint(store.root, name))
    staged = layers.reserve(store.root)
    gone = f"{staged}/{name}"

    def move_away() -> None:
        try:
            os.rename(folder, gone)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise EngineError(
                f"cannot move `{folder}`: {(error.strerror or str(error)).lower()}", subject=f"volume {name}"
            ) from None

    try:
        store.delete_volume(name, move_away, of=of)
    except BaseException:
        # The row stayed, so must the files.
        if os.path.lexists(gone):
            os.rename(gone, folder)
        layers.discard(store.root, staged)
        raise
    layers.discard(store.root, staged)
    event_log.record(store.root, event_log.event("volume", "destroy", name, {"driver": "local"}))
