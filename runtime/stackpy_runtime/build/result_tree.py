"""The tree of an image that was built, for the host: as one tar, or written into a folder.

A folder of the host is no place for what an image may claim: files become those of whom the folder belongs to, as
BuildKit's client has them, set-id bits and capabilities are dropped, and devices left out. No link is followed, neither
of the image nor of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from stackpy_runtime.build.merged import Merged
from stackpy_runtime.build.tree import Owner
from stackpy_runtime.errors import Conflict, EngineError, Unsupported
from stackpy_runtime.image import epochs, layer_tar
from stackpy_runtime.image.limits import DEFAULT
from stackpy_runtime.linux.files import open_beneath, pour
from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import Image
    from stackpy_runtime.store.store import Store

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN_MODE = 0o1777  # without set-user-ID and set-group-ID


class LeftOut(NamedTuple):
    """What of a tree a folder did not get: paths of devices, and of files that lost their set-id bits."""

    devices: list[str]
    bits: list[str]


def write_tar(store: Store, image: Image, out: Sink) -> None:
    """Writes an image's tree as one tar, with its owners; times are clamped, as in layers (epochs.py)."""
    epoch = epochs.of_image(image)
    with _whole(store, image) as root:
        layer_tar.write(root, out, epoch=epoch, whiteouts=False)


def write_folder(store: Store, image: Image, path: str) -> LeftOut:
    """Writes an image's tree into the folder at `path`, which is made where it is not there; what else is in it stays.

    A file, or a link, of a name that the image has is replaced. Raises Conflict where a folder is in the place of a
    file, or something else in that of a folder; EngineError for what cannot be written.
    """
    epoch = epochs.given()
    try:
        with _whole(store, image) as source:
            target = _made(path)
            try:
                return _Writer(target, epoch).tree(source)
            finally:
                os.close(target)
    except OSError as error:
        if isinstance(error, EngineError):
            raise
        hint = "free some space and try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise EngineError(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}", hint=hint) from None


@contextmanager
def _whole(store: Store, image: Image) -> Iterator[int]:
    """A descriptor of an image's tree."""
    with layers.using(store.root):
        # An empty folder beneath: one layer alone would show its whiteouts as the devices that they are on disk.
        empty = layers.reserve(store.root)
        try:
            os.chmod(empty, 0o755)  # noqa: S103 — what the root of an image has
            with Merged([empty, *(layers.folder(store.root, layer) for layer in image["layers"])]) as view:
                # The view's own descriptor is only a path.
                root = os.open(".", _FOLDER, dir_fd=view.root)
                try:
                    yield root
                finally:
                    os.close(root)
        finally:
            layers.discard(store.root, empty)


def _made(path: str) -> int:
    """A descriptor of the folder at `path`; what is made of it belongs to the owner of what it is made in."""
    missing: list[str] = []
    above = os.path.abspath(path)
    while not os.path.lexists(above):
        above, name = os.path.split(above)
        missing.append(name)
    # Links in the path that the user gives are the user's own.
    current = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in reversed(missing):
        try:
            os.mkdir(name, 0o755, dir_fd=current)
            following = os.open(name, _FOLDER, dir_fd=current)
            status = os.fstat(current)
            os.fchown(following, status.st_uid, status.st_gid)
        finally:
            os.close(current)
        current = following
    return current


class _Writer:
    """One tree on its way into the folder of a descriptor.

    epoch: seconds since 1970; later times become this one; None: none does
    """

    def __init__(self, target: int, epoch: int | None) -> None:
        self._target = target
        status = os.fstat(target)
        self._owner = Owner(status.st_uid, status.st_gid)
        self._latest = None if epoch is None else epoch * 10**9
        self._left = LeftOut([], [])
        self._links: dict[tuple[int, int], str] = {}
        self._aside = f".stackpy-{os.urandom(6).hex()}"

    def tree(self, source: int) -> LeftOut:
        """Everything in a folder; two descriptors are open for each folder on the way down."""
        held: list[tuple[int, int, str, Iterator[str]]] = [(source, self._target, "", iter(sorted(os.listdir(source))))]
        try:
            while held:
                there, here, path, names = held[-1]
                name = next(names, None)
                if name is None:
                    held.pop()
                    if held:
                        self._leave(there, here, path)
                    continue
                below = f"{path}/{name}" if path else name
                entered = self._entry(there, here, name, below)
                if entered is not None:
                    held.append((*entered, below, iter(sorted(os.listdir(entered[0])))))
                    if len(held) > DEFAULT.depth:
                        raise Unsupported(f"`{below[:80]}…` is more than {DEFAULT.depth} folders deep")
        finally:
            for there, here, _, _ in held[1:]:
                os.close(there)
                os.close(here)
        return self._left

    def _entry(self, there: int, here: int, name: str, path: str) -> tuple[int, int] | None:
        """Writes one entry; the descriptors of a folder, there and here."""
        status = os.stat(name, dir_fd=there, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            return self._folder(there, here, name, path)
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            self._left.devices.append(f"/{path}")
        elif kind != stat.S_IFSOCK:
            aside = self._put(there, here, name, path, status)
            if aside:
                self._replace(here, aside, name, path)
        return None

    def _folder(self, there: int, here: int, name: str, path: str) -> tuple[int, int]:
        source = os.open(name, _FOLDER, dir_fd=there)
        try:
            try:
                os.mkdir(name, 0o700, dir_fd=here)
            except FileExistsError:
                pass
            try:
                return source, os.open(name, _FOLDER, dir_fd=here)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                raise Conflict(
                    f"`{path}` is no folder in the destination, and one in the image", hint="remove it there"
                ) from None
        except BaseException:
            os.close(source)
            raise

    def _leave(self, there: int, here: int, path: str) -> None:
        try:
            self._dress(there, here, os.fstat(there), path)
        finally:
            os.close(there)
            os.close(here)

    def _put(self, there: int, here: int, name: str, path: str, status: os.stat_result) -> str:
        """Makes an entry under its name; under another one, which is returned, where that is taken."""
        for given in (name, self._aside):
            try:
                self._make(there, here, name, given, path, status)
            except FileExistsError:
                if given == name:
                    continue
                raise
            return "" if given == name else given
        raise AssertionError("unreachable")

    def _make(self, there: int, here: int, name: str, given: str, path: str, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            if status.st_nlink < 2 or not self._linked(here, given, path, status):
                self._file(there, here, name, given, path)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=there), given, dir_fd=here)
        else:
            os.mkfifo(given, stat.S_IMODE(status.st_mode) & 0o777, dir_fd=here)
        os.chown(given, *self._owner, dir_fd=here, follow_symlinks=False)
        os.utime(given, ns=self._times(status), dir_fd=here, follow_symlinks=False)

    def _linked(self, here: int, given: str, path: str, status: os.stat_result) -> bool:
        """Makes the entry a further name of a file that was written; False where it is the first."""
        key = (status.st_dev, status.st_ino)
        first = self._links.get(key)
        if first is None:
            return False
        parent, _, last = first.rpartition("/")
        folder = open_beneath(self._target, parent or ".", _FOLDER)
        try:
            os.link(last, given, src_dir_fd=folder, dst_dir_fd=here, follow_symlinks=False)
        finally:
            os.close(folder)
        if status.st_mode & ~_PLAIN_MODE & 0o7000:
            self._left.bits.append(f"/{path}")
        return True

    def _file(self, there: int, here: int, name: str, given: str, path: str) -> None:
        reading = os.open(name, _FILE, dir_fd=there)
        try:
            status = os.fstat(reading)
            writing = os.open(given, _NEW, 0o600, dir_fd=here)
            try:
                pour(reading, writing)
                self._dress(reading, writing, status, path)
            except BaseException:
                os.unlink(given, dir_fd=here)
                raise
            finally:
                os.close(writing)
            if status.st_nlink > 1:
                self._links[status.st_dev, status.st_ino] = path
        finally:
            os.close(reading)

    def _replace(self, here: int, aside: str, name: str, path: str) -> None:
        try:
            os.rename(aside, name, src_dir_fd=here, dst_dir_fd=here)
        except IsADirectoryError:
            os.unlink(aside, dir_fd=here)
            hint = "remove it, or name another folder"
            raise Conflict(f"`{path}` is a folder in the destination, and none in the image", hint=hint) from None

    def _times(self, status: os.stat_result) -> tuple[int, int]:
        modified = status.st_mtime_ns
        latest = modified if self._latest is None else min(modified, self._latest)
        return latest, latest

    def _dress(self, source: int, target: int, status: os.stat_result, path: str) -> None:
        """Gives a file or folder what it has besides its content."""
        os.fchown(target, *self._owner)
        for attribute in os.listxattr(source):
            # Capabilities are rights on this host, and trusted ones steer overlayfs.
            if attribute.startswith("user.") and not attribute.startswith("user.overlay."):
                try:
                    os.setxattr(target, attribute, os.getxattr(source, attribute))
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.ENOSPC):
                        raise
        mode = stat.S_IMODE(status.st_mode)
        if mode & ~_PLAIN_MODE and not stat.S_ISDIR(status.st_mode):
            self._left.bits.append(f"/{path}")
        os.fchmod(target, mode & _PLAIN_MODE)
        os.utime(target, ns=self._times(status))
