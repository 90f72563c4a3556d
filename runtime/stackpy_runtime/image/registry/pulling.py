"""Pulling: what of an image the store lacks, its layers at once, each decompressed, verified and indexed as it comes.

Nothing of it is seen before all of it was found right. Where the registry went away in between, the compressed layers
that had come whole stay for the next try; where the image is at fault nothing does. Whoever wants a layer that another
pull is fetching waits for that one, and finds it there.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime import platforms
from stackpy_runtime.errors import EngineError, InvalidConfig, NotFound
from stackpy_runtime.image import manifests
from stackpy_runtime.image.blobs import Blob, Content, compression_of
from stackpy_runtime.image.limits import bad
from stackpy_runtime.image.registry import looking
from stackpy_runtime.image.registry.client import Unavailable
from stackpy_runtime.image.registry.downloading import Ahead, Cancelled, Download
from stackpy_runtime.image.staging import Stager
from stackpy_runtime.store import blobs, digests, layers, locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.image.references import Reference
    from stackpy_runtime.image.registry.connections import Connections
    from stackpy_runtime.image.registry.looking import Found
    from stackpy_runtime.image.staging import Received
    from stackpy_runtime.model import Image, Progress
    from stackpy_runtime.store.store import Store

    Report = Callable[[Progress], None]

# Layers of one image at once; docker takes three, and more bring more memory than speed.
_PARALLEL = 4
_REPORT_EVERY = 512 << 10


def pull(
    store: Store,
    connections: Connections,
    reference: Reference,
    *,
    name: str,
    platform: str = "",
    beside: bool = False,
    progress: Report | None = None,
) -> Image:
    """Brings an image into the store, and gives it `name`; layers that are there are not downloaded.

    platform: "linux/arm64"; "" means this machine's
    beside: `name` stays with the image that has it; this one is what it means for the platform
    progress: told of each layer's bytes as they come

    Raises NotFound; EngineError for a registry that cannot be reached or refuses; InvalidConfig for an image that is
    damaged, lies or passes a limit, and then nothing of it stays.
    """
    wanted = platforms.parse(platform)
    found = looking.find(connections, reference, wanted)
    try:
        document, configuration = looking.configuration(found, wanted, asked=bool(platform), limits=connections.limits)
        chain = manifests.chain_ids(configuration.rootfs.diff_ids)
        _check_repeated(found)
        with layers.using(store.root):
            _Pull(store, connections, found, chain, configuration.rootfs.diff_ids, progress).run()
            return _record(store, found, document, configuration, chain, f"{name} {wanted}" if beside else name)
    except InvalidConfig as error:
        error.subject = error.subject or str(reference)
        raise


def _check_repeated(found: Found) -> None:
    """A digest has one size; two of them would make what is verified depend on who comes first."""
    sizes: dict[str, int] = {}
    for layer in found.parsed.layers:
        if sizes.setdefault(layer.digest, layer.size) != layer.size:
            bad(f"its manifest gives {layer.digest} two sizes")


class _Layer(NamedTuple):
    """A layer that is to be fetched."""

    number: int  # from 0
    layer_id: str
    diff_id: str
    descriptor: manifests.Descriptor


class _Pull:
    """The layers of one image, under way."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        found: Found,
        chain: list[str],
        diff_ids: list[str],
        progress: Report | None,
    ) -> None:
        self._root, self._limits, self._found = store.root, connections.limits, found
        self._keeps = connections.settings.keep_blobs
        self._layers = [
            _Layer(number, layer_id, diff_id, descriptor)
            for number, (layer_id, diff_id, descriptor) in enumerate(
                zip(chain, diff_ids, found.parsed.layers, strict=True)
            )
        ]
        self._progress = progress
        self._stop = threading.Event()
        self._kept: dict[str, str] = {}  # digest → where its compressed bytes lie in staging
        self._downloads: list[Download] = []
        self._forms: dict[str, str] = {}  # layer ID → how it came compressed
        self._first = -1  # the number of the lowest layer that is missing: it waits for none beneath it

    def run(self) -> None:
        missing = [layer for layer in self._layers if not layers.exists(self._root, layer.layer_id)]
        with ExitStack() as held:
            # In one order, so that two pulls never wait for each other.
            for lock in sorted({f"layer-{layer.layer_id[:3]}" for layer in missing}):
                held.enter_context(locks.named(self._root, lock, None, self._waiting, "pull"))
            missing = [layer for layer in missing if not layers.exists(self._root, layer.layer_id)]
            for layer in self._layers:
                if layer not in missing:
                    self._tell({"kind": "state", "text": f"{self._name(layer)}: already there"})
            if missing:
                self._fetch(missing)

    def _fetch(self, missing: list[_Layer]) -> None:
        staged = layers.reserve(self._root)
        try:
            with (
                Stager(self._root, staged, self._limits) as stager,
                ThreadPoolExecutor(min(_PARALLEL, len(missing)), "stackpy-pull") as pool,
            ):
                try:
                    self._first = missing[0].number
                    for layer in self._layers[: self._first]:
                        self._go_on(stager, layer)
                    coming = {layer.layer_id: pool.submit(self._receive, stager, staged, layer) for layer in missing}
                    for layer in self._layers[self._first :]:
                        if layer.layer_id in coming:
                            stager.place(layer.layer_id, coming[layer.layer_id].result())
                        else:
                            self._go_on(stager, layer)
                except Cancelled:
                    # Another layer failed first, and it says why.
                    for future in coming.values():
                        error = future.exception()
                        if error is not None and not isinstance(error, Cancelled):
                            raise error from None
                    raise
                finally:
                    self._give_up()
                    pool.shutdown(cancel_futures=True)
                self._keep()
                stager.adopt()
            for layer in missing:
                own = layers.tar(self._root, layer.layer_id)
                size = os.stat(own).st_size if own else 0
                digests.remember_original(self._root, layer.layer_id, layer.diff_id, size)
                form, blob = self._forms.get(layer.layer_id, ""), layer.descriptor
                digests.remember_packed(self._root, layer.layer_id, layer.diff_id, blob.digest, blob.size, form)
        except (Unavailable, KeyboardInterrupt):
            self._keep()  # whoever comes back need not fetch it again
            raise
        finally:
            layers.discard(self._root, staged)

    def _go_on(self, stager: Stager, layer: _Layer) -> None:
        if not stager.present(layer.layer_id):
            raise EngineError(f"{self._name(layer)} went away during the pull", hint="pull again")

    def _keep(self) -> None:
        """Puts the compressed layers that have come whole, and were found right, among the blobs.

        Where no image comes to name them, garbage collection takes them; whoever reads one checks its digest again.
        """
        while self._kept:
            blobs.adopt(self._root, *self._kept.popitem())

    def _receive(self, stager: Stager, staged: str, layer: _Layer) -> Received:
        try:
            return self._take(stager, staged, layer)
        except BaseException as error:
            self._give_up()
            if isinstance(error, InvalidConfig | NotFound) and not isinstance(error, Cancelled):
                error.message = f"{self._name(layer)}: {error.message}"
                error.args = (error.message,)
            raise

    def _take(self, stager: Stager, staged: str, layer: _Layer) -> Received:
        descriptor = layer.descriptor
        turn = layer.layer_id if layer.number == self._first else ""
        report = self._reporter(layer)
        if (kept := self._open_kept(descriptor)) >= 0:
            try:
                self._forms[layer.layer_id] = compression_of(os.pread(kept, 6, 0))
                content = Content(Blob(kept, 0, descriptor.size), self._limits, report, hashed=True)
                return stager.receive(content, partial(_verify, content, layer, descriptor.digest), turn_of=turn)
            finally:
                os.close(kept)
        path = f"{staged}/{layer.number}.blob"
        keep = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600) if self._keeps else -1
        try:
            download = Download(self._found.clients, self._found.reference.repository, descriptor, keep, self._stop)
            self._downloads.append(download)
            with Ahead(download, descriptor.size) as coming:
                self._forms[layer.layer_id] = compression_of(coming.start())
                content = Content(coming, self._limits, report)
                received = stager.receive(content, partial(_verify, content, layer, ""), turn_of=turn)
        finally:
            if keep >= 0:
                os.close(keep)
        if keep >= 0:
            self._kept[descriptor.digest] = path
        return received

    def _give_up(self) -> None:
        """Nobody wants the rest; a server that has gone quiet must not hold us up."""
        self._stop.set()
        for download in self._downloads:
            download.abort()

    def _open_kept(self, descriptor: manifests.Descriptor) -> int:
        """The compressed layer where the store has it still; -1 where it is to be downloaded."""
        path = blobs.path(self._root, descriptor.digest)
        try:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        if os.fstat(opened).st_size == descriptor.size and blobs.is_whole(opened, descriptor.digest):
            return opened
        # A power cut has left a part of it.
        os.close(opened)
        os.unlink(path)
        return -1

    def _reporter(self, layer: _Layer) -> Callable[[int], None]:
        told = -_REPORT_EVERY
        text, total = self._name(layer), layer.descriptor.size

        def report(done: int) -> None:
            nonlocal told
            if done - told >= _REPORT_EVERY or (done == total and told != total):
                told = done
                self._tell({"kind": "download", "text": text, "done": done, "total": total})

        return report

    def _name(self, layer: _Layer) -> str:
        return f"layer {layer.number + 1} of {len(self._layers)}"

    def _waiting(self, holder: str) -> None:
        self._tell({"kind": "state", "text": f"waiting for another pull: {holder}"})

    def _tell(self, event: Progress) -> None:
        if self._progress is not None:
            self._progress(event)


def _verify(content: Content, layer: _Layer, digest: str) -> None:
    """Raises InvalidConfig unless the layer that was read is the one that was promised.

    digest: that of the stored bytes, where whoever gave them has not verified it
    """
    content.finish()
    if digest and content.digest != digest:
        bad(f"its digest is {content.digest}, and the manifest says {digest}")
    if content.diff_id != layer.diff_id:
        bad(f"the digest of its content is {content.diff_id}, and the configuration says {layer.diff_id}")


def _record(
    store: Store,
    found: Found,
    document: bytes,
    configuration: manifests.Configuration,
    chain: list[str],
    name: str,
) -> Image:
    """The image in the index, its documents beside it. name: with a platform where it is one of several"""
    root, beside = store.root, " " in name
    for digest, data in ((found.image_id, document), (found.manifest.digest, found.manifest.data)):
        blobs.put(root, digest, data)
    origins = [f"{found.reference.name}@{one.digest}" for one in (found.top, found.manifest)]
    try:
        before = store.image(found.image_id)
    except NotFound:
        before = None
    image: Image = {
        "id": found.image_id,
        "references": [] if beside else [name],
        "layers": chain,
        "config": manifests.image_config(configuration),
        "history": manifests.history(configuration),
        "recipe": "",
        "architecture": configuration.architecture,
        "size": sum(layers.size(root, layer_id) for layer_id in chain),
        "created": manifests.created(configuration),
        "manifest": found.manifest.digest,
        "manifest_type": found.parsed.media_type or found.manifest.media_type,
        "origins": list(dict.fromkeys([*origins, *(before.get("origins", []) if before else [])])),
    }
    if before is not None and "published" in before:
        image["published"] = before["published"]
    if before is not None and "beside" in before:
        image["beside"] = before["beside"]
    if beside:
        _take_place(store, image, name)
    store.put_image(image)
    return store.image(image["id"])


def _take_place(store: Store, image: Image, name: str) -> None:
    """Makes an image the one that a name means for a platform."""
    for other in store.images():
        if other["id"] != image["id"] and name in other.get("beside", ()):
            store.put_image({**other, "beside": [each for each in other["beside"] if each != name]})
    image["beside"] = list(dict.fromkeys([*image.get("beside", []), name]))
