"""A layer on its way into the store: verified while it streams by, and kept in the way that this host can mount.

Where the kernel mounts erofs from files a layer stays its own tar, with an index over it (erofs.py): nothing is
unpacked, so a hostile name has nowhere to go, and what is on disk is byte for byte what was verified. Elsewhere it is
unpacked into a folder. STACKPY_LAYERS=unpacked forces the second and STACKPY_LAYERS=indexed refuses it, for tests.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from stackpy_runtime.errors import EngineError, InvalidConfig, Unsupported
from stackpy_runtime.image import erofs, mountable
from stackpy_runtime.image.entries import BLOCK, FILE, Entry, Source
from stackpy_runtime.image.indexing import grow
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.image.unpack import unpack
from stackpy_runtime.store import layers, mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stackpy_runtime.store.root import Root

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
VARIABLE = "STACKPY_LAYERS"


def keeps_tars(root: Root) -> bool:
    """Whether layers of this engine root are kept as their tars; raises InvalidConfig, Unsupported by the variable."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "indexed", "unpacked"):
        raise InvalidConfig(f"{VARIABLE}={wanted} is neither `indexed` nor `unpacked`")
    if wanted == "unpacked":
        return False
    able = mountable.from_files(root)
    if wanted and not able:
        raise Unsupported(f"{VARIABLE}={wanted}, and this kernel or file system mounts no layer from a file")
    return able


class Stager:
    """The layers of one image, bottom first: those that are in the store, and those that are made in `staged`.

    staged: a staging folder of this process
    """

    def __init__(self, root: Root, staged: str, limits: Limits = DEFAULT) -> None:
        self._root, self._staged, self._limits = root, staged, limits
        self._tars = keeps_tars(root)
        self._made: dict[str, str] = {}  # layer ID → path, without a suffix where it is a tar
        self._opened: list[int] = []  # the uppermost last

    def __enter__(self) -> Stager:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._opened:
            os.close(descriptor)

    def present(self, layer_id: str) -> bool:
        """Goes on to the next layer, when this one is in the store already."""
        if not layers.exists(self._root, layer_id):
            return False
        self._opened.append(os.open(layers.folder(self._root, layer_id), _FOLDER))
        return True

    def add(self, layer_id: str, source: Source, verify: Callable[[], None]) -> None:
        """Takes in the next layer, over those before it.

        source: its uncompressed tar; read to its end
        verify: raises InvalidConfig unless what was read is what it should be
        """
        path = f"{self._staged}/{len(self._opened)}"
        if self._tars:
            with TarLayer(path) as layer:
                layer.index(layer_id, layer.entries(source, self._limits), self._opened[::-1], self._limits, verify)
                mount = layer.mount()
            try:
                self._opened.append(os.open(f"/proc/self/fd/{mount}/.", _FOLDER))
            finally:
                os.close(mount)
        else:
            os.mkdir(path, 0o755)
            self._opened.append(os.open(path, _FOLDER))
            unpack(Reader(source, self._limits), self._opened[-1], self._opened[-2::-1], self._limits)
            while source.read():
                pass
            verify()
        self._made[layer_id] = path

    def adopt(self) -> None:
        """Puts the layers that were made into the store, to outlive a power cut; the caller holds `layers.using`."""
        for layer_id, path in self._made.items():
            if self._tars:
                layers.adopt_tar(self._root, path, layer_id)
            else:
                layers.adopt(self._root, path, layer_id)
        if self._made:
            layers.flush(self._root)


class TarLayer:
    """The tar of a layer while it is written to `path`.tar, and its index to `path`.erofs; a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._tar = os.open(path + layers.TAR, _NEW, 0o600)
        try:
            self._index = os.open(path + layers.INDEX, _NEW, 0o600)
        except BaseException:
            os.close(self._tar)
            raise
        self._content = erofs.Content(self._index)

    def __enter__(self) -> TarLayer:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._tar)
        os.close(self._index)

    def entries(self, source: Source, limits: Limits = DEFAULT) -> Iterator[tuple[Entry, int]]:
        """Writes the tar, all of it, and yields its entries, each with the place of its content."""
        kept = _Kept(source, self._tar)
        reader = Reader(kept, limits)
        for entry in reader:
            place = reader.offset // BLOCK
            if entry.regions is not None:
                if entry.size > limits.unpacked:
                    bad(f"its files are larger than {size_text(limits.unpacked)}")
                offset = reader.offset
                for _ in reader.content(entry):
                    pass
                place = self._content.sparse(self._tar, offset, entry.regions, entry.size)
                entry.regions = None
            elif entry.kind != FILE:
                place = 0
            yield entry, place
        while kept.read():
            pass

    def index(
        self,
        layer_id: str,
        entries: Iterator[tuple[Entry, int]] | list[tuple[Entry, int]],
        lowers: list[int],
        limits: Limits,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        """Writes the index of the entries, once `verify` agrees with what was read.

        lowers: descriptors of the layers beneath, the uppermost first
        """
        try:
            tree = grow(entries, lowers, self._content.copied, limits)
            verify()
            blocks = -(-os.fstat(self._tar).st_size // BLOCK)
            # Of its own, since overlayfs tells the files of two file systems apart by it.
            uuid = hashlib.sha256(layer_id.encode()).digest()[:16]
            size = erofs.write(tree.root, self._index, self._content.end, blocks, uuid)
        except OSError as error:
            raise _failure(error) from None
        layers.mark_size(self._path + layers.INDEX, size)

    def mount(self) -> int:
        """A detached mount of the layer."""
        return mounted.mount(self._index, self._tar)


class _Kept:
    """A source whose pieces are written to a file as they are read."""

    def __init__(self, source: Source, descriptor: int) -> None:
        self._source, self._descriptor = source, descriptor

    def read(self) -> bytes:
        piece = self._source.read()
        try:
            written = os.write(self._descriptor, piece)
            while written < len(piece):
                written += os.write(self._descriptor, memoryview(piece)[written:])
        except OSError as error:
            raise _failure(error) from None
        return piece


def _failure(error: OSError) -> EngineError:
    if isinstance(error, EngineError):
        return error
    hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
    return EngineError(f"cannot write the layer: {(error.strerror or str(error)).lower()}", hint=hint)
