"""A build cache in a registry: a reference has the cache of one image, a manifest with the same blobs as a folder."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stackpy_runtime.build.cache_places import DOCUMENT_TYPE, Carried, Hashed, Piece, described, is_digest, read
from stackpy_runtime.errors import InvalidConfig, NotFound
from stackpy_runtime.image.blobs import Blob, Raw
from stackpy_runtime.image.exporting import MANIFEST_TYPE, digest_of
from stackpy_runtime.image.manifests import Descriptor, Manifest, decode
from stackpy_runtime.image.registry.client import Document
from stackpy_runtime.image.registry.downloading import Ahead, Download
from stackpy_runtime.image.spooling import temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.image.references import Reference
    from stackpy_runtime.image.registry.client import Client
    from stackpy_runtime.image.registry.connections import Connections
    from stackpy_runtime.store.root import Root

_MOST = 16 << 20  # bytes of the document


class Registry:
    """The cache that a reference names; raises InvalidConfig for one with a digest, which could not be moved on."""

    def __init__(self, connections: Connections, reference: Reference, root: Root) -> None:
        if reference.digest:
            raise InvalidConfig(f"`{reference}` has a digest, and a cache changes", hint="give a tag")
        self._connections, self._reference, self._root = connections, reference, root

    def named(self, name: str) -> str:
        """See Place."""
        return self._reference.tag

    def carried(self) -> dict[str, Carried]:
        """See Place."""
        try:
            document = self._client.manifest(self._reference.repository, self._reference.tag)
        except NotFound:
            return {}
        manifest = decode(document.data, Manifest, f"the cache `{self._reference}`")
        config = manifest.config
        if config.media_type != DOCUMENT_TYPE or not is_digest(config.digest) or config.size > _MOST:
            raise InvalidConfig(f"`{self._reference}` is no build cache", hint="name one that --cache-to has made")
        data = b""
        with self.blob(Piece("", config.digest, config.size)) as stream:
            while piece := stream.read():
                data += piece
        return {self._reference.tag: read(data, f"`{self._reference}`")}

    @contextmanager
    def blob(self, piece: Piece) -> Iterator[Ahead]:
        """See Place."""
        clients = self._connections.clients(self._reference.registry, mirrors=True)
        wanted = Descriptor(piece.blob, piece.size)
        download = Download(clients, self._reference.repository, wanted, -1, threading.Event())
        with Ahead(download, piece.size) as stream:
            yield stream

    def stored(self, piece: Piece) -> bool:
        """See Place."""
        return self._client.has_blob(self._reference.repository, piece.blob)

    def keep(self, write: Callable[[Sink], None]) -> tuple[str, int]:
        """See Place."""
        with temporary(self._root) as copy:
            with open(copy, "wb", closefd=False) as file:
                hashed = Hashed(file.write)
                write(hashed)
            self._upload(hashed.digest, hashed.size, lambda: _pieces(copy, hashed.size))
        return hashed.digest, hashed.size

    def finish(self, name: str, carried: Carried) -> None:
        """See Place."""
        data = described(carried, self._keep)
        document = Document(data, MANIFEST_TYPE, digest_of(data))
        self._client.put_manifest(self._reference.repository, self._reference.tag, document)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See Place. Nobody can hold a registry: of two who bring their caches at once the last one's counts."""
        yield

    @property
    def _client(self) -> Client:
        (client,) = self._connections.clients(self._reference.registry, mirrors=False)
        return client

    def _keep(self, data: bytes) -> tuple[str, int]:
        self._upload(digest_of(data), len(data), lambda: [data])
        return digest_of(data), len(data)

    def _upload(self, digest: str, size: int, pieces: Callable[[], Iterable[bytes]]) -> None:
        repository = self._reference.repository
        if not self._client.has_blob(repository, digest):
            self._client.upload(repository, self._client.begin(repository), digest, size, pieces)


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    source = Raw(Blob(descriptor, 0, size))
    while piece := source.read():
        yield piece
