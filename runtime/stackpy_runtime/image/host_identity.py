"""The identity of a host base, and how planning knows it without gathering the tree again."""

from __future__ import annotations

import binascii
import marshal
import os
import time

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

    from stackpy_runtime.image.gathering import Tree

_MAGIC = b"stackpy host base 1\n"


def identity(names: list[str], root: str) -> dict[str, str]:
    """What a host base is made of, by program: a hash over paths, modes, sizes and times of what it brings.

    names: programs, as host_base.plan takes them
    root: the engine root, where what is known of an unchanged host is kept, so that planning costs a stat per file
    Raises as host_base.plan does.
    """
    wanted = list(dict.fromkeys(names))
    try:
        # PATH decides, so what it decides is part of what must be unchanged.
        found = [programs.find(name) for name in wanted]
    except InvalidConfig:
        _gather(wanted)  # names all that is wrong
        raise
    path = _cache_file(root, wanted, found)
    known = _load(path)
    if known is not None:
        return known
    tree = _gather(wanted)
    inputs = _hashes(tree)
    _save(path, root, inputs, tree)
    return inputs


def _gather(names: list[str]) -> Tree:
    # Not needed for a host that has not changed, which is nearly always.
    from stackpy_runtime.image import host_base

    return host_base.plan(names)


def _hashes(tree: Tree) -> dict[str, str]:
    """A hash for each program, over what it was the first to bring. Compiled modules follow from their sources."""
    from hashlib import sha256

    digests: dict[str, _Hash] = {}
    for path in sorted(tree.entries):
        entry = tree.entries[path]
        if "/__pycache__" in path:
            continue
        facts = (entry.path, entry.kind, entry.mode, entry.content, entry.size, entry.mtime_ns)
        digests.setdefault(entry.owner or "/", sha256()).update(repr(facts).encode("utf-8", "surrogateescape"))
    return {owner: digest.hexdigest() for owner, digest in sorted(digests.items())}


# --- the cache ------------------------------------------------------------------------------------------------------


def _cache_file(root: str, names: list[str], found: list[str]) -> str:
    """The cache's file; "" for an engine root that is not there."""
    if not root or not os.path.isdir(root):
        return ""
    text = repr((names, found)).encode("utf-8", "surrogateescape")
    # Two checksums make a name; a collision costs a miss, since what is inside names the programs again.
    return f"{root}/cache/host/{binascii.crc32(text):08x}{binascii.crc32(text[::-1]):08x}"


def _key(status: os.stat_result) -> tuple[int, int, int, int, int]:
    # Of a folder only its own changes count, not the size that its file system gives it.
    return status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _load(path: str) -> dict[str, str] | None:
    """What was known, when nothing that it was made of has changed."""
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            data = file.read()
        head, body = data[: len(_MAGIC) + 4], data[len(_MAGIC) + 4 :]
        if head != _MAGIC + binascii.crc32(body).to_bytes(4, "big"):
            return None
        inputs, watched = marshal.loads(body)  # noqa: S302 - only root writes it
        lstat = os.lstat
        for name, key in watched:
            if _key(lstat(name)) != key:
                return None
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return dict(inputs)


def _save(path: str, root: str, inputs: dict[str, str], tree: Tree) -> None:
    if not path:
        return
    watched = [(name, _key(status)) for name, status in tree.watched.items() if _counts(name, status)]
    watched += [(name, _key(os.lstat(name))) for name in ("/etc/ld.so.cache",) if os.path.exists(name)]
    body = marshal.dumps((inputs, watched))
    aside = f"{path}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        for folder in (f"{root}/cache", f"{root}/cache/host"):
            if not os.path.isdir(folder):
                os.mkdir(folder, 0o700)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(_MAGIC + binascii.crc32(body).to_bytes(4, "big") + body)
        os.replace(aside, path)
    except OSError:
        # A root that cannot be written costs time at the next plan.
        try:
            os.unlink(aside)
        except OSError:
            pass


def _counts(name: str, status: os.stat_result) -> bool:
    """Whether a change may change the base: a library's folders, by new modules; never busy ones such as /usr/bin."""
    if "__pycache__" in name:
        return False
    return not os.path.isdir(name) or "/lib/python" in name
