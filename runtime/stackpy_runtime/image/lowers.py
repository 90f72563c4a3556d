"""The layers beneath one that is being made, as overlayfs will show them.

A layer's tar says what is *changed*: an entry's parent folders may stand in lower layers only, a parent may be a link
there, and a hard link may lead to a file there. Nothing is opened by more than one name without RESOLVE_BENEATH and
NO_SYMLINKS; links are read, and resolved with the image's root for `/` and for every `..` too many.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from stackpy_runtime.image.limits import DEFAULT, bad
from stackpy_runtime.image.rules import CAPABILITY, Path, show
from stackpy_runtime.linux.files import open_beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPAQUE = "trusted.overlay.opaque"
READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAXIMUM_LINKS = 40  # path_resolution(7)
_MOST_STEPS = 1000


class Found(NamedTuple):
    """An entry that a container would see, and the layer that it is in: an index of the layers searched."""

    layer: int
    status: os.stat_result


def find(layers: Sequence[int], path: Path) -> Found | None:
    """The entry at a path without links, as overlayfs would show it; layers: descriptors, the uppermost first."""
    for layer, root in enumerate(layers):
        folder, hides_lower = os.dup(root), False
        try:
            for index, name in enumerate(path):
                found = status(folder, name)
                if found is None:
                    break
                if is_whiteout(found):
                    return None
                if index == len(path) - 1:
                    return Found(layer, found)
                if not stat.S_ISDIR(found.st_mode):
                    return None
                following = os.open(name, READ_FOLDER, dir_fd=folder)
                os.close(folder)
                folder = following
                hides_lower = hides_lower or is_opaque(folder)
        finally:
            os.close(folder)
        if hides_lower:
            return None
    return None


def resolve(path: Path, link_at: Callable[[Path], bytes | None]) -> Path:
    """The same folder without links on the way; what does not exist stays as it is.

    link_at: what the link at a path without links says; None for a folder, and for nothing. It refuses files.
    """
    done: list[bytes] = []
    left = list(reversed(path))
    links = steps = 0
    while left:
        name = left.pop()
        steps += 1
        # What links say was checked by nobody, and it becomes the names of folders that are made.
        if len(name) > DEFAULT.name or len(done) == DEFAULT.depth or steps > _MOST_STEPS:
            bad(f"`{show(path)}` is behind a link to a place that cannot be")
        if name == b"..":
            del done[-1:]
            continue
        target = link_at((*done, name))
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > _MAXIMUM_LINKS:
            bad(f"`{show(path)}` is behind too many links")
        if target.startswith(b"/"):
            done.clear()
        left.extend(part for part in reversed(target.split(b"/")) if part not in (b"", b"."))
    return tuple(done)


def link_of(layers: Sequence[int], found: Found | None, here: Path, wanted: Path) -> bytes | None:
    """What the link that was found at `here`, on the way of `wanted`, says; None for a folder and for nothing."""
    if found is None or stat.S_ISDIR(found.status.st_mode):
        return None
    if not stat.S_ISLNK(found.status.st_mode):
        no_folder(wanted, here)
    return read_link(layers[found.layer], here)


def no_folder(path: Path, here: Path) -> NoReturn:
    """Refuses a path that goes through a file."""
    bad(f"`{show(path)}` is no folder: `{show(here)}` is a file")


def no_target(path: Path) -> NoReturn:
    """Refuses a hard link to nothing."""
    bad(f"it has a hard link to `{show(path)}`, which is not there")


def read_link(layer: int, path: Path) -> bytes:
    """What the link at a path of one layer says."""
    folder = open_beneath(layer, b"/".join(path[:-1]) or b".", READ_FOLDER)
    try:
        return os.readlink(path[-1], dir_fd=folder)
    finally:
        os.close(folder)


def inherited(descriptor: int) -> dict[bytes, bytes]:
    """The extended attributes of a lower file or folder that come along when it is copied up.

    Overlayfs's own marks belong to the place, not to the file; labels of security modules are the host's.
    """
    names = [os.fsencode(name) for name in os.listxattr(descriptor)]
    return {
        name: os.getxattr(descriptor, name)
        for name in names
        if name == CAPABILITY or name.startswith((b"user.", b"system.posix_acl_"))
    }


def status(folder: int, name: bytes) -> os.stat_result | None:
    """Of an entry of a folder itself; None where there is none."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs's mark for a removed entry."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(folder: int) -> bool:
    """Whether a folder hides what lower layers have in it."""
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError:
        return False


def possible_time(time_ns: int) -> int:
    """The nearest time that utimensat(2) takes: 64 bits of nanoseconds end in 2262, and that refuses no file."""
    return max(0, min(time_ns, (1 << 63) - 1))
