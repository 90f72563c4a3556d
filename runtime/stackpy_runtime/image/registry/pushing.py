"""Pushing: what of an image its registry lacks, several layers at once, and its manifest last.

An image that came from outside leaves with the manifest that it came with, where all of its blobs are kept, so that its
digest is the same everywhere. Pushing again finds everything there.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image import exporting, manifests, references
from stackpy_runtime.image.registry import compressing
from stackpy_runtime.image.registry.client import Document
from stackpy_runtime.image.registry.compressing import Packed
from stackpy_runtime.image.spooling import temporary
from stackpy_runtime.store import blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stackpy_runtime.image.references import Reference
    from stackpy_runtime.image.registry.client import Client
    from stackpy_runtime.image.registry.connections import Connections
    from stackpy_runtime.model import Image, Progress
    from stackpy_runtime.store.store import Store

    Report = Callable[[Progress], None]

_PARALLEL = 4
_REPORT_EVERY = 512 << 10


class _Part(NamedTuple):
    """A blob that the registry shall have. layer: its ID where it is one that we compress; path: a file that has it."""

    text: str
    digest: str
    size: int
    compression: str = ""
    layer: str = ""
    diff_id: str = ""
    path: str = ""


def push(
    store: Store, connections: Connections, image: Image, reference: Reference, *, progress: Report | None = None
) -> str:
    """Makes `reference` name the image in its registry; returns the manifest's digest.

    Raises InvalidConfig for a reference with a digest, EngineError for a registry that refuses or cannot be reached.
    """
    if reference.digest:
        raise InvalidConfig(f"`{reference}` has a digest, and what is pushed makes its own", hint="push to a tag")
    (client,) = connections.clients(reference.registry, mirrors=False)
    run = _Push(store, client, reference, image, progress)
    document = run.as_it_came() or run.as_ours()
    client.put_manifest(reference.repository, reference.tag, document)
    for other in store.images():
        # Who looks for what a reference names in its registry finds one image.
        if other["id"] != image["id"] and reference.canonical in other.get("published", {}):
            del other["published"][reference.canonical]
            store.put_image(other)
    now = store.image(image["id"])
    now["published"] = {**now.get("published", {}), reference.canonical: document.digest}
    now["origins"] = list(dict.fromkeys([f"{reference.name}@{document.digest}", *now.get("origins", [])]))
    store.put_image(now)
    return document.digest


def manifest_as_pushed(store: Store, image: Image) -> bytes:
    """The manifest under which an image that was built here was last pushed; b"" where one of its layers never was."""
    whole = exporting.exported(store, image)
    packed = [compressing.remembered(store, layer_id, tar.diff_id) for layer_id, tar in whole.layers]
    known = [each for each in packed if each is not None]
    return _manifest(whole.config, known) if len(known) == len(packed) else b""


def _manifest(config: bytes, packed: list[Packed]) -> bytes:
    return exporting.document(
        {
            "schemaVersion": 2,
            "mediaType": exporting.MANIFEST_TYPE,
            "config": exporting.descriptor(exporting.CONFIG_TYPE, config),
            "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in packed],
        }
    )


class _Push:
    """The parts of one image, under way."""

    def __init__(
        self, store: Store, client: Client, reference: Reference, image: Image, progress: Report | None
    ) -> None:
        self._store, self._client, self._reference, self._image = store, client, reference, image
        self._progress = progress
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sources = _elsewhere(store, reference)

    def as_it_came(self) -> Document | None:
        """Sends the blobs of the manifest that the image came with; None where not all of them are here."""
        root, digest = self._store.root, self._image.get("manifest", "")
        if not digest or self._image["recipe"]:
            return None
        data, config = blobs.get(root, digest), blobs.get(root, self._image["id"])
        if data is None or config is None:
            return None
        manifest = manifests.decode(data, manifests.Manifest, "its manifest")
        count = len(manifest.layers)
        parts = [
            _Part(f"layer {index + 1} of {count}", layer.digest, layer.size, path=blobs.path(root, layer.digest))
            for index, layer in enumerate(manifest.layers)
        ]
        if not all(os.path.isfile(part.path) and os.stat(part.path).st_size == part.size for part in parts):
            return None
        self._send_all(parts)
        self._send_config(config)
        media_type = manifest.media_type or self._image.get("manifest_type") or exporting.MANIFEST_TYPE
        return Document(data, media_type, digest)

    def as_ours(self) -> Document:
        """Sends the layers as we compress them; returns the manifest of that."""
        whole = exporting.exported(self._store, self._image)
        count = len(whole.layers)
        parts = []
        for index, (layer_id, tar) in enumerate(whole.layers):
            known = compressing.remembered(self._store, layer_id, tar.diff_id) or Packed("", 0, "gzip")
            path = blobs.path(self._store.root, known.digest) if known.digest else ""
            kept = path if path and os.path.isfile(path) and os.stat(path).st_size == known.size else ""
            text = f"layer {index + 1} of {count}"
            parts.append(_Part(text, known.digest, known.size, known.compression, layer_id, tar.diff_id, kept))
        packed = self._send_all(parts, whole.epoch)
        self._send_config(whole.config)
        data = _manifest(whole.config, packed)
        return Document(data, exporting.MANIFEST_TYPE, exporting.digest_of(data))

    def _send_all(self, parts: list[_Part], epoch: int = 0) -> list[Packed]:
        if not parts:
            return []
        with ThreadPoolExecutor(min(_PARALLEL, len(parts)), "stackpy-push") as pool:
            # The same layer twice in an image is one blob.
            distinct = {_key(part): part for part in parts}
            futures = {key: pool.submit(self._send, part, epoch) for key, part in distinct.items()}
            try:
                done = {key: future.result() for key, future in futures.items()}
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        return [done[_key(part)] for part in parts]

    def _send(self, part: _Part, epoch: int) -> Packed:
        repository = self._reference.repository
        if part.digest and self._client.has_blob(repository, part.digest):
            self._tell({"kind": "state", "text": f"{part.text}: already there"})
            return Packed(part.digest, part.size, part.compression)
        place = self._place(part, part.digest) if part.digest else None
        if place == "":
            self._tell({"kind": "state", "text": f"{part.text}: taken over from another repository"})
            return Packed(part.digest, part.size, part.compression)
        if part.path:
            descriptor = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                packed = Packed(part.digest, part.size, part.compression, descriptor)
                self._upload(part, packed, place or self._client.begin(repository))
            finally:
                os.close(descriptor)
            return packed
        with temporary(self._store.root) as file:
            packed = compressing.pack(self._store, part.layer, part.diff_id, epoch, file)
            # Another blob than the one that was asked for: this program compresses otherwise than the one before.
            if packed.digest != part.digest:
                if self._client.has_blob(repository, packed.digest):
                    return packed
                place = self._place(part, packed.digest)
            if place != "":
                self._upload(part, packed, place or self._client.begin(repository))
        return packed

    def _place(self, part: _Part, digest: str) -> str:
        """Where to upload a blob to, "" once it was mounted from another repository of the registry."""
        for source in self._sources.get(part.layer or digest, ())[:1]:
            return self._client.mount(self._reference.repository, digest, source)
        return self._client.begin(self._reference.repository)

    def _upload(self, part: _Part, packed: Packed, place: str) -> None:
        self._client.upload(
            self._reference.repository, place, packed.digest, packed.size, lambda: self._told(part, packed)
        )

    def _told(self, part: _Part, packed: Packed) -> Iterator[bytes]:
        done = told = 0
        for piece in packed.pieces():
            if self._stop.is_set():
                raise EngineError("the push was given up")
            yield piece
            done += len(piece)
            if done - told >= _REPORT_EVERY or done == packed.size:
                told = done
                self._tell({"kind": "upload", "text": part.text, "done": done, "total": packed.size})

    def _send_config(self, config: bytes) -> None:
        repository, digest = self._reference.repository, exporting.digest_of(config)
        if not self._client.has_blob(repository, digest):
            pieces: list[bytes] = [config]
            self._client.upload(repository, self._client.begin(repository), digest, len(config), lambda: pieces)

    def _tell(self, event: Progress) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(event)


def _key(part: _Part) -> str:
    return part.layer or part.digest


def _elsewhere(store: Store, reference: Reference) -> dict[str, list[str]]:
    """Other repositories of the same registry that have a layer, by its ID and, as it came, its digest."""
    found: dict[str, list[str]] = {}
    for image in store.images():
        repositories = []
        for name in image.get("origins", ()):
            origin = references.parse(name)
            if origin.registry == reference.registry and origin.repository != reference.repository:
                repositories.append(origin.repository)
        if not repositories:
            continue
        blob_digests: Iterable[str] = ()
        data = blobs.get(store.root, image.get("manifest", "")) if image.get("manifest") else None
        if data is not None:
            blob_digests = [layer.digest for layer in manifests.decode(data, manifests.Manifest, "a manifest").layers]
        for key in (*image["layers"], *blob_digests):
            found.setdefault(key, []).extend(repositories)
    return found
