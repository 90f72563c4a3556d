"""Folders that outlive RUN steps: package downloads and compiler caches, shared by all builds of an engine root."""

from __future__ import annotations

import fcntl
import os
import posixpath

from stackpy_runtime.build.digests import sha256_hex
from stackpy_runtime.errors import EngineError
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from stackpy_runtime.store.root import Root

    Fill = Callable[[str], None]


class Cache(NamedTuple):
    """A cache that a step wants.

    identity: what steps that share it agree on; that of a folder is its absolute path
    sharing: "locked", one step after the other; "shared", several at once; "private", one of its own for each of
        several at once
    mode, owner: of its folder when it is new
    origin: identity of what it begins with, a part of its own; "" is empty
    fill: puts that into its new folder
    """

    identity: str
    sharing: Literal["shared", "private", "locked"] = "locked"
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)
    origin: str = ""
    fill: Fill | None = None


def folder(root: Root, identity: str, origin: str = "", number: int = 0) -> str:
    """Where a cache lies: its name says what it is, and its hash that no two share one.

    number: which of those that steps with a private one have at the same time
    """
    clean = _clean(identity)
    plain = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._" else "-" for letter in clean)
    distinct = sha256_hex(f"{clean}\0{origin}".rstrip("\0").encode("utf-8", "surrogateescape"))[:12]
    path = f"{root.path}/cache/mounts/{plain.strip('-.')[:80]}-{distinct}"
    return f"{path}-{number}" if number else path


class using:
    """Makes the folders of these caches and holds them, so that nothing removes one under a running step.

    apt refuses a folder whose lock another holds, and a build that fails by chance is worse than one that waits: hence
    "locked" is what `cache=` of the DSL means.

    waiting: takes a line for people when there is something to wait for
    Gives the folders, in the order of `caches`.
    """

    def __init__(self, root: Root, caches: list[Cache], waiting: Callable[[str], None]) -> None:
        self._root, self._caches, self._waiting = root, caches, waiting
        self._held: list[int] = []

    def __enter__(self) -> list[str]:
        found: dict[tuple[str, str], str] = {}
        try:
            # Sorted, so that two steps with caches in common do not wait for each other for ever; each once, since a
            # lock that the step has itself would be waited for.
            for cache in sorted(self._caches, key=lambda cache: (_clean(cache.identity), cache.origin)):
                key = (_clean(cache.identity), cache.origin)
                if key not in found:
                    found[key] = self._find(cache)
        except BaseException:
            self.__exit__()
            raise
        return [found[_clean(cache.identity), cache.origin] for cache in self._caches]

    def _find(self, cache: Cache) -> str:
        number = 0
        while True:
            path = folder(self._root, cache.identity, cache.origin, number)
            if self._hold(path, cache):
                return path
            if cache.sharing == "private" and os.path.isdir(path):
                number += 1

    def _hold(self, path: str, cache: Cache) -> bool:
        """Holds one folder; False where it was pruned before it was held, or is another's and was to be private."""
        self._make(path, cache)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._held.append(descriptor)
        if not self._take(descriptor, cache) or not _is_there(path, descriptor):
            os.close(self._held.pop())
            return False
        os.utime(descriptor)  # what was used last is pruned last
        return True

    def _take(self, descriptor: int, cache: Cache) -> bool:
        kind = fcntl.LOCK_SH if cache.sharing == "shared" else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if cache.sharing == "private":
                return False
            self._waiting(f"waiting for another step that uses the cache {cache.identity}\n")
            fcntl.flock(descriptor, kind)
        return True

    def _make(self, path: str, cache: Cache) -> None:
        """Makes the folder where there is none; what it begins with is in it when it gets its name."""
        for made in (f"{self._root.path}/cache", f"{self._root.path}/cache/mounts"):
            _make_folder(made, 0o700)
        if cache.fill is None:
            if _make_folder(path, cache.mode):
                os.chown(path, *cache.owner)
            return
        if os.path.isdir(path):
            return
        from stackpy_runtime.store import layers

        staged = layers.reserve(self._root)
        try:
            os.mkdir(f"{staged}/cache", 0o755)
            cache.fill(f"{staged}/cache")
            try:
                os.rename(f"{staged}/cache", path)
            except OSError as error:
                if not os.path.isdir(path):  # somebody was faster
                    raise EngineError(f"cannot make the cache {cache.identity}: {error.strerror}") from None
        finally:
            layers.discard(self._root, staged)

    def __exit__(self, *exception: object) -> None:
        for descriptor in self._held:
            # Not close alone: the step's processes were forked from us, and one may have kept the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
        self._held = []


def _is_there(path: str, descriptor: int) -> bool:
    mine = os.fstat(descriptor)
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _clean(identity: str) -> str:
    """A path in normal form; POSIX lets two slashes at the beginning mean something else, and normpath keeps them."""
    return posixpath.normpath(f"/{identity.lstrip('/')}") if identity.startswith("/") else identity


def _make_folder(path: str, mode: int) -> bool:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return False
    os.chmod(path, mode)
    return True
