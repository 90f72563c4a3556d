"""Layers as other engines write them, mounted by overlayfs: a container sees what was there when they were made.

For random trees the differences from one to the next are written as layers, the way docker, containerd and buildkit
do it: whiteouts, opaque folders, hard links, parents left out. All of them on top of each other are the last tree.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import os
import shutil
import stat
import tarfile
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from stackpy_runtime.image import archive
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
from tests.image_archives import Built, as_tar

pytestmark = pytest.mark.root


class Node(NamedTuple):
    """A file, folder or link; files of one tree with one `inode` are one file."""

    kind: str
    content: str  # or the link's target
    mode: int
    owner: int
    mtime: int
    inode: int = 0


Tree = dict[str, Node]  # by path; a folder's children only where the folder is

NAMES = ["a", "b", "c"]
PATHS = ["/".join(parts) for depth in (1, 2, 3) for parts in itertools.product(NAMES, repeat=depth)]


def drawn(chance: Random) -> Node:
    return Node(
        chance.choice(["file", "file", "folder", "folder", "link"]),
        chance.choice(["x", "y", "longer text"]),
        chance.choice([0o644, 0o755, 0o700, 0o4750]),
        chance.choice([0, 7, 1000]),
        chance.randint(1, 5),
        chance.choice([0, 1]),
    )


def following(old: Tree, chance: Random) -> Tree:
    """A tree that has most of what the old one has."""
    tree: Tree = {}
    linked: dict[int, Node] = {}
    for path in PATHS:
        parent = path.rpartition("/")[0]
        if parent and (parent not in tree or tree[parent].kind != "folder"):
            continue
        fate = chance.choice(["keep", "keep", "keep", "new", "gone"])
        node = old.get(path) if fate == "keep" else None
        if node is None and (fate == "new" or (fate == "keep" and not old)):
            node = drawn(chance)
        if node is not None:
            if node.kind != "file":
                node = node._replace(inode=0)
            elif node.inode:
                node = linked.setdefault(node.inode, node)
            tree[path] = node
    return tree


def difference(old: Tree, new: Tree, chance: Random) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The entries of a layer that makes `new` of `old`."""
    entries: list[tuple[tarfile.TarInfo, bytes]] = []
    written: dict[int, str] = {}
    opaque: set[str] = set()
    alone: dict[int, bool] = {}

    def add(path: str, node: Node) -> None:
        info = tarfile.TarInfo(path)
        info.mode, info.uid, info.gid, info.mtime = node.mode, node.owner, node.owner, node.mtime
        data = b""
        if node.kind == "folder":
            info.type = tarfile.DIRTYPE
        elif node.kind == "link":
            info.type, info.linkname = tarfile.SYMTYPE, node.content
        elif node.inode and node.inode in written:
            info.type, info.linkname = tarfile.LNKTYPE, written[node.inode]
        else:
            data = node.content.encode()
            info.size = len(data)
            if node.inode:
                written[node.inode] = path
        entries.append((info, data))

    def mark(path: str) -> None:
        entries.append((tarfile.TarInfo(path), b""))

    for path, node in new.items():
        before = old.get(path)
        hidden = any(path.startswith(folder + "/") for folder in opaque)
        kept_folder = node.kind == "folder" and before is not None and before.kind == "folder"
        if before is not None and not hidden and before.kind == "folder" and chance.random() < 0.3:
            # Some write a whiteout before what takes its place, be it a folder again.
            folder, _, name = path.rpartition("/")
            mark(f"{folder}/.wh.{name}".lstrip("/"))
            if kept_folder:
                opaque.add(path)
                add(path, node)
                continue
        others = [other for other, each in new.items() if node.inode and each.inode == node.inode]
        same = [
            other for other in others if old.get(other) == node and not any(other.startswith(f"{o}/") for o in opaque)
        ]
        if same and node.inode not in alone:
            # Some write of a file with several names only those that are new, as links to one in a lower layer.
            alone[node.inode] = chance.random() < 0.5
        if same and alone[node.inode]:
            if path not in same:
                written.setdefault(node.inode, same[0])
                add(path, node)
        elif (
            node != before
            or hidden
            or any(old.get(other) != node for other in others)
            or (kept_folder and chance.random() < 0.5)
        ):
            add(path, node)
        if kept_folder and not hidden and chance.random() < 0.25:
            opaque.add(path)
            mark(f"{path}/.wh..wh..opq")
    for path in old:
        folder, _, name = path.rpartition("/")
        hidden = any(path.startswith(each + "/") for each in opaque)
        kept = not folder or all(folder in tree and tree[folder].kind == "folder" for tree in (old, new))
        if path not in new and not hidden and kept:
            mark(f"{folder}/.wh.{name}".lstrip("/"))
    return entries


def tar(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for info, data in entries:
            writer.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def on_disk(path: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for base, folders, files in os.walk(path):
        for name in folders + files:
            entry = Path(base, name)
            status = entry.lstat()
            if stat.S_ISLNK(status.st_mode):
                what: tuple[object, ...] = ("link", os.readlink(entry))
            elif stat.S_ISDIR(status.st_mode):
                what = ("folder", stat.S_IMODE(status.st_mode))
            else:
                what = ("file", stat.S_IMODE(status.st_mode), entry.read_text())
            found[str(entry.relative_to(path))] = (*what, status.st_uid, status.st_gid, int(status.st_mtime))
    return found


def wanted(tree: Tree) -> dict[str, tuple[object, ...]]:
    result = {}
    for path, node in tree.items():
        what: tuple[object, ...] = (node.kind, node.content) if node.kind == "link" else (node.kind, node.mode)
        what += (node.content,) if node.kind == "file" else ()
        result[path] = (*what, node.owner, node.owner, node.mtime)
    return result


libc = ctypes.CDLL(None, use_errno=True)


def mounted(folders: list[str], target: Path, empty: Path) -> None:
    """Mounts layers, bottom first; the empty one is there since overlayfs wants two."""
    options = "lowerdir=" + ":".join([*reversed(folders), str(empty)])
    result = libc.mount(b"overlay", os.fsencode(target), b"overlay", 1, options.encode())
    assert result == 0, os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("seed", range(60))
def test_layers_on_top_of_each_other_are_the_last_tree(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    states: list[Tree] = [{}]
    for _ in range(chance.randint(2, 4)):
        states.append(following(states[-1], chance))
    root = tmp_path / "root"
    store = Store(str(root), create=True)
    target, empty = tmp_path / "target", tmp_path / "empty"
    target.mkdir()
    empty.mkdir()
    try:
        tars = [tar(difference(old, new, chance)) for old, new in itertools.pairwise(states)]
        image = archive.load(store, str(as_tar(tmp_path / "image", Built(tars).docker())))
        mounted([layers.folder(store.root, layer) for layer in image["layers"]], target, empty)
        try:
            assert on_disk(target) == wanted(states[-1])
        finally:
            assert libc.umount2(os.fsencode(target), 0) == 0
    finally:
        store.close()
        shutil.rmtree(root)
