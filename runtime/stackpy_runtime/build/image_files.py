"""What a COPY takes from a stage or an image: as from a context, but in a tree that is an image's.

Links in it are the image's: they are resolved as if it were the root, so that none of them leads to the host. What is
in layers does not change, so that nothing is hashed.
"""

from __future__ import annotations

import os
import posixpath
import stat

from stackpy_runtime.build.context import Context, Item
from stackpy_runtime.build.stat_cache import StatCache
from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux.files import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.build.merged import Merged

_MOST_LINKS = 40  # as path_resolution(7)


class ImageFiles(Context):
    """The files of an image's merged tree, which the caller holds open. Close it.

    name: of the stage or image, for messages
    """

    def __init__(self, tree: Merged, name: str) -> None:
        self.path = name
        # The descriptor of a mount is one that cannot be read.
        self.descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree.root)
        self.cache = StatCache("")
        self._ignore = None

    def close(self) -> None:
        """Closes the top folder; the tree is the caller's."""
        os.close(self.descriptor)

    def _shown(self) -> str:
        return f"`{self.path}`"

    def _names(self, folder: str) -> list[str]:
        try:
            opened = open_in_root(self.descriptor, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        except KernelError:
            return []
        try:
            return sorted(os.listdir(opened))
        finally:
            os.close(opened)

    def _there(self, name: str) -> bool:
        try:
            os.close(open_in_root(self.descriptor, name, os.O_PATH | os.O_NOFOLLOW))
        except KernelError:
            return False
        return True

    def _real(self, name: str) -> str | None:
        """The path of a file in the image as the kernel walks it, with the image as the root."""
        done: list[str] = []
        left = [part for part in reversed(name.split("/")) if part not in ("", ".")]
        links = _MOST_LINKS
        while left:
            part = left.pop()
            if part == "..":
                done = done[:-1]
                continue
            target = self._link("/".join([*done, part]))
            if target is None:
                done.append(part)
                continue
            links -= 1
            if links < 0:
                return name  # a loop, which cannot be opened either
            if target.startswith("/"):
                done = []
            left += [each for each in reversed(target.split("/")) if each not in ("", ".")]
        return "/".join(done) or "."

    def _link(self, path: str) -> str | None:
        """What a link says; None for what is none, or is not there."""
        try:
            opened = open_in_root(self.descriptor, path, os.O_PATH | os.O_NOFOLLOW)
        except KernelError:
            return None
        try:
            if not stat.S_ISLNK(os.fstat(opened).st_mode):
                return None
            return os.readlink("", dir_fd=opened)
        finally:
            os.close(opened)

    def _item(self, folder: int, base: str, name: str, real: str, place: str, status: os.stat_result) -> Item | None:
        mode = status.st_mode
        if stat.S_ISLNK(mode):
            return Item(name, real, place, "link", 0, os.readlink(base, dir_fd=folder))
        if stat.S_ISSOCK(mode):
            return None
        return Item(name, real, place, "file" if stat.S_ISREG(mode) else "node", stat.S_IMODE(mode), "")


def basename(source: str) -> str:
    """The name that a source's copy gets in a folder."""
    return posixpath.basename(source.rstrip("/"))
