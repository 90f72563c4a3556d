"""What an engine root takes of the disk: blocks, as du(1) counts them, each once."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

# To be measured is no use: what was accessed longest ago is pruned first.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC
_BLOCK = 512  # of st_blocks, whatever the file system's are (stat(2))
_USAGE = "trusted.stackpy.usage"

_Identity = tuple[int, int]


def allocated(path: str) -> int:
    """Bytes that a file or a tree takes, hard links once, as `du -s`; 0 where nothing is.

    A tree that somebody changes meanwhile is counted as it is met. One descriptor at a time, and no path, since a tree
    may be deeper than either allows.
    """
    try:
        status = os.stat(path, follow_symlinks=False)
        here = os.open(path, _FOLDER)
    except FileNotFoundError:
        return 0
    except NotADirectoryError:
        return status.st_blocks * _BLOCK
    seen: set[_Identity] = set()
    try:
        total, names = _count(here, seen)
        total += status.st_blocks * _BLOCK
        above: list[tuple[_Identity, list[str]]] = [(_identity(here), names)]
        while above:
            _, left = above[-1]
            if not left:
                above.pop()
                if not above:
                    break
                here = _exchange(here, "..")
                if _identity(here) != above[-1][0]:
                    break  # moved elsewhere under us: what is around it now is not ours to count
                continue
            try:
                here = _exchange(here, left.pop())
            except (FileNotFoundError, NotADirectoryError):
                continue
            counted, names = _count(here, seen)
            total += counted
            above.append((_identity(here), names))
        return total
    finally:
        os.close(here)


def newest(path: str) -> float:
    """When the newest file beneath a folder was written, in seconds since the epoch; 0 where there is none."""
    latest = 0.0
    left = [path]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    latest = max(latest, entry.stat(follow_symlinks=False).st_mtime)
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue  # it has gone meanwhile, or its path is longer than a path may be
    return latest


def layer(root: Root, layer_id: str) -> int:
    """Bytes that a layer takes; counted when first asked for, then remembered, since no layer changes."""
    from stackpy_runtime.store import layers  # ctypes, and destroy measures containers alone

    home = layers.home(root, layer_id)
    try:
        return int(os.getxattr(home, _USAGE))
    except (OSError, ValueError):
        counted = sum(allocated(path) for path in layers.paths(root, layer_id))
    try:
        os.setxattr(home, _USAGE, str(counted).encode())
    except OSError:
        pass  # counted each time, then
    return counted


def free(path: str) -> int:
    """Bytes that are left to everybody on the file system of a path."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _exchange(descriptor: int, name: str) -> int:
    following = os.open(name, _FOLDER, dir_fd=descriptor)
    os.close(descriptor)
    return following


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _count(folder: int, seen: set[_Identity]) -> tuple[int, list[str]]:
    """Bytes of what is in one folder, and the names of the folders in it."""
    total, names = 0, []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * _BLOCK
    return total, names
