"""Values of secrets: on a tmpfs of the host, mounted at ROOT/secrets while there are any, and never on disk.

Only a keyed HMAC of a value is kept in the store, to see a change; the key is the engine root's own.
"""

from __future__ import annotations

import os
import threading

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.host.secret_fingerprints import fingerprint, key_path
from stackpy_runtime.linux import files, mounts
from stackpy_runtime.linux.libc import AT_FDCWD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import Secret
    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store

TMPFS_MAGIC = 0x01021994
LARGEST = 1 << 20
# Two at once would both find nothing mounted, and the second mount would hide the first one's secret.
_turn = threading.Lock()


def _make_key(root: Root) -> None:
    aside = f"{key_path(root)}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(os.urandom(32))
    try:
        os.link(aside, key_path(root))
    except FileExistsError:
        # Another process has made it first; its key is the one.
        pass
    os.unlink(aside)


def _is_mounted(root: Root) -> bool:
    descriptor = os.open(root.secrets, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return files.file_system_type(descriptor) == TMPFS_MAGIC and os.path.ismount(root.secrets)
    finally:
        os.close(descriptor)


def put(store: Store, name: str, value: bytes, labels: dict[str, str], created: str) -> None:
    """Holds a value under a name; replaces the one before."""
    if not name or "/" in name or name.startswith("."):
        raise InvalidConfig(f"`{name}` is not a secret's name")
    if len(value) > LARGEST:
        raise InvalidConfig(f"a secret of {len(value)} bytes is above 1 MiB", subject=f"secret {name}")
    root = store.root
    with _turn:
        if not os.path.exists(key_path(root)):
            _make_key(root)
        if not _is_mounted(root):
            guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
            held = mounts.new_memory({"mode": "700", "size": "64m"}, guard)
            try:
                mounts.move_mount(held, AT_FDCWD, root.secrets)
            finally:
                os.close(held)
        aside = f"{root.secrets}/.{name}.{os.getpid()}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o400)
        with open(descriptor, "wb") as file:
            file.write(value)
        os.rename(aside, f"{root.secrets}/{name}")
        secret: Secret = {
            "name": name,
            "fingerprint": fingerprint(root, value),
            "labels": labels,
            "created": created,
            "available": True,
        }
        store.insert_secret(secret)


def remove(store: Store, name: str) -> None:
    """Forgets a secret, and unmounts the tmpfs after the last."""
    root = store.root
    with _turn:
        store.secret(name)
        store.delete_secret(name)
        try:
            os.unlink(f"{root.secrets}/{name}")
        except FileNotFoundError:
            pass
        if not store.secrets() and _is_mounted(root):
            mounts.umount(root.secrets)


def sweep(store: Store) -> None:
    """Removes values that nobody knows of: of a supervisor that was killed before it had noted one, or forgotten it."""
    root = store.root
    with _turn:
        if not _is_mounted(root):
            return
        known = {secret["name"] for secret in store.secrets()}
        for name in os.listdir(root.secrets):
            if name not in known:
                os.unlink(f"{root.secrets}/{name}")
        if not known:
            mounts.umount(root.secrets)
