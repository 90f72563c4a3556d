"""The `files` and secrets of a container that runs, written anew where it sees them; by the client, as `cp` does.

A process of ours goes there for it: for files into the container's user and mount namespaces, as `cp` does, for secrets
into its mounts alone. They lie on a tmpfs that the container sees read-only; a clone of the mount is ours to write
through. Each secret is replaced by a rename: whoever reads it reads the former value or the new one.
"""

from __future__ import annotations

import base64
import io
import os
import tarfile
import time

from stackpy_runtime.errors import Conflict, EngineError
from stackpy_runtime.linux import files, mounts, namespaces, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from stackpy_runtime.model import Container, FileContent
    from stackpy_runtime.store.store import Store

    class Engine(Protocol):
        """What this asks of the engine."""

        def archive_into(self, reference: str, source: Any, path: str) -> Any: ...


_VAULT = "run/secrets"
_TMPFS = 0x01021994  # statfs(2)
_RUNNING = ("running", "paused")


class _Archive:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        """All of it, then nothing."""
        data, self._data = self._data, b""
        return data


def rewrite(engine: Engine, container: Container, wanted: list[FileContent]) -> None:
    """Writes the files that differ from what a container was given; one that does not run gets them when it starts."""
    before = {file["target"]: file for file in container["config"].get("files", [])}
    changed = [file for file in wanted if before.get(file["target"]) != file]
    if not changed or container["state"]["status"] not in _RUNNING:
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in changed:
            content = base64.b64decode(file["content"])
            entry = tarfile.TarInfo(file["target"].lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(content), file["mode"], int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    engine.archive_into(container["id"], _Archive(packed.getvalue()), "/")


def refresh_secrets(store: Store, container: Container) -> None:
    """Gives a container that runs the values that its secrets have now. Raises EngineError."""
    secrets = container["config"].get("secrets", [])
    state = container["state"]
    if not secrets or state["status"] not in _RUNNING:
        return
    values = {}
    for secret in secrets:
        with open(f"{store.root.secrets}/{secret['secret']}", "rb") as held:
            values[secret["target"]] = held.read()
    target = os.pidfd_open(state["pid"])
    if proc.start_time(state["pid"]) != state.get("pid_start"):
        os.close(target)
        return
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        text = b""
        try:
            namespaces.setns(target, namespaces.CLONE_NEWNS)
            _replace_all(values)
        except Exception as error:  # whatever it is, the process ends here and its parent hears of it
            text = str(error).encode() or type(error).__name__.encode()
        finally:
            os.write(writing, text)
            os._exit(0)
    os.close(writing)
    os.close(target)
    with open(reading, "rb") as answer:
        told = answer.read().decode(errors="replace")
    os.waitpid(child, 0)
    if told:
        raise EngineError(f"its secrets could not be renewed: {told}", subject=f"container {container['name']}")


def _replace_all(values: dict[str, bytes]) -> None:
    """In the mount namespace of the container, with the host's rights."""
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # No link of the container leads anywhere from here.
    resolve = files.RESOLVE_IN_ROOT | files.RESOLVE_NO_SYMLINKS | files.RESOLVE_NO_MAGICLINKS
    vault = files.openat2(top, _VAULT, os.O_PATH | os.O_DIRECTORY, 0, resolve)
    if files.file_system_type(vault) != _TMPFS:
        raise Conflict("something else is at /run/secrets in it")
    clone = mounts.open_tree(vault, "")
    mounts.mount_setattr(clone, clear=mounts.MOUNT_ATTR_RDONLY)
    for name, value in values.items():
        known = os.stat(name, dir_fd=clone, follow_symlinks=False)
        aside = f".{name}.new"
        try:
            os.unlink(aside, dir_fd=clone)
        except FileNotFoundError:
            pass  # it is there only after a renewal that was killed
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(aside, flags, 0o400, dir_fd=clone)
        with open(descriptor, "wb") as file:
            file.write(value)
            os.fchown(descriptor, known.st_uid, known.st_gid)
        os.rename(aside, name, src_dir_fd=clone, dst_dir_fd=clone)
