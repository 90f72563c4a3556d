"""A layer's tree in memory, put together from the entries of its tar over the layers beneath it.

It follows the rules of LayerFolder (overlay.py) to the letter, without a file system: what overlayfs will show is the
same, whichever of the two a layer was made with. Files are not here; a node says where its content stands.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.image.limits import bad
from stackpy_runtime.image.lowers import (
    OPAQUE,
    Found,
    find,
    inherited,
    link_of,
    no_folder,
    no_target,
    possible_time,
    read_link,
    resolve,
)
from stackpy_runtime.image.rules import ACL_ACCESS, Path, access, show
from stackpy_runtime.linux.files import open_beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OPAQUE = OPAQUE.encode()


class TreeFull(Exception):
    """A layer has more files and folders than are held in memory."""


class Node:
    """A file, link, pipe or device; one node for all names of a file.

    place: for a file the block where its content begins, in the tar, or, as ~block, in the index; for a device its
    number; for a folder the number of its parent. `number` and `links` are the writer's.
    """

    __slots__ = ("gid", "link", "links", "mode", "mtime_ns", "number", "place", "size", "uid", "xattrs")

    def __init__(
        self,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int,
        size: int = 0,
        place: int = 0,
        link: bytes = b"",
        xattrs: dict[bytes, bytes] | None = None,
    ) -> None:
        self.mode, self.uid, self.gid, self.mtime_ns = mode, uid, gid, mtime_ns
        self.size, self.place, self.link, self.xattrs = size, place, link, xattrs
        self.number, self.links = -1, 0

    def dress(self, mode: int, uid: int, gid: int, mtime_ns: int, xattrs: dict[bytes, bytes] | None) -> None:
        """What another entry for the same file or folder says; attributes of earlier ones stay."""
        self.mode, self.uid, self.gid = stat.S_IFMT(self.mode) | mode, uid, gid
        self.mtime_ns = possible_time(mtime_ns)
        if self.xattrs and ACL_ACCESS in self.xattrs:
            self.xattrs[ACL_ACCESS] = access(self.xattrs[ACL_ACCESS], mode, ())
        if xattrs:
            self.xattrs = {**(self.xattrs or {}), **xattrs}


class Folder(Node):
    """A folder and what is in it by name."""

    __slots__ = ("children",)

    def __init__(self, mode: int, uid: int, gid: int, mtime_ns: int, xattrs: dict[bytes, bytes] | None = None) -> None:
        super().__init__(stat.S_IFDIR | mode, uid, gid, mtime_ns, xattrs=xattrs)
        self.children: dict[bytes, Node] = {}

    @property
    def opaque(self) -> bool:
        """Whether it hides what lower layers have in it."""
        return self.xattrs is not None and _OPAQUE in self.xattrs

    def make_opaque(self) -> None:
        """Makes it hide what lower layers have in it."""
        self.xattrs = {**(self.xattrs or {}), _OPAQUE: b"y"}


class LayerTree:
    """The layer over `lowers`: descriptors of folders, the uppermost first.

    copy: takes the content of a lower layer's file, an open descriptor, into the index; returns its place
    most: how many files and folders it may have; TreeFull is raised for more
    """

    def __init__(self, lowers: Sequence[int], copy: Callable[[int, int], int], most: int) -> None:
        self.lowers, self._copy, self._most = lowers, copy, most
        self.count = 0
        self.moved = 0  # how often a folder went, or a link's way was asked: what was looked up before may differ
        if lowers:
            # The uppermost layer's root is what is seen.
            status = os.fstat(lowers[0])
            self.root = _like(lowers[0], status)
        else:
            self.root = Folder(0o755, 0, 0, 0)  # a layer does not depend on when it was taken in

    def folder(self, path: Path) -> Folder:
        """The folder at `path`: links resolved, missing folders made with the lower layers' owners and modes."""
        node: Node | None = self.root
        for name in path:
            assert isinstance(node, Folder)
            node = node.children.get(name)
            if type(node) is not Folder:
                self.moved += 1
                return self._make(resolve(path, lambda here: self._link_at(here, path)))
        assert isinstance(node, Folder)
        return node

    def put(self, folder: Folder, name: bytes, node: Node) -> None:
        """Places a node, and removes what this layer has there."""
        old = folder.children.get(name)
        if old is None:
            self._add()
        elif type(old) is Folder:
            self.moved += 1
        folder.children[name] = node

    def make_folder(self, folder: Folder, name: bytes) -> Folder:
        """The folder of this layer at `name`; in the place of something else it hides what lower layers have there."""
        old = folder.children.get(name)
        if type(old) is Folder:
            return old
        new = Folder(0, 0, 0, 0)
        if old is not None and self.lowers:
            new.make_opaque()
        self.put(folder, name, new)
        return new

    def hide(self, folder: Folder, name: bytes) -> None:
        """A whiteout: what lower layers have at `name` is gone; what this layer has there stays (OCI layer.md)."""
        old = folder.children.get(name)
        if old is None:
            self.put(folder, name, Node(stat.S_IFCHR, 0, 0, 0))
        elif isinstance(old, Folder):
            old.make_opaque()

    def link(self, target: Path, folder: Folder, name: bytes) -> int:
        """Makes `name` another name of the file at `target`; returns how many bytes were copied from lower layers."""
        source, last = self.folder(target[:-1]), target[-1]
        node, copied = source.children.get(last), 0
        if node is None:
            node = self._copy_up(target)
            copied = node.size
            self.put(source, last, node)
        elif _is_whiteout(node):
            no_target(target)
        elif type(node) is Folder:
            bad(f"`{show(target)}` is a folder, and folders cannot have hard links")
        old = folder.children.get(name)
        if isinstance(old, Folder) and _contains(old, source):
            no_target(target)
        self.put(folder, name, node)
        return copied

    def _add(self) -> None:
        self.count += 1
        if self.count > self._most:
            raise TreeFull

    def _find(self, path: Path) -> Node | Found | None:
        """The entry at a path without links, as overlayfs would show it: of this layer, or of a lower one."""
        node, hides_lower = self.root, False
        for index, name in enumerate(path):
            child = node.children.get(name)
            if child is None:
                break
            if _is_whiteout(child):
                return None
            if index == len(path) - 1:
                return child
            if not isinstance(child, Folder):
                return None
            node, hides_lower = child, hides_lower or child.opaque
        return None if hides_lower else find(self.lowers, path)

    def _link_at(self, here: Path, wanted: Path) -> bytes | None:
        found = self._find(here)
        if not isinstance(found, Node):
            return link_of(self.lowers, found, here, wanted)
        if type(found) is Folder:
            return None
        if not stat.S_ISLNK(found.mode):
            no_folder(wanted, here)
        return found.link

    def _make(self, path: Path) -> Folder:
        """The folder at a path without links."""
        node = self.root
        for index, name in enumerate(path):
            child = node.children.get(name)
            if not isinstance(child, Folder):
                lower = self._find(path[: index + 1]) if child is None else None
                if isinstance(lower, Found):
                    source = open_beneath(self.lowers[lower.layer], b"/".join(path[: index + 1]), os.O_RDONLY)
                    try:
                        new = _like(source, lower.status)
                    finally:
                        os.close(source)
                else:
                    new = Folder(0o755, 0, 0, 0)
                if child is not None:
                    new.make_opaque()
                self.put(node, name, new)
                child = new
            node = child
        return node

    def _copy_up(self, path: Path) -> Node:
        """A node like a lower layer's file or link."""
        resolved = resolve(path[:-1], lambda here: self._link_at(here, path[:-1])) + path[-1:]
        found = self._find(resolved)
        if not isinstance(found, Found):
            no_target(path)
        status, layer = found.status, self.lowers[found.layer]
        owner = (status.st_uid, status.st_gid, status.st_mtime_ns)
        if stat.S_ISLNK(status.st_mode):
            return Node(stat.S_IFLNK | 0o777, *owner, link=read_link(layer, resolved))
        if not stat.S_ISREG(status.st_mode):
            bad(f"`{show(path)}` is not a file, and has no hard links")
        source = open_beneath(layer, b"/".join(resolved), os.O_RDONLY)
        try:
            place = self._copy(source, status.st_size)
            return Node(status.st_mode, *owner, size=status.st_size, place=place, xattrs=inherited(source) or None)
        finally:
            os.close(source)


def _like(source: int, status: os.stat_result) -> Folder:
    mode = stat.S_IMODE(status.st_mode)
    return Folder(mode, status.st_uid, status.st_gid, status.st_mtime_ns, inherited(source) or None)


def _is_whiteout(node: Node) -> bool:
    return stat.S_ISCHR(node.mode) and not node.place


def _contains(folder: Folder, wanted: Folder) -> bool:
    left = [folder]
    while left:
        here = left.pop()
        if here is wanted:
            return True
        left += [child for child in here.children.values() if isinstance(child, Folder)]
    return False
