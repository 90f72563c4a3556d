"""From the entries of a layer's tar to its tree: the fast counterpart of unpack.py, which writes the same tree to disk.

Most entries of a tar stand beside the one before: what their folder is was found then, so an entry costs two look-ups.
All that is out of the ordinary goes the long way.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.image.entries import BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK, Entry
from stackpy_runtime.image.layer_tree import Folder, LayerTree, Node
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text
from stackpy_runtime.image.lowers import possible_time
from stackpy_runtime.image.rules import (
    CAPABILITY,
    Path,
    attributes,
    check_device,
    check_owner,
    hidden,
    is_whiteout,
    layer_path,
    link_target,
    symlink_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_NO_NAMES = frozenset([b"", b".", b".."])
_KINDS = {FIFO: stat.S_IFIFO, CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}
_LATEST = possible_time(1 << 64)
_NO_ID = 0xFFFFFFFF
_KNOWN_FOLDERS = 4096


def grow(
    entries: Iterable[tuple[Entry, int]],
    lowers: Sequence[int],
    copy: Callable[[int, int], int],
    limits: Limits = DEFAULT,
) -> LayerTree:
    """The tree of a layer.

    entries: of its tar, each with the place of its content
    lowers: descriptors of the layers beneath, the uppermost first
    copy: takes the content of a lower layer's file into the index (descriptor, size); returns its place

    Raises InvalidConfig for a tar that no image would have, TreeFull for one with too many files and folders to index.
    """
    tree = LayerTree(lowers, copy, limits.nodes)
    indexer = _Indexer(tree, limits)
    for entry, place in entries:
        indexer.add(entry, place)
    return tree


class _Indexer:
    def __init__(self, tree: LayerTree, limits: Limits) -> None:
        self._tree, self._limits = tree, limits
        self._known: dict[bytes, Folder] = {}  # by the part of a name before its last slash, as it stands in the tar
        self._moved = 0
        self._size = 0

    def add(self, entry: Entry, place: int) -> None:
        """Takes one entry."""
        limits = self._limits
        name = entry.name
        parent, _, last = (name[:-1] if name.endswith(b"/") else name).rpartition(b"/")
        if self._moved != self._tree.moved:
            self._known.clear()
            self._moved = self._tree.moved
        folder = self._known.get(parent)
        if (
            folder is None
            or last in _NO_NAMES
            or last.startswith(b".wh.")
            or len(last) > limits.name
            or len(name) > limits.path
            or entry.uid | entry.gid >= _NO_ID
        ):
            self._out_of_the_ordinary(entry, place, parent)
        else:
            self._place(entry, place, folder, last, None)

    def _out_of_the_ordinary(self, entry: Entry, place: int, parent: bytes) -> None:
        path = layer_path(entry.name, self._limits)
        check_owner(entry, path)
        if not path:
            if entry.kind != FOLDER:
                bad("it has an entry without a name")
            self._dress(self._tree.root, entry, path)
        elif is_whiteout(path):
            self._whiteout(path)
        else:
            folder = self._tree.folder(path[:-1])
            if self._moved == self._tree.moved and len(path) <= self._limits.depth:
                if len(self._known) == _KNOWN_FOLDERS:
                    self._known.clear()
                if path[:-1] == _parts(parent):
                    self._known[parent] = folder
            self._place(entry, place, folder, path[-1], path)

    def _whiteout(self, path: Path) -> None:
        name = hidden(path)
        if name is None or not self._tree.lowers:
            return
        folder = self._tree.folder(path[:-1])
        if name:
            self._tree.hide(folder, name)
        else:
            folder.make_opaque()

    def _place(self, entry: Entry, place: int, folder: Folder, name: bytes, path: Path | None) -> None:
        kind, tree = entry.kind, self._tree
        time = entry.mtime_ns if 0 <= entry.mtime_ns <= _LATEST else possible_time(entry.mtime_ns)
        if kind == FILE:
            self._count(entry.size)
            xattrs = attributes(entry, path or self._path(entry)) if entry.xattrs else None
            mode = stat.S_IFREG | entry.mode
            tree.put(folder, name, Node(mode, entry.uid, entry.gid, time, entry.size, place, xattrs=xattrs or None))
        elif kind == FOLDER:
            self._dress(tree.make_folder(folder, name), entry, path or self._path(entry))
        elif kind == LINK:
            path = path or self._path(entry)
            self._count(tree.link(link_target(entry, path, self._limits), folder, name))
            self._dress_linked(folder.children[name], entry, path)
        else:
            path = path or self._path(entry)
            if kind == SYMLINK:
                target = symlink_target(entry, path, self._limits)
                node = Node(stat.S_IFLNK | 0o777, entry.uid, entry.gid, time, link=target)
            elif kind == CHARACTER and entry.major == entry.minor == 0:
                if tree.lowers:
                    tree.hide(folder, name)
                return
            else:
                check_device(entry, path)
                number = os.makedev(entry.major, entry.minor)
                node = Node(_KINDS[kind] | entry.mode, entry.uid, entry.gid, time, place=number)
            attributes(entry, path)  # only the refusals: the kernel keeps user attributes off these (xattr(7))
            tree.put(folder, name, node)

    def _path(self, entry: Entry) -> Path:
        return layer_path(entry.name, self._limits)

    def _dress(self, folder: Folder, entry: Entry, path: Path) -> None:
        xattrs = attributes(entry, path) if entry.xattrs else None
        folder.dress(entry.mode, entry.uid, entry.gid, entry.mtime_ns, xattrs)

    def _dress_linked(self, node: Node, entry: Entry, path: Path) -> None:
        """What a hard link says of the file counts, as in other engines: it is what every name of it shows then."""
        xattrs = attributes(entry, path) if entry.xattrs else None
        if stat.S_ISLNK(node.mode):
            node.uid, node.gid = entry.uid, entry.gid
            return
        if not stat.S_ISREG(node.mode):
            xattrs = None
        elif node.xattrs and (node.uid, node.gid) != (entry.uid, entry.gid):
            # As the kernel does when a file is given to somebody else (capabilities(7)).
            node.xattrs = {key: value for key, value in node.xattrs.items() if key != CAPABILITY} or None
        node.dress(entry.mode, entry.uid, entry.gid, entry.mtime_ns, xattrs)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limits.unpacked:
            bad(f"its files are larger than {size_text(self._limits.unpacked)}")


def _parts(name: bytes) -> Path:
    return tuple(part for part in name.split(b"/") if part not in (b"", b"."))
