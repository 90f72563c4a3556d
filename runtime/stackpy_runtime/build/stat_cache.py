"""What is known of files from the last time they were read: path and stat → SHA-256 of the content.

A compact file per context, written aside and renamed: `marshal` needs no import, loads 50,000 entries in 10 ms and is
read from the engine root only, where nobody but the engine writes. SQLite was measured slower for what is always read
whole, and costs its import.

The racy-mtime problem (git's racy-git.txt): a file that changes twice within one tick of the file system's clock looks
unchanged the second time. So what was changed less than a tick before it was read is not remembered.
"""

from __future__ import annotations

import os
import time

from stackpy_runtime.build.digests import file_sha256, sha256_hex

_MAGIC = b"stackpy stat cache 1\n"

# A tick of the kernel's coarse clock is at most 10 ms (CONFIG_HZ=100). Times in whole seconds betray a file system that
# keeps no more than that (two seconds on FAT, and NFS servers of the kind).
_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_500_000_000

# Entries that a run does not touch belong to other steps or to files that are gone; beyond this many they are dropped.
_UNTOUCHED = 10_000

Key = tuple[int, int, int, int, int]


def stat_key(status: os.stat_result) -> Key:
    """What must be equal for a file to be taken as unchanged: size, mtime, ctime, inode, device."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


class StatCache:
    """Content hashes of the files of one context.

    path: the cache's file, or "" to remember nothing beyond this object
    reads: how many files were read because nothing was known of them
    writes: whether anything is saved at all; a process that only plans says no
    """

    writes = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, tuple[Key, str]] = {}
        self._verdicts: dict[str, dict[str, bool]] = {}
        self._seen: dict[str, tuple[Key, str]] = {}
        self._changed = False
        self.reads = 0
        if path:
            self._load()

    @classmethod
    def of(cls, root: str, name: str) -> StatCache:
        """The cache of `name` (a context folder, an archive) in an engine root, which may be absent or read-only."""
        if not root or not os.path.isdir(root):
            return cls("")
        return cls(f"{root}/cache/stat/{sha256_hex(os.fsencode(name))[:32]}")

    def _load(self) -> None:
        import binascii
        import marshal

        try:
            with open(self._path, "rb") as file:
                data = file.read()
            head, body = data[: len(_MAGIC) + 4], data[len(_MAGIC) + 4 :]
            if head == _MAGIC + binascii.crc32(body).to_bytes(4, "big"):
                self._known, self._verdicts = marshal.loads(body)  # noqa: S302 - only root writes it
        except (OSError, ValueError, EOFError, TypeError):
            # Nothing known is always right; it is only slower.
            self._known, self._verdicts = {}, {}

    def sha256(self, path: str, status: os.stat_result, name: str = "", folder: int | None = None) -> str:
        """The SHA-256 of the regular file known as `path`, in hexadecimal, read only when `status` is not known.

        name, folder: where to open it, beneath a descriptor; `path` itself when they are left out
        Raises OSError as open(2) does, and where the file has become a link.
        """
        key = stat_key(status)
        known = self._known.get(path)
        if known is not None and known[0] == key:
            self._seen[path] = known
            return known[1]
        started = time.time_ns()
        self.reads += 1
        digest, after = file_sha256(name or path, folder)
        # Only ctime: the kernel sets it at every change, while anybody may set mtime to next year.
        changed = after.st_ctime_ns
        tick = _COARSE_TICK_NS if changed % 1_000_000_000 == 0 else _TICK_NS
        if stat_key(after) == key and changed + tick < started:
            self._seen[path] = (key, digest)
            self._changed = True
        return digest

    def verdicts(self, rules: str) -> dict[str, bool]:
        """Which paths the ignore rules with this hash exclude, as far as it is known; fill in what is not.

        Matching costs an import of 25 ms, and paths rarely change.
        """
        return self._verdicts.setdefault(rules, {})

    def learnt(self) -> None:
        """Says that verdicts were filled in."""
        self._changed = True

    def save(self) -> None:
        """Writes the cache aside and renames it, when there is something new and the engine root can be written."""
        if not self._path or not self._changed or not StatCache.writes:
            return
        import binascii
        import marshal

        untouched = {path: entry for path, entry in self._known.items() if path not in self._seen}
        kept = {**untouched, **self._seen} if len(untouched) <= _UNTOUCHED + len(self._seen) else self._seen
        verdicts = dict(list(self._verdicts.items())[-8:])
        body = marshal.dumps((kept, verdicts))
        folder = os.path.dirname(self._path)
        aside = f"{self._path}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            for made in (os.path.dirname(folder), folder):
                if not os.path.isdir(made):
                    os.mkdir(made, 0o700)
            with open(aside, "xb", opener=_private) as file:
                file.write(_MAGIC + binascii.crc32(body).to_bytes(4, "big") + body)
            os.replace(aside, self._path)
        except OSError:
            # A root that cannot be written (another user's, a full disk) costs time, not the plan.
            try:
                os.unlink(aside)
            except OSError:
                pass
            return
        self._known, self._changed = kept, False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
