"""COPY and FILE: from a context, or from the recipe itself, into an image's tree.

What is copied is hashed on its way and must be what the recipe says: a file that changed since it was planned would
otherwise be kept, for good, under the step ID of another content.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time

from stackpy_runtime.build import tree
from stackpy_runtime.build.digests import CHUNK
from stackpy_runtime.build.tree import Owner
from stackpy_runtime.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.build.context import Item, Source

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
    """Writes one file at the absolute path `target` of the image, with its parents."""
    folder, _ = tree.make_folders(root, posixpath.dirname(target), who)
    os.close(folder)
    folder, name = tree.locate(root, target)
    try:
        descriptor = tree.create(folder, name)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            tree.finish(descriptor, who, mode, time.time_ns())
        finally:
            os.close(descriptor)
    finally:
        os.close(folder)


def copy(root: int, context: int, sources: list[Source], target: str, mode: int | None, who: Owner) -> None:
    """Copies all sources of one step to the absolute path `target`, which is a folder when it ends with a slash.

    root: descriptor of the image's merged tree; context: of the context folder
    mode: what --chmod gives to files and folders; None keeps their own
    Raises Conflict when a source changed meanwhile, InvalidConfig where the image has something else in the place.
    """
    into = target.endswith("/") or tree.is_folder(root, target)
    copier = _Copier(root, context, mode, who)
    for source in sources:
        if source.folder:
            copier.folder(source, target.rstrip("/") or "/")
        elif source.items:
            place = posixpath.join(target, posixpath.basename(source.name)) if into else target
            copier.file(source.items[0], place)


class _Copier:
    """One COPY step under way."""

    def __init__(self, root: int, context: int, mode: int | None, who: Owner) -> None:
        self._root, self._context, self._mode, self._who = root, context, mode, who

    def file(self, item: Item, target: str) -> None:
        """A source that is a file or a link itself."""
        folder, _ = tree.make_folders(self._root, posixpath.dirname(target), self._who)
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
        mode = top.mode if self._mode is None else self._mode
        made, new = tree.make_folders(self._root, target, self._who, mode)
        opened = _open_folders(self._context, [part for part in top.real.split("/") if part != "."], top.name)
        # The folders from the source's top down to where the walk is: place, descriptor there, descriptor here, time.
        stack = [("", opened, made, os.fstat(opened).st_mtime_ns if new else -1)]
        try:
            for item in below:
                parent, name = posixpath.split(item.place)
                while stack[-1][0] != parent:
                    self._leave(stack.pop())
                if item.kind == "folder":
                    stack.append(self._enter(item, name, target, stack[-1]))
                else:
                    self._leaf(item, stack[-1][1], name, stack[-1][2], name)
            while len(stack) > 1:
                self._leave(stack.pop())
            if new:
                self._stamp(stack[0][2], stack[0][3])
        finally:
            for _, there, here, _ in stack:
                os.close(there)
                os.close(here)

    def _enter(
        self, item: Item, name: str, target: str, parent: tuple[str, int, int, int]
    ) -> tuple[str, int, int, int]:
        try:
            there = os.open(name, _FOLDER, dir_fd=parent[1])
        except OSError:
            raise changed(item.name) from None
        status = os.fstat(there)
        try:
            if self._mode is None and stat.S_IMODE(status.st_mode) != item.mode:
                raise changed(item.name)
            here = self._make(name, posixpath.join(target, item.place), parent[2])
            os.fchown(here, *self._who)
            os.fchmod(here, item.mode if self._mode is None else self._mode)
        except BaseException:
            os.close(there)
            raise
        return item.place, there, here, status.st_mtime_ns

    def _make(self, name: str, path: str, parent: int) -> int:
        """A descriptor of the folder `name`; where the image has a link to a folder there, of what it names."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            folder, _ = tree.make_folders(self._root, path, self._who)
            try:
                return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            finally:
                os.close(folder)
        return os.open(name, _FOLDER, dir_fd=parent)

    def _leave(self, level: tuple[str, int, int, int]) -> None:
        _, there, here, mtime_ns = level
        os.utime(here, ns=(mtime_ns, mtime_ns))
        os.close(there)
        os.close(here)

    def _stamp(self, folder: int, mtime_ns: int) -> None:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        os.close(descriptor)

    def _leaf(self, item: Item, there: int, source: str, here: int, name: str) -> None:
        """A file or a link: `source` beneath the descriptor `there` to `name` beneath `here`."""
        try:
            if item.kind == "link":
                target = os.readlink(source, dir_fd=there)
            else:
                reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=there)
        except OSError:
            raise changed(item.name) from None
        if item.kind == "link":
            if target != item.content:
                raise changed(item.name)
            tree.link(here, name, target, self._who)
            return
        try:
            status = os.fstat(reading)
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode) or (self._mode is None and mode != item.mode):
                raise changed(item.name)
            writing = tree.create(here, name)
            try:
                if _pour(reading, writing) != item.content:
                    raise changed(item.name)
                tree.finish(writing, self._who, mode if self._mode is None else self._mode, status.st_mtime_ns)
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


def _pour(reading: int, writing: int) -> str:
    """Copies the rest of a file and returns its SHA-256."""
    import hashlib

    digest = hashlib.sha256()
    while chunk := os.read(reading, CHUNK):
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(writing, view) :]
    return digest.hexdigest()
