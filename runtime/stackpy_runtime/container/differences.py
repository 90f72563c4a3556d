"""What a container has changed in its image's file system: its upper folder compared with what is beneath.

The upper folder holds what was written (overlayfs.rst): entries that are new or copied up, character devices 0:0 for
what is removed, opaque folders for those that were removed and made again. Both trees are walked side by side by
descriptors, one name at a time: the container may run.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.image.lowers import is_opaque, is_whiteout

if TYPE_CHECKING:
    from stackpy_runtime.model import Difference

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
# Deeper than any tree that unpacking takes; each level holds two descriptors.
_DEPTH = 300


def differences(upper: int, lower: int) -> list[Difference]:
    """Changes by path, a folder before what is in it: `A` added, `C` changed, `D` deleted, as `docker diff` has them.

    upper: descriptor of the container's upper folder; lower: of the merged layers, -1 where there are none

    A folder of which something has changed is changed; of what was removed or added with a folder, what was added is
    listed and what was removed is not.
    """
    found: list[Difference] = []
    _folder(upper, lower, "", found, 0)
    return found


def _folder(upper: int, lower: int, path: str, found: list[Difference], depth: int) -> None:
    names = set(os.listdir(upper))
    hidden = set(os.listdir(lower)) - names if lower >= 0 and is_opaque(upper) else set()
    for name in sorted(names | hidden):
        here = f"{path}/{name}"
        if name in hidden:
            found.append({"kind": "D", "path": here})
            continue
        above, below = _status(upper, name), _status(lower, name)
        if above is None:
            continue  # removed since its name was read
        if is_whiteout(above):
            if below is not None:
                found.append({"kind": "D", "path": here})
        elif stat.S_ISDIR(above.st_mode):
            _enter(upper, lower, name, here, found, depth, above, below)
        elif below is None:
            found.append({"kind": "A", "path": here})
        elif not (_same(above, below) and _same_content(upper, lower, name, above)):
            found.append({"kind": "C", "path": here})


def _enter(
    upper: int,
    lower: int,
    name: str,
    here: str,
    found: list[Difference],
    depth: int,
    above: os.stat_result,
    below: os.stat_result | None,
) -> None:
    place = len(found)
    opened = beneath = -1
    try:
        if depth < _DEPTH:
            opened = os.open(name, _FOLDER, dir_fd=upper)
            if below is not None and stat.S_ISDIR(below.st_mode):
                beneath = os.open(name, _FOLDER, dir_fd=lower)
            _folder(opened, beneath, here, found, depth + 1)
    except (FileNotFoundError, NotADirectoryError):
        pass  # exchanged since
    finally:
        for descriptor in (opened, beneath):
            if descriptor >= 0:
                os.close(descriptor)
    if below is None:
        found.insert(place, {"kind": "A", "path": here})
    elif len(found) > place or not _same(above, below):
        found.insert(place, {"kind": "C", "path": here})


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    keys = ("st_mode", "st_uid", "st_gid", "st_rdev", "st_mtime_ns")
    if not all(getattr(one, key) == getattr(other, key) for key in keys):
        return False
    return stat.S_ISDIR(one.st_mode) or one.st_size == other.st_size


def _same_content(upper: int, lower: int, name: str, status: os.stat_result) -> bool:
    """Whether an entry was copied up and is as it was: opened for writing, or linked to, and no more."""
    opened: list[int] = []
    try:
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=upper) == os.readlink(name, dir_fd=lower)
        if not stat.S_ISREG(status.st_mode):
            return True
        for folder in (upper, lower):
            opened.append(os.open(name, _FILE, dir_fd=folder))  # noqa: PERF401 - closed below
        while True:
            one, other = (os.read(descriptor, _CHUNK) for descriptor in opened)
            if one != other:
                return False
            if not one:
                return True
    except OSError:
        return False  # exchanged since
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _status(folder: int, name: str) -> os.stat_result | None:
    if folder < 0:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
