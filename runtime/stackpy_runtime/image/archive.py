"""Images from files: tars of `docker save`, and OCI image layouts as tars or folders.

Everything in an archive is somebody else's claim until it is hashed: the image's ID is the digest of its configuration,
the configuration names the digest of each uncompressed layer, and a layer is committed only when its bytes have that
digest. All layers are staged before the first is committed, so that an archive that is refused leaves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import manifests, references
from stackpy_runtime.image.blobs import Blob, Content
from stackpy_runtime.image.limits import DEFAULT, Limits, bad
from stackpy_runtime.image.members import Members, opened
from stackpy_runtime.image.staging import Stager
from stackpy_runtime.model import Image, Progress
from stackpy_runtime.store import blobs, digests, layers

if TYPE_CHECKING:
    from stackpy_runtime.store.store import Store

Report = Callable[[Progress], None]

_REPORT_EVERY = 4 << 20


class Described(NamedTuple):
    """What an archive says of an image; only the ID and the configuration are verified yet."""

    id: str
    document: bytes  # the configuration as it is stored
    configuration: manifests.Configuration
    layers: list[tuple[str, str]]  # member's name, and its digest or ""; bottom first
    references: list[str]

    def diff_id(self, index: int) -> str:
        """The digest of one layer's tar."""
        return self.configuration.rootfs.diff_ids[index]


def describe(path: str, *, limits: Limits = DEFAULT) -> Described:
    """Reads what the archive at `path` says of its image, and no layer: `id` is what the image will be.

    Raises NotFound, or InvalidConfig for what is no archive of one image.
    """
    try:
        with opened(path, None, limits) as members:
            (found,) = _describe(members, limits, one=True)
            return found
    except InvalidConfig as error:
        error.subject = error.subject or f"archive {path}"
        raise


def load(
    store: Store, path: str, progress: Report | None = None, *, tag: bool = False, limits: Limits = DEFAULT
) -> Image:
    """Brings the image of the archive at `path` into the store, and returns it; layers that are there are not read.

    progress: told of each layer and, now and then, of the bytes read of it
    tag: also give the image the references that the archive has for it

    Raises NotFound; InvalidConfig for an archive that is damaged, lies or passes a limit, and then nothing of it stays.
    """
    (image,) = _load(store, path, progress, tag, limits, one=True)
    return image


def load_all(store: Store, path: str, progress: Report | None = None, *, limits: Limits = DEFAULT) -> list[Image]:
    """Brings every image of the archive into the store under the references that the archive has for it.

    Raises as `load`; images before one that is refused stay.
    """
    return _load(store, path, progress, True, limits, one=False)


def _load(store: Store, path: str, progress: Report | None, tag: bool, limits: Limits, *, one: bool) -> list[Image]:
    root = store.root
    images = []
    try:
        with opened(path, root.staging, limits) as members, layers.using(root):
            for described in _describe(members, limits, one=one):
                staged = layers.reserve(root)
                try:
                    images.append(_bring(store, staged, members, described, progress, tag, limits))
                finally:
                    layers.discard(root, staged)
        return images
    except InvalidConfig as error:
        error.subject = error.subject or f"archive {path}"
        raise


def _bring(
    store: Store,
    staged: str,
    members: Members,
    described: Described,
    progress: Report | None,
    tag: bool,
    limits: Limits,
) -> Image:
    """One image into the store."""
    root = store.root
    diff_ids = described.configuration.rootfs.diff_ids
    chain = manifests.chain_ids(diff_ids)
    with Stager(root, staged, limits) as stager:
        _stage_layers(stager, members, described, chain, progress, limits)
        stager.adopt()
    for layer_id, diff_id in zip(chain, diff_ids, strict=True):
        own = layers.tar(root, layer_id)
        digests.remember_original(root, layer_id, diff_id, os.stat(own).st_size if own else 0)
    # Whoever saves or pushes the image gives away the very document that its ID is the digest of.
    blobs.put(root, described.id, described.document)
    image = _image(store, described, chain, described.references if tag else [])
    store.put_image(image)
    return store.image(image["id"])


def _stage_layers(
    stager: Stager,
    members: Members,
    described: Described,
    chain: list[str],
    progress: Report | None,
    limits: Limits,
) -> None:
    """Takes in the layers that the store lacks."""
    for index, layer_id in enumerate(chain):
        text = f"layer {index + 1} of {len(chain)}"
        if stager.present(layer_id):
            if progress is not None:
                progress({"kind": "state", "text": f"{text}: already there"})
            continue
        name, digest = described.layers[index]
        report = _reporter(progress, text)
        try:
            blob = members.get(name)
            content = Content(blob, limits, partial(report, blob.size), hashed=bool(digest))
            stager.add(layer_id, content, partial(_verify, content, digest, described.diff_id(index)))
        except InvalidConfig as error:
            error.message = f"{text}: {error.message}"
            error.args = (error.message,)
            raise


def _verify(content: Content, digest: str, diff_id: str) -> None:
    """Raises InvalidConfig unless the layer that was read is the one that was promised."""
    content.finish()
    if digest and content.digest != digest:
        bad(f"its digest is {content.digest}, and the manifest says {digest}")
    if content.diff_id != diff_id:
        bad(f"the digest of its content is {content.diff_id}, and the configuration says {diff_id}")


def _describe(members: Members, limits: Limits, *, one: bool) -> list[Described]:
    docker = members.find("manifest.json")
    if docker is not None:
        data = _document(docker, "manifest.json", limits)
        images = manifests.decode(data, list[manifests.DockerImage], "manifest.json")
        if not images:
            bad("it has no image")
        if one:
            _refuse_several([(image.repo_tags or [image.config])[0] for image in images])
        return [_docker_image(members, image, limits) for image in images]
    index = members.find("index.json")
    if index is None:
        bad("it is neither a docker archive (no manifest.json) nor an OCI layout (no index.json)")
    found = _layout(members, _document(index, "index.json", limits), limits)
    if one:
        _refuse_several([(image.references or [image.id])[0] for image in found])
    return found


def _refuse_several(names: list[str]) -> None:
    if len(names) > 1:
        bad(f"it has several images: {', '.join(names)[:400]}")


def _docker_image(members: Members, image: manifests.DockerImage, limits: Limits) -> Described:
    document = _document(members.get(image.config), "the configuration", limits)
    image_id = manifests.sha256(document)
    stem = image.config.rpartition("/")[2].removesuffix(".json")
    if len(stem) == 64 and stem != image_id[7:]:
        bad(f"the digest of its configuration is {image_id}, and its name says {stem}")
    configuration = _configuration(document, len(image.layers), limits)
    names = [references.normalise(name) for name in image.repo_tags or []]
    return Described(image_id, document, configuration, [(name, "") for name in image.layers], names)


def _layout(members: Members, data: bytes, limits: Limits) -> list[Described]:
    kind = manifests.check_kind(data, manifests.Descriptor(digest="", size=0))
    if kind != "index":
        bad("index.json is not an index")
    index = manifests.decode(data, manifests.Index, "the index")
    # Several names stand for several images; several platforms of one image have one name, or none.
    named = [one for one in index.manifests if manifests.full_name(one)]
    groups = [[one] for one in named] if len({one.digest for one in named}) > 1 else [index.manifests]
    found: dict[str, Described] = {}
    for group in groups:
        one = _layout_image(members, manifests.choose(group), limits)
        before = found.get(one.id)
        found[one.id] = one._replace(references=before.references + one.references) if before else one
    if len(groups) == 1:
        (one,) = found.values()
        names = dict.fromkeys(references.normalise(manifests.full_name(each)) for each in named)
        return [one._replace(references=list({**dict.fromkeys(one.references), **names}))]
    return list(found.values())


def _layout_image(members: Members, chosen: manifests.Descriptor, limits: Limits) -> Described:
    name = ""
    for _ in range(limits.nesting):
        name = name or manifests.full_name(chosen)
        data = _verified(members, chosen, "a manifest", limits)
        if manifests.check_kind(data, chosen) == "manifest":
            break
        chosen = manifests.choose(manifests.decode(data, manifests.Index, "the index").manifests)
    else:
        bad(f"its indexes are nested more than {limits.nesting} deep")
    manifest = manifests.decode(data, manifests.Manifest, "the manifest")
    document = _verified(members, manifest.config, "the configuration", limits)
    configuration = _configuration(document, len(manifest.layers), limits)
    sources = [(_blob_name(layer.digest), layer.digest) for layer in manifest.layers]
    names = [references.normalise(name)] if name else []
    return Described(manifest.config.digest, document, configuration, sources, names)


def _configuration(document: bytes, count: int, limits: Limits) -> manifests.Configuration:
    configuration = manifests.decode(document, manifests.Configuration, "the configuration")
    manifests.check_configuration(configuration, count, limits)
    return configuration


def _document(blob: Blob, what: str, limits: Limits) -> bytes:
    manifests.check_size(blob.size, what, limits)
    return blob.read_all()


def _verified(members: Members, descriptor: manifests.Descriptor, what: str, limits: Limits) -> bytes:
    data = _document(members.get(_blob_name(descriptor.digest)), what, limits)
    if len(data) != descriptor.size:
        bad(f"{what} has {len(data)} bytes, and its descriptor says {descriptor.size}")
    if manifests.sha256(data) != descriptor.digest:
        bad(f"the digest of {what} is {manifests.sha256(data)}, and its descriptor says {descriptor.digest}")
    return data


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{manifests.check_digest(digest)}"


def _image(store: Store, described: Described, chain: list[str], names: list[str]) -> Image:
    configuration = described.configuration
    image: Image = {
        "id": described.id,
        "references": names,
        "layers": chain,
        "config": manifests.image_config(configuration),
        "history": manifests.history(configuration),
        "recipe": "",
        "architecture": configuration.architecture,
        "size": sum(layers.size(store.root, layer_id) for layer_id in chain),
        "created": manifests.created(configuration),
    }
    if configuration.author:
        image["author"] = configuration.author
    return image


def _reporter(progress: Report | None, text: str) -> Callable[[int, int], None]:
    told = -_REPORT_EVERY

    def report(total: int, done: int) -> None:
        nonlocal told
        if progress is not None and (done - told >= _REPORT_EVERY or (done == total and told != total)):
            told = done
            progress({"kind": "download", "text": text, "done": done, "total": total})

    return report
