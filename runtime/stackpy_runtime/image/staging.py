"""A layer on its way into the store: verified while it streams by, and kept in the way that this host can mount.

Where the kernel mounts erofs from files a layer stays its own tar, with an index over it (erofs.py): nothing is
unpacked, so a hostile name has nowhere to go, and what is on disk is byte for byte what was verified. Elsewhere it is
unpacked into a folder. STACKPY_LAYERS=unpacked forces the second and STACKPY_LAYERS=indexed refuses it, for tests.
"""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import EngineError, InvalidConfig, Unsupported
from stackpy_runtime.image import erofs, mountable
from stackpy_runtime.image.beside import Beside
from stackpy_runtime.image.blobs import Blob, Raw
from stackpy_runtime.image.entries import BLOCK, FILE, Entry, Source
from stackpy_runtime.image.indexing import grow
from stackpy_runtime.image.layer_tree import TreeFull
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.image.unpack import unpack
from stackpy_runtime.image.written import Written
from stackpy_runtime.store import layers, mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    able = mountable.from_files(root.staging)
    if wanted and not able:
        raise Unsupported(f"{VARIABLE}={wanted}, and this kernel or file system mounts no layer from a file")
    return able


class Received(NamedTuple):
    """The tar of a layer that was taken in before the layers beneath it were there; None for one that is unpacked."""

    path: str
    tar: TarLayer | None
    entries: list[tuple[Entry, int]] | None  # None: they are too many to keep, or this host mounts no tars


class Stager:
    """The layers of one image, bottom first: those that are in the store, and those that are made in `staged`.

    staged: a staging folder of this process

    A context manager; what was received and not placed goes with it.
    """

    def __init__(self, root: Root, staged: str, limits: Limits = DEFAULT) -> None:
        self._root, self._staged, self._limits = root, staged, limits
        self._tars = keeps_tars(root)
        self._made: dict[str, str] = {}  # layer ID → path, without a suffix where it is a tar
        self._opened: list[int] = []  # the uppermost last
        self._writing: list[TarLayer] = []

    def __enter__(self) -> Stager:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._opened:
            os.close(descriptor)
        for layer in self._writing:
            layer.close()

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
        path = self._path()
        if self._tars:
            layer = self._new(path)
            self._index(layer_id, path, layer, layer.entries(source, self._limits), verify)
        else:
            self._unpack(layer_id, path, source)
            verify()

    def receive(self, source: Source, verify: Callable[[], None], *, turn_of: str = "") -> Received:
        """Takes in a layer out of its turn, for `place`; several threads may do so at once. Arguments as for `add`.

        turn_of: its ID where it is the next layer: if it is to be unpacked, that needs no tar on disk then
        """
        path = self._path()
        if turn_of and not self._tars:
            self._unpack(turn_of, path, source)
            verify()
            return Received(path, None, None)
        layer = self._new(path)
        entries: list[tuple[Entry, int]] | None = None
        if self._tars:
            coming = layer.entries(source, self._limits)
            entries = list(islice(coming, self._limits.waiting))
            for _ in coming:
                entries = None  # several layers may be waiting at the same time
        else:
            layer.keep(source)
        verify()
        return Received(path, layer, entries)

    def place(self, layer_id: str, received: Received) -> None:
        """Makes what was received the next layer."""
        if received.tar is None:
            return  # it has had its turn
        if self._tars:
            entries = received.tar.again(self._limits) if received.entries is None else _let_go(received.entries)
            self._index(layer_id, received.path, received.tar, entries, lambda: None)
        else:
            self._unpack_kept(layer_id, received.path, received.tar)

    def adopt(self) -> None:
        """Puts the layers that were made into the store, to outlive a power cut; the caller holds `layers.using`."""
        for layer_id, path in self._made.items():
            if os.path.isdir(path):
                layers.adopt(self._root, path, layer_id)
            else:
                layers.adopt_tar(self._root, path, layer_id)
        if self._made:
            layers.flush(self._root)

    def _path(self) -> str:
        return f"{self._staged}/{os.urandom(8).hex()}"

    def _new(self, path: str) -> TarLayer:
        layer = TarLayer(path)
        self._writing.append(layer)
        return layer

    def _index(
        self,
        layer_id: str,
        path: str,
        layer: TarLayer,
        entries: Iterable[tuple[Entry, int]],
        verify: Callable[[], None],
    ) -> None:
        entries = iter(entries)
        try:
            layer.index(layer_id, entries, self._opened[::-1], self._limits, verify)
        except TreeFull:
            for _ in entries:
                pass  # they are written as they are read
            verify()
            self._unpack_kept(layer_id, path, layer)
            return
        mount = layer.mount()
        try:
            # What a mount call answers cannot be read; this can.
            self._opened.append(os.open(f"/proc/self/fd/{mount}/.", _FOLDER))
        finally:
            os.close(mount)
        layer.close()
        self._made[layer_id] = path

    def _unpack_kept(self, layer_id: str, path: str, layer: TarLayer) -> None:
        self._unpack(layer_id, path, layer.reading())
        layer.close()
        layer.remove()

    def _unpack(self, layer_id: str, path: str, source: Source) -> None:
        os.mkdir(path, 0o755)
        folder = os.open(path, _FOLDER)
        lowers = self._opened[::-1]
        self._opened.append(folder)
        unpack(Reader(source, self._limits), folder, lowers, self._limits)
        while source.read():
            pass
        self._made[layer_id] = path


def _let_go(entries: list[tuple[Entry, int]]) -> Iterator[tuple[Entry, int]]:
    """The entries in their order; each is forgotten when the next is asked for, since a tree grows meanwhile."""
    entries.reverse()
    while entries:
        yield entries.pop()


class TarLayer:
    """The tar of a layer while it is written to `path`.tar, and its index to `path`.erofs."""

    def __init__(self, path: str) -> None:
        self._path, self._open = path, True
        self._tar = os.open(path + layers.TAR, _NEW, 0o600)
        try:
            self._index = os.open(path + layers.INDEX, _NEW, 0o600)
        except BaseException:
            os.close(self._tar)
            raise
        self._content = erofs.Content(self._index)
        self._writing = Beside(Written(self._tar))

    def close(self) -> None:
        """Closes both files; once more does nothing."""
        if self._open:
            self._open = False
            self._writing.close()  # before another file gets the number of the descriptor
            os.close(self._tar)
            os.close(self._index)

    def remove(self) -> None:
        """Removes both files."""
        for suffix in (layers.TAR, layers.INDEX):
            os.unlink(self._path + suffix)

    def keep(self, source: Source) -> None:
        """Writes the tar, unseen."""
        kept = _Kept(source, self._writing)
        while kept.read():
            pass

    def reading(self) -> Source:
        """The tar that was written, from its beginning."""
        return Raw(Blob(self._tar, 0, os.fstat(self._tar).st_size))

    def entries(self, source: Source, limits: Limits = DEFAULT) -> Iterator[tuple[Entry, int]]:
        """Writes the tar, all of it, and yields its entries, each with the place of its content."""
        return self._entries(_Kept(source, self._writing), limits)

    def again(self, limits: Limits = DEFAULT) -> Iterator[tuple[Entry, int]]:
        """The same entries of the tar that was written."""
        self._content = erofs.Content(self._index)
        return self._entries(self.reading(), limits)

    def _entries(self, source: Source, limits: Limits) -> Iterator[tuple[Entry, int]]:
        reader = Reader(source, limits)
        for entry in reader:
            place = reader.offset // BLOCK
            if entry.regions is not None:
                if entry.size > limits.unpacked:
                    bad(f"its files are larger than {size_text(limits.unpacked)}")
                offset = reader.offset
                for _ in reader.content(entry):
                    pass
                self._written()
                place = self._content.sparse(self._tar, offset, entry.regions, entry.size)
                entry.regions = None
            elif entry.kind != FILE:
                place = 0
            yield entry, place
        while source.read():
            pass

    def index(
        self,
        layer_id: str,
        entries: Iterable[tuple[Entry, int]],
        lowers: list[int],
        limits: Limits,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        """Writes the index of the entries, once `verify` agrees with what was read.

        lowers: descriptors of the layers beneath, the uppermost first

        Raises TreeFull, part of the entries unread, for too many of them.
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

    def _written(self) -> None:
        """Waits until all is in the file that was read so far."""
        try:
            self._writing.wait()
        except OSError as error:
            raise _failure(error) from None

    def mount(self) -> int:
        """A detached mount of the layer."""
        return mounted.mount(self._index, self._tar)


class _Kept:
    """A source whose pieces are written down as they are read; at its end all of them are."""

    def __init__(self, source: Source, writing: Beside) -> None:
        self._source, self._writing = source, writing

    def read(self) -> bytes:
        piece = self._source.read()
        try:
            if piece:
                self._writing.give(piece)
            else:
                self._writing.finish()
        except OSError as error:
            raise _failure(error) from None
        return piece


def _failure(error: OSError) -> EngineError:
    if isinstance(error, EngineError):
        return error
    hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
    return EngineError(f"cannot write the layer: {(error.strerror or str(error)).lower()}", hint=hint)
