"""Keeping the build cache within its size, after each build: most find that it is not time yet."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.store import Store


def trim(store: Store, keep: int, *, every: float = 0.0) -> int:
    """The size policy of the build cache; returns the bytes freed.

    keep: bytes that may stay
    every: seconds within which nothing is done again, since measuring takes time
    """
    root = store.root
    stamp = f"{root.path}/cache/trimmed"
    try:
        if 0 <= time.time() - os.stat(stamp).st_mtime < every:  # below zero where the clock was set back
            return 0
    except FileNotFoundError:
        pass  # never done
    os.makedirs(os.path.dirname(stamp), mode=0o700, exist_ok=True)
    os.close(os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    os.utime(stamp)
    from stackpy_runtime.store import pruning

    return sum(entry.size for entry in pruning.cache(store, keep=keep))
