"""Images as they leave the store: layers as tars, the configuration, the manifest.

What came from outside leaves as it came: its configuration is kept as a blob, and a layer's own tar is used where it is
kept. What was built here has no digests until somebody asks; then the same recipe on the same base gives the same
bytes, since times are clamped (epochs.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import NotFound
from stackpy_runtime.image import epochs
from stackpy_runtime.image import layer_tar as tree
from stackpy_runtime.image.layer_tar import Hashed, LayerDigest
from stackpy_runtime.labels import RESERVED_PREFIX
from stackpy_runtime.store import blobs, digests, layers

if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import History, Image
    from stackpy_runtime.store.store import Store

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CHUNK = 1 << 20


class Exported(NamedTuple):
    """An image with its digests: the configuration's bytes, and for each layer its ID and tar, bottom first."""

    config: bytes
    layers: list[tuple[str, LayerDigest]]
    epoch: int


def layer_tar(store: Store, layer_id: str, out: Sink, *, epoch: int) -> LayerDigest:
    """Writes the tar of a layer; returns its digest and size.

    epoch: seconds since 1970; later times become this one, unless the layer has an epoch, or a tar, of its own

    Raises NotFound where the layer is gone, Unsupported for what a tar cannot hold.
    """
    hashed = Hashed(out)
    _write(store, layer_id, hashed, epoch)
    _remember(store, layer_id, epoch, hashed.digest)
    return hashed.digest


def layer_digest(store: Store, layer_id: str, *, epoch: int) -> LayerDigest:
    """What `layer_tar` would return; read from the store once somebody has computed it."""
    if layers.tar(store.root, layer_id):
        known = digests.original(store.root, layer_id)
    else:
        known = digests.tar(store.root, layer_id, _clamp(store, layer_id, epoch))
    if known is not None:
        return LayerDigest(*known)
    hashed = Hashed()
    _write(store, layer_id, hashed, epoch)
    _remember(store, layer_id, epoch, hashed.digest)
    return hashed.digest


def _write(store: Store, layer_id: str, out: Sink, epoch: int) -> None:
    if not layers.exists(store.root, layer_id):
        raise NotFound(f"layer `{layer_id[:19]}` is no longer on disk", hint="load, pull or build its image again")
    if own := layers.tar(store.root, layer_id):
        with open(own, "rb", buffering=0) as tar:
            while data := tar.read(_CHUNK):
                out.write(data)
        return
    descriptor = os.open(layers.folder(store.root, layer_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree.write(descriptor, out, epoch=_clamp(store, layer_id, epoch))
    finally:
        os.close(descriptor)


def _clamp(store: Store, layer_id: str, epoch: int) -> int:
    if digests.original(store.root, layer_id) is not None:
        return tree.NEVER  # its times are those of its tar, which this host could not keep
    return epoch


def _remember(store: Store, layer_id: str, epoch: int, digest: LayerDigest) -> None:
    if layers.tar(store.root, layer_id):
        digests.remember_original(store.root, layer_id, *digest)
    else:
        digests.remember_tar(store.root, layer_id, _clamp(store, layer_id, epoch), *digest)


def exported(store: Store, image: Image) -> Exported:
    """An image with all its digests; computes those that nobody has asked for yet."""
    epoch = epochs.of_image(image)
    tars = [(layer_id, layer_digest(store, layer_id, epoch=epoch)) for layer_id in image["layers"]]
    diff_ids = [digest.diff_id for _, digest in tars]
    kept = blobs.get(store.root, image["id"]) if image["id"] and not image["recipe"] else None
    if kept is not None and _names(kept, diff_ids):
        return Exported(kept, tars, epoch)
    return Exported(_configuration(image, diff_ids, epoch), tars, epoch)


def image_config(store: Store, image: Image) -> bytes:
    """The configuration whose digest is the image's ID elsewhere (OCI config.md); the same bytes each time."""
    return exported(store, image).config


def manifest(whole: Exported) -> bytes:
    """OCI's manifest of an image whose layers are plain tars."""
    return document(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, whole.config),
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": digest.diff_id, "size": digest.size} for _, digest in whole.layers
            ],
        }
    )


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    """OCI's descriptor of a document."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def digest_of(data: bytes) -> str:
    """The digest of a document."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def document(value: object) -> bytes:
    """JSON without anything that could be written in two ways; keys in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")


def _names(config: bytes, diff_ids: list[str]) -> bool:
    """Whether a configuration is of these very layers."""
    found: list[str] = json.loads(config)["rootfs"]["diff_ids"]
    return found == diff_ids


def _configuration(image: Image, diff_ids: list[str], epoch: int) -> bytes:
    """OCI's configuration of an image that has none of its own. Pure.

    Only what a recipe makes is the same each time: an image of another origin has the times that it has.
    """
    latest = epoch if image["recipe"] else tree.NEVER
    own = image["created"] if image["recipe"] else ""
    # In the order of Go's encoder, maps by key: what another engine makes of the same image reads alike.
    config: dict[str, Any] = json.loads(json.dumps(image["config"], sort_keys=True))
    # Labels that tie it to a stack are of this engine, and would make each stack's image another.
    labels = {key: text for key, text in config.pop("Labels", {}).items() if not key.startswith(RESERVED_PREFIX)}
    if labels:
        config["Labels"] = labels
    return document(
        {
            "created": _moment(image["created"], latest, own),
            **({"author": image["author"]} if image.get("author") else {}),
            "architecture": image["architecture"],
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [_line(line, latest, own) for line in _history(image)],
        }
    )


def _history(image: Image) -> list[History]:
    """A line for each layer, as readers demand: an archive without a history may be what the image stands on."""
    lines, count = image["history"], len(image["layers"])
    missing = count - sum(not line["empty_layer"] for line in lines)
    if missing < 0:
        return []
    unknown: History = {"created": "", "created_by": "", "empty_layer": False}
    return [unknown] * missing + lines


def _line(line: History, latest: int, own: str) -> dict[str, Any]:
    created = _moment(line["created"], latest, own)
    return {
        **({"created": created} if created else {}),
        "created_by": line["created_by"],
        **({"comment": line["comment"]} if line.get("comment") else {}),
        **({"author": line["author"]} if line.get("author") else {}),
        **({"empty_layer": True} if line["empty_layer"] else {}),
    }


def _moment(date: str, latest: int, own: str) -> str:
    """A date, or the latest that it may be; that of the build itself, `own`, is the latest."""
    if latest == tree.NEVER or (date and date != own and epochs.seconds(date) <= latest):
        return date
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(latest))
