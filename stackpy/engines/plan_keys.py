"""The key of fingerprints in saved plans: ROOT/stacks/plan-key, made by the first apply on the engine.

Not by a plan, which has no way to write; what a plan does without one is planning/fingerprints.py's business.
"""

from __future__ import annotations

import os

_BYTES = 32


def path(root: str) -> str:
    """Where the key is."""
    return os.path.join(root, "stacks", "plan-key")


def read(root: str) -> bytes:
    """The key; b"" where there is none, or for a user who may not read it."""
    try:
        with open(path(root), "rb") as file:
            key = file.read(_BYTES)
    except OSError:
        return b""
    return key if len(key) == _BYTES else b""


def ensure(root: str) -> None:
    """Makes the key where there is none; the folder exists, since a generation has just been kept in it."""
    if read(root):
        return
    aside = f"{path(root)}.{os.getpid()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(os.urandom(_BYTES))
        # two applies of different stacks may be here at once: the first one's stays
        os.link(aside, path(root))
    except FileExistsError:
        pass
    finally:
        os.unlink(aside)
