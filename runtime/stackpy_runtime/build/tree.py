"""Writing into an image's tree beneath its root's descriptor, at places that the image decides.

Whatever a path goes through in the image (an absolute link, `..`, a loop) is resolved by the kernel with the image as
the root. Nobody else writes to the tree meanwhile, so a lookup stays true until it is used.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from stackpy_runtime.errors import InvalidConfig, KernelError
from stackpy_runtime.linux.files import open_in_root
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Node(Protocol):
        """What a stat result says of a pipe or a device."""

        @property
        def st_mode(self) -> int:
            """Its kind."""

        @property
        def st_rdev(self) -> int:
            """Its number."""

        @property
        def st_mtime_ns(self) -> int:
            """When it was changed."""


_FOLDER = os.O_PATH | os.O_DIRECTORY
_MOST_LINKS = 40  # as path_resolution(7)


class Owner(NamedTuple):
    """Plain IDs as they stand on disk."""

    user: int
    group: int


ROOT_OWNER = Owner(0, 0)


def open_folder(root: int, path: str) -> int | None:
    """A descriptor (O_PATH) of the folder at `path`, links followed; None when nothing is there.

    Raises InvalidConfig when it is no folder, or cannot be resolved.
    """
    try:
        return open_in_root(root, path, _FOLDER)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise _unusable(path, error) from None


def _unusable(path: str, error: KernelError) -> InvalidConfig:
    reasons = {
        errno.ENOTDIR: "it is no folder, or goes through something that is none",
        errno.ELOOP: "its links lead in a circle",
        errno.ENAMETOOLONG: "a name in it is too long",
    }
    return InvalidConfig(f"`{path}` cannot be used in the image: {reasons.get(error.errno or 0, error.message)}")


def make_folders(
    root: int, path: str, owner: Owner = ROOT_OWNER, last_mode: int = 0o755, links: int = _MOST_LINKS
) -> tuple[int, bool]:
    """Makes the folder at `path` and its parents where they are missing; what is there stays as it is.

    Returns a descriptor (O_PATH) of the last, and whether that one was made, with `last_mode`. Parents get 0755.
    A link to nothing on the way gets the folder that it names.
    """
    walked = ""
    current = os.dup(root)
    made = False
    parts = [part for part in path.split("/") if part not in ("", ".")]
    try:
        for index, part in enumerate(parts):
            walked = f"{walked}/{part}"
            following = open_folder(root, walked)
            made = following is None
            if following is None:
                mode = last_mode if index == len(parts) - 1 else 0o755
                following = _make_one(root, current, walked, owner, mode, links)
            os.close(current)
            current = following
        return current, made
    except BaseException:
        os.close(current)
        raise


def _make_one(root: int, parent: int, walked: str, owner: Owner, mode: int, links: int) -> int:
    name = posixpath.basename(walked)
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        # What is there and cannot be opened as a folder is a link to nothing. Its target is not normalised: `..` after
        # a link goes to the parent of what the link names, which the kernel knows.
        if not links:
            raise InvalidConfig(f"`{walked}` cannot be made in the image: its links lead in a circle") from None
        target = posixpath.join(posixpath.dirname(walked), os.readlink(name, dir_fd=parent))
        return make_folders(root, target, owner, mode, links - 1)[0]
    except OSError as error:
        raise InvalidConfig(f"`{walked}` cannot be made in the image: {_reason(error)}") from None
    made = open_in_root(root, walked, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fchown(made, *owner)
        # mkdir's mode went through the umask, and chown takes bits away.
        os.fchmod(made, mode)
    finally:
        os.close(made)
    return open_in_root(root, walked, _FOLDER)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def locate(root: int, path: str) -> tuple[int, str]:
    """Where a file written to `path` comes to lie: a descriptor of its folder, and its name there.

    A link in the place of the file is followed, as writing to it would; the folder must be there. Raises InvalidConfig.
    """
    for _ in range(_MOST_LINKS):
        parent, name = posixpath.split(path.rstrip("/"))
        folder = open_folder(root, parent or "/")
        if folder is None:
            raise InvalidConfig(f"`{path}` cannot be written in the image: `{parent}` is not there")
        if name in ("", ".", ".."):
            os.close(folder)
            break
        try:
            target = os.readlink(name, dir_fd=folder)
        except OSError:
            return folder, name
        os.close(folder)
        # Not normalised: `..` after a link goes to the parent of what the link names, which the kernel knows.
        path = posixpath.join(parent, target)
    raise InvalidConfig(f"`{path}` cannot be written in the image: it names no file, or its links lead in a circle")


def is_folder(root: int, path: str) -> bool:
    """Whether there is a folder at `path`, links followed."""
    try:
        descriptor = open_in_root(root, path, _FOLDER)
    except KernelError:
        return False
    os.close(descriptor)
    return True


def create(folder: int, name: str, mode: int = 0o600) -> int:
    """A descriptor of a new, empty file; replaces a file or a link of that name, never a folder.

    mode: what of it the umask allows, without set-id bits; `finish` gives the rest
    """
    mode &= 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, mode, dir_fd=folder)
    except FileExistsError:
        _unlink(folder, name)
        return os.open(name, flags, mode, dir_fd=folder)


def link(folder: int, name: str, target: str, owner: Owner) -> None:
    """A symbolic link; replaces a file or a link of that name, never a folder."""
    try:
        os.symlink(target, name, dir_fd=folder)
    except FileExistsError:
        _unlink(folder, name)
        os.symlink(target, name, dir_fd=folder)
    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)


def hard_link(from_folder: int, from_name: str, folder: int, name: str) -> None:
    """Another name of a file; replaces a file or a link of that name, never a folder."""
    try:
        os.link(from_name, name, src_dir_fd=from_folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        there = os.stat(from_name, dir_fd=from_folder, follow_symlinks=False)
        new = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (there.st_dev, there.st_ino) == (new.st_dev, new.st_ino):
            return
        _unlink(folder, name)
        os.link(from_name, name, src_dir_fd=from_folder, dst_dir_fd=folder, follow_symlinks=False)


def node(folder: int, name: str, like: Node, owner: Owner, mode: int) -> None:
    """A pipe or a device like another; replaces a file or a link of that name, never a folder."""
    if like.st_rdev == 0 and stat.S_ISCHR(like.st_mode):
        raise InvalidConfig(f"`{name}` is the device 0:0, by which overlayfs marks what is removed")
    kind = stat.S_IFMT(like.st_mode)
    try:
        os.mknod(name, kind | 0o600, like.st_rdev, dir_fd=folder)
    except FileExistsError:
        _unlink(folder, name)
        os.mknod(name, kind | 0o600, like.st_rdev, dir_fd=folder)
    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
    os.chmod(name, mode, dir_fd=folder)
    os.utime(name, ns=(like.st_mtime_ns, like.st_mtime_ns), dir_fd=folder, follow_symlinks=False)


def _unlink(folder: int, name: str) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise InvalidConfig(f"`{name}` is a folder in the image, and a file or link is copied to its place")
    os.unlink(name, dir_fd=folder)


def finish(descriptor: int, owner: Owner, mode: int, mtime_ns: int) -> None:
    """Owner, mode and time of what was written."""
    # Asking costs a tenth of setting, and most files are made as they shall be.
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != owner:
        os.fchown(descriptor, *owner)
    # After chown, which takes set-id bits away.
    if stat.S_IMODE(status.st_mode) != mode or mode & (stat.S_ISUID | stat.S_ISGID):
        os.fchmod(descriptor, mode)
    os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def read_text(root: int, path: str, limit: int = 1 << 20) -> str:
    """The text of a small file of the image; "" when there is none. Data only: nothing of the image is executed."""
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except KernelError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, limit).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
