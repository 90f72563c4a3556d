"""Where build caches travel to and from, as users write it: a folder or a registry's reference."""

from __future__ import annotations

import os

_REGISTRY = "docker://"


def place(text: str, folder: str = "") -> str:
    """What the engine calls a place: an absolute folder, or docker://reference.

    folder: against which a relative path is resolved (the current one without it)
    """
    if is_reference(text):
        return reference(text)
    return os.path.abspath(os.path.join(folder, os.path.expanduser(text)))


def reference(text: str) -> str:
    """The same for what is known to be a reference."""
    return _REGISTRY + text.removeprefix(_REGISTRY)


def is_reference(text: str) -> bool:
    """Whether a text names a registry: `ghcr.io/me/cache`. A name alone, and whatever begins as a path, is a folder."""
    if text.startswith(_REGISTRY):
        return True
    first, slash, _ = text.partition("/")
    return bool(slash) and first.strip(".") != "" and ("." in first or ":" in first or first == "localhost")
