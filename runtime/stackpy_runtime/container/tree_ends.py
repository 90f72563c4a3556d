"""One end of a copy: a file or folder of this process's root, found once and acted on by its descriptors.

The process may be one of ours inside a container (container/visiting.py), whose root then is the container's: links are
followed as the kernel follows them there, but never a magic link of /proc, and nothing is copied out of or into a
kernel's own file system.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.container.copy_rules import CONTENT, End, Path
from stackpy_runtime.container.tree_writing import Extraction
from stackpy_runtime.errors import Conflict, InvalidConfig, KernelError, NotFound
from stackpy_runtime.image import layer_tar
from stackpy_runtime.linux import files
from stackpy_runtime.linux.libc import AT_FDCWD

if TYPE_CHECKING:
    from stackpy_runtime.container.copy_rules import Target
    from stackpy_runtime.container.tree_writing import Owners
    from stackpy_runtime.image.entries import Source
    from stackpy_runtime.image.layer_tar import Sink

_LINKS = 40  # MAXSYMLINKS of the kernel
_TRIES = 50  # of an entry that somebody exchanges meanwhile
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KERNELS = (files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC, 0x63677270, 0x27E0EB)  # and cgroup2's and cgroup's


class TreeEnd:
    """A path looked up. Its descriptors live as long as the process, or until `close`.

    follow: a link at its end is followed, not meant itself
    """

    def __init__(self, path: Path, shown: str, *, follow: bool) -> None:
        self.path, self.shown = path, shown
        self.parent = self.itself = -1  # the folder that it is in, and where it is a folder its own descriptor
        self.name = CONTENT
        self.kind = ""
        self._find(path.core, follow or path.folder)
        if self.kind and self.kind != "folder" and path.folder:
            raise Conflict(f"`{shown}` is not a folder")

    @property
    def end(self) -> End:
        """What was found, as data."""
        return End(self.shown, self.name, self.kind, self.parent >= 0 or self.itself >= 0)

    def close(self) -> None:
        """Closes its descriptors."""
        for descriptor in (self.parent, self.itself):
            if descriptor >= 0:
                os.close(descriptor)
        self.parent = self.itself = -1

    def _find(self, core: str, follow: bool) -> None:
        for _ in range(_LINKS + _TRIES):
            folder, _, name = core.rpartition("/")
            if name in ("", ".", ".."):
                # The root, or a folder by way of another: it has no name to be called by.
                self.itself, self.kind = _opened(core or "."), "folder"
                return
            if not self._find_in(folder or ("/" if core.startswith("/") else "."), name):
                return
            if self.kind != "link" or not follow:
                return
            try:
                link = os.readlink(self.name, dir_fd=self.parent)
            except OSError:
                continue  # exchanged since
            above = f"{folder}/" if folder or core.startswith("/") else ""
            core = link.rstrip("/") or "/"
            if not link.startswith("/"):
                core = above + core
        raise Conflict(f"`{self.shown}` leads through too many links")

    def _find_in(self, folder: str, name: str) -> bool:
        """Looks a name up in a folder; False where there is no such folder or nothing of that name."""
        self.close()
        self.name, self.kind = name, ""
        try:
            self.parent = _opened(folder)
        except NotFound:
            return False
        for _ in range(_TRIES):
            try:
                status = os.stat(name, dir_fd=self.parent, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    self.itself, self.kind = os.open(name, _FOLDER, dir_fd=self.parent), "folder"
                    _refuse_kernels(self.itself, self.shown)
                else:
                    self.kind = "link" if stat.S_ISLNK(status.st_mode) else "file"
                    if stat.S_ISSOCK(status.st_mode):
                        self.kind = "socket"
            except FileNotFoundError:
                return False
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    continue  # exchanged since it was looked at
                raise
            return True
        raise Conflict(f"`{self.shown}` changes all the time")

    def pack(self, out: Sink, called: str) -> None:
        """Writes it as a tar whose entries begin with `called`, "." for what is in a folder."""
        if self.kind == "socket":
            raise InvalidConfig(f"`{self.shown}` is a socket, which cannot be copied")
        whole = called == CONTENT or self.parent < 0
        folder, name = (self.itself, ".") if whole else (self.parent, self.name)
        if not layer_tar.write_one(folder, name, out, called=called):
            raise NotFound(f"`{self.shown}` is gone")

    def extract(self, target: Target, source: Source, owners: Owners, *, strict: bool) -> list[str]:
        """Writes a tar's entries where they go; returns what has no place there, for people.

        strict: no link is followed on the way to an entry
        """
        top = self.itself if target.into == "itself" else self.parent
        return Extraction(top, owners, strict=strict, old=target.old, new=target.new).take(source)


def _opened(folder: str) -> int:
    """A folder by its path, links followed; raises NotFound where there is none."""
    try:
        descriptor = files.openat2(AT_FDCWD, folder, os.O_RDONLY | os.O_DIRECTORY, 0, files.RESOLVE_NO_MAGICLINKS)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"there is no folder `{folder}`") from None
        reason = "a link of /proc" if error.errno == errno.ELOOP else os.strerror(error.errno or 0).lower()
        raise Conflict(f"`{folder}` cannot be opened: {reason}") from None
    _refuse_kernels(descriptor, folder)
    return descriptor


def _refuse_kernels(descriptor: int, shown: str) -> None:
    """Writing into a setting of the kernel, by way of a link, would be as good as running there."""
    if files.file_system_type(descriptor) in _KERNELS:
        os.close(descriptor)
        raise InvalidConfig(f"`{shown}` lies in a file system of the kernel, which is not copied")
