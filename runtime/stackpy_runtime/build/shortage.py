"""A build that finds the disk full: it takes its own rubbish away, and says what could be pruned."""

from __future__ import annotations

from stackpy_runtime.errors import EngineError, ProcessFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.store import Store

# As strerror(3) words ENOSPC and EDQUOT, in whichever process; and as the index says it.
_WORDS = ("no space left on", "disk quota exceeded")


class explained:
    """Around a build: a failure for want of space is raised with a hint that says what would help."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not _for_want_of_space(error):
            return
        if isinstance(error, EngineError):
            error.hint = _advice(self._store)
        elif isinstance(error, OSError):
            reason = (error.strerror or "").lower()
            raise EngineError(f"the build cannot go on: {reason}", hint=_advice(self._store)) from error


def _for_want_of_space(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (28, 122):  # ENOSPC, EDQUOT
        return True
    text = f"{error}\n{error.output if isinstance(error, ProcessFailed) else ''}".lower()
    return isinstance(error, EngineError) and any(words in text for words in _WORDS)


def _advice(store: Store) -> str:
    """What pruning would free; what crashes have left is removed at once."""
    # Only a build that has failed needs these.
    from stackpy_runtime.image.limits import size_text
    from stackpy_runtime.store import garbage, pruning, usage

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
