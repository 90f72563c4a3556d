"""What is known of a container: a folder ROOT/ID, of root alone, that is there from `create` to `delete`.

state.json   who it is and which process it is
config.json  the bundle's document as it was at `create`
start        the socket on which its first process waits to be started; gone once it was
lock         held by whoever changes something
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import Conflict, EngineError, NotFound
from stackpy_runtime.linux.proc import boot_id, start_time
from stackpy_runtime.oci.bundle import VERSION, check_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_ROOT = "/run/stackpy-oci"


class Record(TypedDict):
    """state.json."""

    id: str
    bundle: str
    rootfs: str
    created: str
    annotations: dict[str, str]
    version: str  # of the bundle's document
    cgroups_path: str
    pid: int  # 0: it is being created
    start: int  # clock ticks after boot
    boot: str
    init: NotRequired[bool]


class Folder:
    """A container's folder, whether it is there or not."""

    def __init__(self, root: str, identity: str) -> None:
        self.id = check_identifier(identity)
        self.root = root
        self.path = f"{root}/{identity}"

    def make(self, record: Record, document: dict[str, Any]) -> None:
        """Makes it; Conflict when there is such a container."""
        os.makedirs(self.root, mode=0o711, exist_ok=True)
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise Conflict(f"container {self.id} already exists", hint="delete it, or take another ID") from None
        self._write("config.json", document)
        self.write(record)

    def _write(self, name: str, document: Any) -> None:
        aside = f"{self.path}/.{name}"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.rename(aside, f"{self.path}/{name}")

    def write(self, record: Record) -> None:
        """Writes state.json, whole or not at all."""
        self._write("state.json", record)

    def _read(self, name: str) -> Any:
        try:
            with open(f"{self.path}/{name}", encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            raise NotFound(f"container {self.id} does not exist") from None

    def record(self) -> Record:
        """state.json; NotFound when there is no such container."""
        found: Record = self._read("state.json")
        return found

    def document(self) -> dict[str, Any]:
        """The bundle's document as it was when the container was created."""
        found: dict[str, Any] = self._read("config.json")
        return found

    def write_document(self, document: dict[str, Any]) -> None:
        """Keeps what `update` has changed."""
        self._write("config.json", document)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time: whoever starts, signals or deletes."""
        try:
            file = open(f"{self.path}/lock", "a", encoding="ascii")
        except FileNotFoundError:
            raise NotFound(f"container {self.id} does not exist") from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def remove(self) -> None:
        """Removes it; nothing happens when it is gone."""
        try:
            for name in os.listdir(self.path):
                os.unlink(f"{self.path}/{name}")
            os.rmdir(self.path)
        except FileNotFoundError:
            pass


def identities(root: str) -> list[str]:
    """The IDs of all containers under a root."""
    try:
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def new(identity: str, bundle: str, rootfs: str, annotations: dict[str, str], version: str, group: str) -> Record:
    """What is known of a container that is about to be created."""
    return {
        "id": identity,
        "bundle": bundle,
        "rootfs": rootfs,
        "created": timestamp(time.time()),
        "annotations": annotations,
        "version": version,
        "cgroups_path": group,
        "pid": 0,
        "start": 0,
        "boot": boot_id(),
    }


def lives(record: Record) -> bool:
    """Whether its first process is there; one that has ended and was not collected is not."""
    return bool(record["pid"]) and start_time(record["pid"]) == record["start"] and record["boot"] == boot_id()


def status(folder: Folder, record: Record, *, frozen: bool = False) -> str:
    """creating, created, running, paused or stopped."""
    if not record["pid"]:
        return "creating"
    if not lives(record):
        return "stopped"
    if os.path.exists(f"{folder.path}/start"):
        return "created"
    return "paused" if frozen else "running"


def shown(record: Record, now: str) -> dict[str, Any]:
    """The state as the specification has it (runtime.md, "State"), for hooks and for `state`."""
    result: dict[str, Any] = {"ociVersion": VERSION, "id": record["id"], "status": now}
    result["pid"] = 0 if now == "stopped" else record["pid"]
    result["bundle"] = record["bundle"]
    result["annotations"] = record["annotations"]
    return result


def need(now: str, wanted: tuple[str, ...], identity: str) -> None:
    """Conflict, in the words that callers look for, when the container is in another state."""
    if now in wanted:
        return
    if now == "stopped" and "running" in wanted:
        raise Conflict(f"container not running: {identity} is {now}")
    raise EngineError(f"container {identity} is {now}, not {' or '.join(wanted)}")
