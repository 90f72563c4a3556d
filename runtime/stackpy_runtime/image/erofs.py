"""An erofs index over a layer's tar: the tree of the layer, whose files' content stays where it is in the tar.

On disk (Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h), in blocks of 512 bytes, a tar's own:

    superblock and device table     blocks 0 to 2; device 1 is the tar
    content that no tar block has   sparse files, files copied from lower layers
    inodes                          64 bytes each, then attributes, then a link's target or a file's one chunk
    folders                         sorted names

Regular files point with one chunk at their first block of the tar. There is nothing to be compressed, and what is in
the index is small, so the oldest and simplest form of everything is used.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

from stackpy_runtime.image.layer_tree import Folder, Node
from stackpy_runtime.image.limits import bad
from stackpy_runtime.image.rules import ACL_ACCESS, ACL_DEFAULT
from stackpy_runtime.linux.files import pour

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 512
HEAD = 3 * BLOCK
_SUPER, _DEVICE = 1024, 1152
_MAGIC = 0xE0F5E1E2
_BLOCK_BITS = 9
_COMPATIBLE = 0x1 | 0x2  # SB_CHKSUM, MTIME
_INCOMPATIBLE = 0x4 | 0x8  # CHUNKED_FILE, DEVICE_TABLE
_MOST_BLOCKS = (1 << 32) - 1

# i_format: the long form of an inode, and its data layout.
_PLAIN, _INLINE, _CHUNKED = 1 | 0 << 1, 1 | 2 << 1, 1 | 4 << 1
_CHUNK_INDEXES = 0x20
_FIELDS = "<HHHHQIIIIQII16x"  # format, attributes, mode, -, size, union, ino, uid, gid, mtime, nanoseconds, links
_INODE = struct.Struct(_FIELDS)
_CHUNK = struct.Struct("<HHI")  # -, device, block
_FILE = struct.Struct(f"{_FIELDS}HHI24x")  # a file without attributes, to the next slot
_ENTRY = struct.Struct("<QHBx")
_SLOT = 32
_BILLION = 1_000_000_000
_RUN = 1 << 18  # bytes gathered before they are written

_TYPES = {
    stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFLNK: 7,
}  # fmt: skip
_PREFIXES = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6))


class Content:
    """The part of an index for content that the tar has in no block of its own.

    index: descriptor of the index
    """

    def __init__(self, index: int) -> None:
        self._index, self.end = index, HEAD

    def sparse(self, tar: int, offset: int, regions: Iterable[tuple[int, int]], size: int) -> int:
        """Takes a sparse file, whose data stands one region after the other in the tar; returns its place."""
        start = self._reserve(size)
        for position, length in regions:
            at = start + position
            while length:
                # Holes stay holes of the index.
                data = os.pread(tar, min(length, 1 << 20), offset)
                if not data:
                    bad("it ends within a file")
                offset, length = offset + len(data), length - len(data)
                while data:
                    written = os.pwrite(self._index, data, at)
                    data, at = data[written:], at + written
        return ~(start // BLOCK)

    def copied(self, source: int, size: int) -> int:
        """Takes a whole file from an open descriptor; returns its place."""
        start = self._reserve(size)
        os.lseek(self._index, start, os.SEEK_SET)
        pour(source, self._index)
        return ~(start // BLOCK)

    def _reserve(self, size: int) -> int:
        start = self.end
        self.end += size + -size % BLOCK
        if self.end // BLOCK > _MOST_BLOCKS:
            bad("its sparse files are larger than an index can hold")
        return start


def write(root: Folder, index: int, start: int, tar_blocks: int, uuid: bytes) -> int:
    """Writes the index of a tree; returns the bytes of its regular files.

    index: descriptor of the file, whose content part ends at the byte `start`
    uuid: 16 bytes, of this layer alone
    """
    writer = _Writer(index, start, uuid)
    nodes, end = _number(root, writer)
    writer.begin_folders(start + end)
    total = 0
    for node in nodes:
        if stat.S_ISREG(node.mode):
            total += node.size
        writer.inode(node)
    writer.finish(len(nodes), root.number, tar_blocks)
    return total


def _number(root: Folder, writer: _Writer) -> tuple[list[Node], int]:
    """All nodes in the order of their numbers, which are their places in slots, and where they end in bytes."""
    nodes: list[Node] = [root]
    root.place, root.number, root.links = 0, 0, 2
    position = writer.space(root, 0)[1]
    left: list[Folder] = [root]
    while left:
        folder = left.pop()
        for child in folder.children.values():
            if child.number >= 0:
                child.links += 1
                continue
            at, position = writer.space(child, position)
            child.number = at // _SLOT
            nodes.append(child)
            if isinstance(child, Folder):
                child.place, child.links = folder.number, 2
                folder.links += 1
                left.append(child)
            else:
                child.links = 1
    return nodes, position + -position % BLOCK


class _Run:
    """Bytes that are written one after the other from an offset of a file on, many at a time."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor, self._offset = descriptor, offset
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Takes bytes; they may be written later."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _RUN:
            self.flush()

    def flush(self) -> None:
        """Writes what was taken."""
        data = memoryview(b"".join(self._pieces))
        self._pieces, self._size = [], 0
        while data:
            written = os.pwrite(self._descriptor, data, self._offset)
            data, self._offset = data[written:], self._offset + written


class _Writer:
    def __init__(self, index: int, start: int, uuid: bytes) -> None:
        self._index, self._start, self._uuid = index, start, uuid
        self._attributes: dict[int, bytes] = {}  # of a node, until it is written
        self._count = 0
        self._inodes = _Run(index, start)
        self._at = 0
        self._folders = _Run(index, 0)
        self._block = 0

    def space(self, node: Node, position: int) -> tuple[int, int]:
        """Where a node's inode is put from `position` on, and where it ends."""
        size = _INODE.size
        if node.xattrs:
            attributes = self._attributes[id(node)] = _encode(node.xattrs)
            size += len(attributes)
        if node.link:
            if size + len(node.link) <= BLOCK:
                size += len(node.link)
                # What stands in the inode must not cross a block's border.
                if position % BLOCK + size > BLOCK:
                    position += -position % BLOCK
        elif stat.S_ISREG(node.mode) and node.size and node.place >= 0:
            size += -size % 8 + _CHUNK.size
        return position, position + size + -size % _SLOT

    def begin_folders(self, offset: int) -> None:
        """Says where the blocks of folders begin."""
        self._folders = _Run(self._index, offset)
        self._block = offset // BLOCK

    def inode(self, node: Node) -> None:
        """Writes a node's inode, and a folder's entries."""
        self._count += 1
        at = node.number * _SLOT
        if self._at != at:
            self._inodes.write(bytes(at - self._at))
            self._at = at
        seconds, nanoseconds = divmod(node.mtime_ns, _BILLION)
        mode, size = node.mode, node.size
        attributes = self._attributes.pop(id(node), b"") if node.xattrs else b""
        icount = (len(attributes) - 12) // 4 + 1 if attributes else 0
        rest = (self._count, node.uid, node.gid, seconds, nanoseconds, node.links)
        if stat.S_ISREG(mode) and size and node.place >= 0:
            if node.place > _MOST_BLOCKS:
                bad("it is larger than an index can point into")
            # One chunk holds the file.
            chunk = _CHUNK_INDEXES | max(0, (size - 1).bit_length() - _BLOCK_BITS)
            if not attributes:
                self._inodes.write(_FILE.pack(_CHUNKED, 0, mode, 0, size, chunk, *rest, 0, 1, node.place))
                self._at += _FILE.size
                return
            layout, union = _CHUNKED, chunk
            tail = bytes(-len(attributes) % 8) + _CHUNK.pack(0, 1, node.place)
        elif isinstance(node, Folder):
            layout, union, tail = _PLAIN, self._block, b""
            size = self._write_folder(node)
        elif node.link:
            size = len(node.link)
            if _INODE.size + len(attributes) + size <= BLOCK:
                layout, union, tail = _INLINE, 0, node.link
            else:
                layout, union, tail = _PLAIN, self._block, b""
                self._write_blocks(node.link)
        elif stat.S_ISREG(mode):
            layout, union, tail = _PLAIN, ~node.place if size else 0, b""
        else:
            layout, union, tail = _PLAIN, node.place, b""
        data = _INODE.pack(layout, icount, mode, 0, size, union, *rest) + attributes + tail
        data += bytes(-len(data) % _SLOT)
        self._inodes.write(data)
        self._at += len(data)

    def _write_folder(self, folder: Folder) -> int:
        """Writes the entries of a folder, the names in order, `.` and `..` among them; returns its size."""
        entries = [(name, child.number, child.mode) for name, child in folder.children.items()]
        entries += [(b".", folder.number, folder.mode), (b"..", folder.place, folder.mode)]
        entries.sort()
        size = 0
        head: list[tuple[int, int, int]] = []
        names: list[bytes] = []
        used = 0
        for name, number, mode in entries:
            used += _ENTRY.size + len(name)
            if used > BLOCK:
                self._write_entries(head, names)
                size += BLOCK
                head, names, used = [], [], _ENTRY.size + len(name)
            head.append((number, len(name), _TYPES[mode & 0xF000]))
            names.append(name)
        self._write_entries(head, names)
        return size + used

    def _write_entries(self, head: list[tuple[int, int, int]], names: list[bytes]) -> None:
        at = _ENTRY.size * len(head)
        packed = []
        for number, length, kind in head:
            packed.append(_ENTRY.pack(number, at, kind))
            at += length
        self._write_blocks(b"".join(packed) + b"".join(names))

    def _write_blocks(self, data: bytes) -> None:
        data += bytes(-len(data) % BLOCK)
        self._folders.write(data)
        self._block += len(data) // BLOCK

    def finish(self, count: int, root: int, tar_blocks: int) -> None:
        """Writes what is left, the superblock last."""
        # Pages are read whole.
        self._folders.write(bytes(-self._block * BLOCK % 4096))
        self._inodes.flush()
        self._folders.flush()
        if self._block > _MOST_BLOCKS or tar_blocks > _MOST_BLOCKS:
            bad("it is larger than an index can point into")
        head = bytearray(HEAD)
        struct.pack_into(
            "<IIIBBHQQIIII16s16sIHHHBB", head, _SUPER,
            _MAGIC, 0, _COMPATIBLE, _BLOCK_BITS, 0, root, count, 0, 0, self._block, self._start // BLOCK, 0, self._uuid,
            b"", _INCOMPATIBLE, 0, 1, _DEVICE // 128, 0, 0,
        )  # fmt: skip
        struct.pack_into("<64sII", head, _DEVICE, b"", tar_blocks, 0)
        struct.pack_into("<I", head, _SUPER + 4, checksum(bytes(head[_SUPER : _SUPER + BLOCK])))
        os.pwrite(self._index, head, 0)


def checksum(data: bytes) -> int:
    """CRC-32C without the final inversion, as the superblock's is."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def _encode(attributes: dict[bytes, bytes]) -> bytes:
    """Extended attributes as they stand behind an inode; raises InvalidConfig when they are too many."""
    parts = [bytes(12)]  # no filter, none that is shared
    for name, value in attributes.items():
        if name in (ACL_ACCESS, ACL_DEFAULT):
            prefix, rest = (2 if name == ACL_ACCESS else 3), b""
        else:
            prefix, rest = next((number, name[len(text) :]) for text, number in _PREFIXES if name.startswith(text))
        part = struct.pack("<BBH", len(rest), prefix, len(value)) + rest + value
        parts.append(part + bytes(-len(part) % 4))
    data = b"".join(parts)
    if (len(data) - 12) // 4 + 1 > 0xFFFF:
        bad("the attributes of one of its files are larger than 256 KiB")
    return data
