"""COPY and FILE: from a context, or from the recipe itself, into an image's tree.

What is copied is hashed on its way and must be what the recipe says: a file that changed since it was planned would
otherwise be kept, for good, under the step ID of another content.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time

from stackpy_runtime.build import halves, tree
from stackpy_runtime.build.digests import CHUNK, begun_sha256, sha256_hex
from stackpy_runtime.build.tree import Owner
from stackpy_runtime.errors import Conflict
from stackpy_runtime.linux.files import pour
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.context import Item, Source
    from stackpy_runtime.build.modes import Change

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def changed(name: str) -> Conflict:
    """The error for a source that is no longer what the recipe was made of."""
    return Conflict(f"`{name}` changed while it was copied", hint="run it again; exclude what changes all the time")


def owner(root: int, spec: str) -> Owner:
    """The owner that --chown means, by the image's own /etc/passwd and /etc/group read as data.

    A user without a group has its own primary group; a number without a group is the group's number too.
    """
    if not spec:
        return tree.ROOT_OWNER
    from stackpy_runtime.container.users import resolve

    if spec.isascii() and spec.isdigit():
        spec = f"{spec}:{spec}"
    identity = resolve(spec, tree.read_text(root, "/etc/passwd"), tree.read_text(root, "/etc/group"))
    return Owner(identity.user, identity.group)


def write_file(root: int, target: str, content: bytes, mode: int, who: Owner) -> None:
    """Writes one file at the absolute path `target` of the image, with its parents; raises InvalidConfig."""

    def fill(descriptor: int) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]

    _write(root, target, fill, mode, who, time.time_ns())


def write_from(root: int, target: str, source: int, mode: int, who: Owner, mtime_ns: int) -> None:
    """Writes what a descriptor gives to the absolute path `target` of the image, with its parents."""

    def fill(descriptor: int) -> None:
        os.lseek(source, 0, os.SEEK_SET)
        pour(source, descriptor)

    _write(root, target, fill, mode, who, mtime_ns)


def _write(root: int, target: str, fill: Callable[[int], None], mode: int, who: Owner, mtime_ns: int) -> None:
    folder, _ = tree.make_folders(root, posixpath.dirname(target), who)
    os.close(folder)
    folder, name = tree.locate(root, target)
    try:
        descriptor = tree.create(folder, name)
        try:
            fill(descriptor)
            tree.finish(descriptor, who, mode, mtime_ns)
        finally:
            os.close(descriptor)
    finally:
        os.close(folder)


def open_file(context: int, item: Item) -> int:
    """A descriptor of a file of the context, no link followed; raises Conflict where it is no longer one."""
    *folders, name = item.real.split("/")
    folder = _open_folders(context, folders, item.name)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        raise changed(item.name) from None
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise changed(item.name)
    return descriptor


def stamp(root: int, path: str, mtime_ns: int) -> None:
    """Gives the folder at `path` of the image a time of modification."""
    folder = tree.open_folder(root, path)
    if folder is None:
        return
    try:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        os.close(descriptor)
    finally:
        os.close(folder)


def nowhere(_: int) -> int:
    """Finds nothing behind a view."""
    return -1


def copy(
    root: int,
    context: int,
    sources: list[Source],
    target: str,
    modes: Change | None,
    who: Owner | None,
    behind: Callable[[int], int] = nowhere,
) -> int:
    """Copies all sources of one step to the absolute path `target`, which is a folder when it ends with a slash.

    Returns the bytes of the files that it has written.

    root: descriptor of the image's merged tree; context: of the context folder, or of another image's tree
    modes: what --chmod gives to files and folders; None keeps their own
    who: whose the copies are; None: whose they were, with their extended attributes, as in an image
    behind: finds where what is in a new folder is made in less time (Merged.behind)

    Raises Conflict when a source changed meanwhile, InvalidConfig where the image has something else in the place.
    """
    into = target.endswith("/") or tree.is_folder(root, target)
    # Of several sources one may bring something into a folder that another has made.
    copier = _Copier(root, context, modes, who, behind if len(sources) == 1 else nowhere)
    for source in sources:
        if source.folder:
            copier.folder(source, posixpath.join(target, source.under).rstrip("/") or "/")
        elif source.items:
            inside = into or source.under
            place = posixpath.join(target, source.under, posixpath.basename(source.name)) if inside else target
            copier.file(source.items[0], place)
    return copier.written


class _Level(NamedTuple):
    """A folder that is being copied.

    place: below the source; there, here: its descriptor in the source and its copy's; mtime_ns: what the copy gets
    direct: whether the copy stands behind the view of the tree
    """

    place: str
    there: int
    here: int
    mtime_ns: int
    direct: bool


class _Copier:
    """One COPY step under way."""

    def __init__(
        self, root: int, context: int, modes: Change | None, who: Owner | None, behind: Callable[[int], int]
    ) -> None:
        self._root, self._context, self._modes, self._who = root, context, modes, who
        self._behind = behind
        self._parents = who or tree.ROOT_OWNER
        self.written = 0  # bytes

    def _mode(self, mode: int, folder: bool) -> int:
        return mode if self._modes is None else self._modes(mode, folder)

    def _owner(self, status: os.stat_result) -> Owner:
        return Owner(status.st_uid, status.st_gid) if self._who is None else self._who

    def file(self, item: Item, target: str) -> None:
        """A source that is a file or a link itself."""
        folder, _ = tree.make_folders(self._root, posixpath.dirname(target), self._parents)
        os.close(folder)
        folder, name = tree.locate(self._root, target)
        parts = item.real.split("/")
        source = _open_folders(self._context, parts[:-1], item.name)
        try:
            self._leaf(item, source, parts[-1], folder, name)
        finally:
            os.close(source)
            os.close(folder)

    def folder(self, source: Source, target: str) -> None:
        """The contents of a folder, to the folder `target`."""
        top, *below = source.items
        opened = _open_folders(self._context, [part for part in top.real.split("/") if part != "."], top.name)
        try:
            made, new = tree.make_folders(self._root, target, self._parents, self._mode(top.mode, True))
        except BaseException:
            os.close(opened)
            raise
        direct = False
        if new:
            made, direct = self._straight(made)
        try:
            top_level = _Level("", opened, made, -1, direct)
            ours, others = halves.split(below)
            apart = halves.Apart(lambda: self._other(others, target, top_level)) if others else None
            try:
                self._below(ours, target, top_level)
            except BaseException:
                if apart:
                    apart.stop()
                raise
            if apart:
                self.written += apart.join()
            if new:
                self._stamp(opened, made, os.fstat(opened).st_mtime_ns)
        finally:
            os.close(opened)
            os.close(made)

    def _straight(self, folder: int) -> tuple[int, bool]:
        """A new folder as it is behind the view of the tree, and whether it is; takes over the descriptor."""
        behind = self._behind(folder)
        if behind < 0:
            return folder, False
        os.close(folder)
        return behind, True

    def _other(self, items: list[Item], target: str, top: _Level) -> int:
        """The other half, in a process of its own."""
        self.written = 0
        self._below(items, target, top)
        return self.written

    def _below(self, items: list[Item], target: str, top: _Level) -> None:
        """What is below a source's top."""
        stack = [top]  # down to where the walk is
        level = top
        try:
            for item in items:
                parent, _, name = item.place.rpartition("/")
                while level.place != parent:
                    self._leave(stack.pop())
                    level = stack[-1]
                if item.kind == "folder":
                    level = self._enter(item, name, target, level)
                    stack.append(level)
                else:
                    self._leaf(item, level.there, name, level.here, name)
            while len(stack) > 1:
                self._leave(stack.pop())
        finally:
            for each in stack[1:]:
                os.close(each.there)
                os.close(each.here)

    def _enter(self, item: Item, name: str, target: str, parent: _Level) -> _Level:
        try:
            there = os.open(name, _FOLDER, dir_fd=parent.there)
        except OSError:
            raise changed(item.name) from None
        status = os.fstat(there)
        try:
            if self._modes is None and stat.S_IMODE(status.st_mode) != item.mode:
                raise changed(item.name)
            here, direct = self._make(name, posixpath.join(target, item.place), parent)
            os.fchown(here, *self._owner(status))
            self._attributes(there, here)
            os.fchmod(here, self._mode(item.mode, True))
        except BaseException:
            os.close(there)
            raise
        return _Level(item.place, there, here, status.st_mtime_ns, direct)

    def _make(self, name: str, path: str, parent: _Level) -> tuple[int, bool]:
        """A descriptor of the folder `name`; where the image has a link to a folder there, of what it names.

        Also whether what is made in it is made behind the view.
        """
        try:
            os.mkdir(name, 0o700, dir_fd=parent.here)
        except FileExistsError:
            folder, _ = tree.make_folders(self._root, path, self._parents)
            try:
                return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder), False
            finally:
                os.close(folder)
        made = os.open(name, _FOLDER, dir_fd=parent.here)
        return (made, True) if parent.direct else self._straight(made)

    def _leave(self, level: _Level) -> None:
        os.utime(level.here, ns=(level.mtime_ns, level.mtime_ns))
        os.close(level.there)
        os.close(level.here)

    def _stamp(self, there: int, folder: int, mtime_ns: int) -> None:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        if self._who is None:
            status = os.fstat(there)
            os.fchown(descriptor, status.st_uid, status.st_gid)
        self._attributes(there, descriptor)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        os.close(descriptor)

    def _attributes(self, there: int, here: int) -> None:
        """What a file of an image has besides its content, owner and mode; files of the host leave it behind."""
        if self._who is not None:
            return
        for name in os.listxattr(there):
            if not name.startswith("trusted."):
                os.setxattr(here, name, os.getxattr(there, name))

    def _leaf(self, item: Item, there: int, source: str, here: int, name: str) -> None:
        """What is no folder: `source` beneath the descriptor `there` to `name` beneath `here`."""
        if item.kind == "file":
            self._file(item, there, source, here, name)
            return
        try:
            status = os.stat(source, dir_fd=there, follow_symlinks=False)
            target = os.readlink(source, dir_fd=there) if item.kind == "link" else ""
        except OSError:
            raise changed(item.name) from None
        if item.kind == "link":
            if target != item.content:
                raise changed(item.name)
            tree.link(here, name, target, self._owner(status))
        else:
            tree.node(here, name, status, self._owner(status), self._mode(item.mode, False))

    def _file(self, item: Item, there: int, source: str, here: int, name: str) -> None:
        try:
            reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=there)
        except OSError:
            raise changed(item.name) from None
        try:
            status = os.fstat(reading)
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode) or (self._modes is None and mode != item.mode):
                raise changed(item.name)
            wanted = self._mode(mode, False)
            writing = tree.create(here, name, wanted)
            try:
                if not item.content:
                    pour(reading, writing)
                elif _pour(reading, writing, status.st_size) != item.content:
                    raise changed(item.name)
                self.written += status.st_size
                tree.finish(writing, self._owner(status), wanted, status.st_mtime_ns)
                self._attributes(reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def _open_folders(context: int, parts: list[str], name: str) -> int:
    """A descriptor of a folder of the context, no link followed on the way."""
    current = os.dup(context)
    for part in parts:
        try:
            following = os.open(part, _FOLDER, dir_fd=current)
        except OSError:
            raise changed(name) from None
        finally:
            os.close(current)
        current = following
    return current


def _pour(reading: int, writing: int, size: int) -> str:
    """Copies a file of `size` bytes, or what there is of them, and returns their SHA-256."""
    digest = None
    while size and (chunk := os.read(reading, min(CHUNK, size))):
        size -= len(chunk)
        if digest is None:
            digest = begun_sha256(chunk)
        else:
            digest.update(chunk)
        written = os.write(writing, chunk)
        while written < len(chunk):
            written += os.write(writing, memoryview(chunk)[written:])
    return digest.hexdigest() if digest else sha256_hex(b"")
