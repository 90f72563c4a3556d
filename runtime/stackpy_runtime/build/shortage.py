"""A build that finds the disk full: it takes its own rubbish away, and says what could be pruned."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stackpy_runtime.errors import EngineError, ProcessFailed
from stackpy_runtime.image.limits import size_text
from stackpy_runtime.store import garbage, pruning, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy_runtime.store.store import Store

# As strerror(3) words ENOSPC and EDQUOT, in whichever process; and as the index says it.
_WORDS = ("no space left on", "disk quota exceeded")


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Around a build: a failure for want of space is raised with a hint that says what would help."""
    try:
        yield
    except EngineError as error:
        if _for_want_of_space(error):
            error.hint = _advice(store)
        raise
    except OSError as error:
        if not _for_want_of_space(error):
            raise
        raise EngineError(f"the build cannot go on: {(error.strerror or '').lower()}", hint=_advice(store)) from error


def _for_want_of_space(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = f"{error}\n{error.output if isinstance(error, ProcessFailed) else ''}".lower()
    return any(words in text for words in _WORDS)


def _advice(store: Store) -> str:
    """What pruning would free; what crashes have left is removed at once."""
    garbage.collect(store)
    spare = pruning.reclaimable(store)
    parts = [
        f"{size_text(size)} of {what}"
        for what, size in (("build cache", spare["cache"]), ("images that no container uses", spare["images"]))
        if size
    ]
    left = f"{size_text(usage.free(store.root.path))} are left on its file system"
    if not parts:
        return f"free some space for `{store.root.path}`: {left}, and there is nothing to prune"
    return f"`stackpy system prune -a` would remove {' and '.join(parts)}; {left}"
