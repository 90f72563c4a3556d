"""Image archives: what `docker save` writes since version 25, and OCI image layouts as tars.

Docker's form is an OCI layout with docker's manifest.json beside it, over the same blobs: `docker load` of every
version and podman read the latter, containerd and skopeo's `oci-archive:` the former. Both name plain tars, whose
digests are those in the configuration; the same images always give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image import exporting, references, tar_writing
from stackpy_runtime.image.entries import FILE, FOLDER
from stackpy_runtime.store.images import spellings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy_runtime.image.exporting import Exported
    from stackpy_runtime.image.layer_tar import LayerDigest, Sink
    from stackpy_runtime.model import Image, Progress
    from stackpy_runtime.store.store import Store

    Report = Callable[[Progress], None]

FORMATS = ("docker", "oci")


def save(
    store: Store, names: Sequence[str], out: Sink, *, form: str = "docker", progress: Report | None = None
) -> None:
    """Writes the images that `names` (references or IDs) mean as one archive.

    form: "docker" or "oci"
    progress: told of each layer that is written

    Raises NotFound, and InvalidConfig for another form or no names; nothing is written then.
    """
    if form not in FORMATS:
        raise InvalidConfig(f"`{form}` is no format of an archive", hint=f"one of {', '.join(FORMATS)}")
    if not names:
        raise InvalidConfig("there is no image to save")
    chosen = _chosen(store, names)
    whole = [(image, given, exporting.exported(store, image)) for image, given in chosen]
    archive = _Archive(store, out, max(each.epoch for _, _, each in whole), progress)
    archive.write(whole, docker=form == "docker")


def _chosen(store: Store, names: Sequence[str]) -> list[tuple[Image, list[str]]]:
    """Each image once, with the references by which it was named; one named by its ID has none in the archive."""
    found: dict[str, tuple[Image, list[str]]] = {}
    for name in names:
        image = store.image(name)
        _, given = found.setdefault(image["id"], (image, []))
        given += [each for each in image["references"] if each in spellings(name) and each not in given]
    return list(found.values())


class _Archive:
    def __init__(self, store: Store, out: Sink, epoch: int, progress: Report | None) -> None:
        self._store, self._out, self._epoch, self._progress = store, out, epoch, progress
        self._written: set[str] = set()

    def write(self, whole: list[tuple[Image, list[str], Exported]], *, docker: bool) -> None:
        self._folder(b"blobs")
        self._folder(b"blobs/sha256")
        descriptors: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        for image, given, exported in whole:
            count = len(exported.layers)
            for number, (layer_id, digest) in enumerate(exported.layers, 1):
                self._layer(layer_id, digest, exported.epoch, f"layer {number} of {count}")
            manifest = exporting.manifest(exported)
            for data in (exported.config, manifest):
                self._blob(exporting.digest_of(data), data)
            described = exporting.descriptor(exporting.MANIFEST_TYPE, manifest)
            described["platform"] = {"architecture": image["architecture"], "os": "linux"}
            descriptors += [{**described, "annotations": _annotations(name)} for name in given] or [described]
            images.append(
                {
                    "Config": _path(exporting.digest_of(exported.config)),
                    "RepoTags": given or None,
                    "Layers": [_path(digest.diff_id) for _, digest in exported.layers],
                }
            )
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": descriptors}
        self._file("index.json", exporting.document(index))
        if docker:
            self._file("manifest.json", exporting.document(images))
        self._file("oci-layout", exporting.document({"imageLayoutVersion": "1.0.0"}))
        self._out.write(tar_writing.END)

    def _layer(self, layer_id: str, digest: LayerDigest, epoch: int, text: str) -> None:
        if digest.diff_id in self._written:
            return
        self._written.add(digest.diff_id)
        if self._progress is not None:
            self._progress({"kind": "state", "text": text})
        self._head(_path(digest.diff_id), digest.size)
        written = exporting.layer_tar(self._store, layer_id, self._out, epoch=epoch)
        if written != digest:
            raise EngineError(
                f"layer `{layer_id[:19]}` has changed since its digest was computed: {digest.diff_id} then, "
                f"{written.diff_id} now",
                hint="`stackpy image rm` and build, pull or load the image again",
            )
        self._out.write(tar_writing.padding(digest.size))

    def _blob(self, digest: str, data: bytes) -> None:
        if digest not in self._written:
            self._written.add(digest)
            self._file(_path(digest), data)

    def _file(self, name: str, data: bytes) -> None:
        self._head(name, len(data))
        self._out.write(data + tar_writing.padding(len(data)))

    def _head(self, name: str, size: int) -> None:
        self._out.write(tar_writing.header(FILE, name.encode(), mode=0o644, size=size, mtime=self._epoch))

    def _folder(self, name: bytes) -> None:
        self._out.write(tar_writing.header(FOLDER, name, mode=0o755, mtime=self._epoch))


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _annotations(name: str) -> dict[str, str]:
    """Docker and containerd look for the first, podman and skopeo for the second."""
    canonical = references.parse(name).canonical
    return {"io.containerd.image.name": canonical, "org.opencontainers.image.ref.name": canonical}
