"""Folders that outlive RUN steps: package downloads and compiler caches, shared by all builds of an engine root."""

from __future__ import annotations

import fcntl
import os
import posixpath

from stackpy_runtime.build.digests import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.store.root import Root


def folder(root: Root, target: str) -> str:
    """Where the cache for `target` lies: its name says what it is, and its hash that two targets never share one."""
    clean = _clean(target)
    plain = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._" else "-" for letter in clean)
    distinct = sha256_hex(clean.encode("utf-8", "surrogateescape"))[:12]
    return f"{root.path}/cache/mounts/{plain.strip('-.')[:80]}-{distinct}"


class using:
    """Makes the folders of these caches and holds them, so that nothing removes one under a running step.

    One step at a time, as BuildKit's `sharing=locked`: apt refuses a folder whose lock another holds, and a build that
    fails by chance is worse than one that waits.

    waiting: takes a line for people when there is something to wait for
    Gives (folder, target) pairs.
    """

    def __init__(self, root: Root, targets: list[str], waiting: Callable[[str], None]) -> None:
        self._root, self._targets, self._waiting = root, targets, waiting
        self._held: list[int] = []

    def __enter__(self) -> list[tuple[str, str]]:
        # Sorted, so that two steps with caches in common do not wait for each other for ever.
        targets = sorted({_clean(target) for target in self._targets})
        pairs = [(folder(self._root, target), target) for target in targets]
        try:
            for path, target in pairs:
                while not self._hold(path, target):
                    pass
        except BaseException:
            self.__exit__()
            raise
        return pairs

    def _hold(self, path: str, target: str) -> bool:
        """Holds one folder; False where it was pruned before it was held."""
        _make(path, self._root)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._held.append(descriptor)
        self._take(descriptor, target)
        mine = os.fstat(descriptor)
        try:
            there = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            os.close(self._held.pop())
            return False
        os.utime(descriptor)  # what was used last is pruned last
        return True

    def _take(self, descriptor: int, target: str) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waiting(f"waiting for another step that uses the cache {target}\n")
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        for descriptor in self._held:
            # Not close alone: the step's processes were forked from us, and one may have kept the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
        self._held = []


def _clean(target: str) -> str:
    # POSIX lets two slashes at the beginning mean something else, and normpath keeps them.
    return posixpath.normpath(f"/{target.lstrip('/')}")


def _make(path: str, root: Root) -> None:
    for made, mode in ((f"{root.path}/cache", 0o700), (f"{root.path}/cache/mounts", 0o700), (path, 0o755)):
        try:
            os.mkdir(made, mode)
            os.chmod(made, mode)
        except FileExistsError:
            pass
