"""What is known of secrets without their values: whether the engine holds one, and the HMAC that shows a change.

Apart from secret_values.py, which mounts and writes: `plan` asks this on every save.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root


def key_path(root: Root) -> str:
    """The file with the engine root's own key."""
    return f"{root.path}/secret.key"


def fingerprint(root: Root, value: bytes) -> str:
    """The keyed HMAC of a value; "" where this root has no key, and so no secret, yet."""
    import hashlib
    import hmac

    try:
        with open(key_path(root), "rb") as file:
            key = file.read()
    except FileNotFoundError:
        return ""
    return hmac.new(key, value, hashlib.sha256).hexdigest()


def available(root: Root, name: str) -> bool:
    """Whether the value is held."""
    return os.path.exists(f"{root.secrets}/{name}")
