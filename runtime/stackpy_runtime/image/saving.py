"""Image archives: what `docker save` writes since version 25, and OCI image layouts as tars.

Docker's form is an OCI layout with docker's manifest.json beside it, over the same blobs: `docker load` of every
version and podman read the latter, containerd and skopeo's `oci-archive:` the former. Both name plain tars, whose
digests are those in the configuration; the same images always give the same bytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig
from stackpy_runtime.image import exporting, references, tar_writing
from stackpy_runtime.image.entries import FILE, FOLDER
from stackpy_runtime.store import trees
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
    store: Store,
    names: Sequence[str],
    out: Sink,
    *,
    form: str = "docker",
    called: Sequence[str] | None = None,
    progress: Report | None = None,
) -> None:
    """Writes the images that `names` (references or IDs) mean as one archive.

    form: "docker" or "oci"
    called: what they are called in the archive; None: as they were named
    progress: told of each layer that is written

    Raises NotFound, and InvalidConfig for another form or no names; nothing is written then.
    """
    if form not in FORMATS:
        raise InvalidConfig(f"`{form}` is no format of an archive", hint=f"one of {', '.join(FORMATS)}")
    whole = _whole(store, names, called)
    place = _Tar(out, max(each.epoch for _, _, each in whole))
    _Layout(store, place, progress).write(whole, docker=form == "docker")
    out.write(tar_writing.END)


def save_layout(
    store: Store,
    names: Sequence[str],
    folder: str,
    *,
    called: Sequence[str] | None = None,
    progress: Report | None = None,
) -> None:
    """Writes the images as an OCI image layout, a folder, which is there whole or not at all.

    Arguments as of `save`. Raises as `save`; Conflict where there is something at `folder` already.
    """
    whole = _whole(store, names, called)
    aside = f"{folder.rstrip('/')}.{os.getpid()}.part"
    try:
        if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
            raise Conflict(f"`{folder}` is there already", hint="remove it, or name another folder")
        os.makedirs(f"{aside}/blobs/sha256")
        _Layout(store, _Folder(aside), progress).write(whole, docker=False)
        os.rename(aside, folder)
    except OSError as error:
        if isinstance(error, EngineError):
            raise
        raise EngineError(f"cannot write `{folder}`: {(error.strerror or str(error)).lower()}") from None
    finally:
        trees.remove(aside)


def _whole(store: Store, names: Sequence[str], called: Sequence[str] | None) -> list[tuple[Image, list[str], Exported]]:
    if not names:
        raise InvalidConfig("there is no image to save")
    own = None if called is None else [references.normalise(each) for each in called]
    return [
        (image, given if own is None else own, exporting.exported(store, image))
        for image, given in _chosen(store, names)
    ]


def _chosen(store: Store, names: Sequence[str]) -> list[tuple[Image, list[str]]]:
    """Each image once, with the references by which it was named; one named by its ID has none in the archive."""
    found: dict[str, tuple[Image, list[str]]] = {}
    for name in names:
        image = store.image(name)
        _, given = found.setdefault(image["id"], (image, []))
        given += [each for each in image["references"] if each in spellings(name) and each not in given]
    return list(found.values())


class _Tar:
    """A layout as a tar; the caller writes its end."""

    def __init__(self, out: Sink, epoch: int) -> None:
        self._out, self._epoch = out, epoch
        for name in (b"blobs", b"blobs/sha256"):
            out.write(tar_writing.header(FOLDER, name, mode=0o755, mtime=epoch))

    def file(self, name: str, size: int, write: Callable[[Sink], object]) -> None:
        """A file of `size` bytes, which `write` gives."""
        self._out.write(tar_writing.header(FILE, name.encode(), mode=0o644, size=size, mtime=self._epoch))
        write(self._out)
        self._out.write(tar_writing.padding(size))


class _Folder:
    """A layout as a folder that has its folders already."""

    def __init__(self, path: str) -> None:
        self._path = path

    def file(self, name: str, size: int, write: Callable[[Sink], object]) -> None:
        """A file of `size` bytes, which `write` gives."""
        with open(f"{self._path}/{name}", "xb", buffering=1 << 20) as out:
            write(out)


class _Layout:
    def __init__(self, store: Store, place: _Tar | _Folder, progress: Report | None) -> None:
        self._store, self._place, self._progress = store, place, progress
        self._written: set[str] = set()

    def write(self, whole: list[tuple[Image, list[str], Exported]], *, docker: bool) -> None:
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

    def _layer(self, layer_id: str, digest: LayerDigest, epoch: int, text: str) -> None:
        if digest.diff_id in self._written:
            return
        self._written.add(digest.diff_id)
        if self._progress is not None:
            self._progress({"kind": "state", "text": text})

        def write(out: Sink) -> None:
            written = exporting.layer_tar(self._store, layer_id, out, epoch=epoch)
            if written != digest:
                raise EngineError(
                    f"layer `{layer_id[:19]}` has changed since its digest was computed: {digest.diff_id} then, "
                    f"{written.diff_id} now",
                    hint="`stackpy image rm` and build, pull or load the image again",
                )

        self._place.file(_path(digest.diff_id), digest.size, write)

    def _blob(self, digest: str, data: bytes) -> None:
        if digest not in self._written:
            self._written.add(digest)
            self._file(_path(digest), data)

    def _file(self, name: str, data: bytes) -> None:
        self._place.file(name, len(data), lambda out: out.write(data))


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _annotations(name: str) -> dict[str, str]:
    """Docker and containerd look for the first, podman and skopeo for the second."""
    canonical = references.parse(name).canonical
    return {"io.containerd.image.name": canonical, "org.opencontainers.image.ref.name": canonical}
