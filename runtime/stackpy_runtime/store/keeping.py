"""Why something is on the disk: which images, containers, generations and steps need a blob, a layer or an image."""

from __future__ import annotations

import os

from stackpy_runtime.store import lasting, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from stackpy_runtime.store.store import Store

    class ImageHolding(TypedDict):
        """An image that needs it."""

        id: str
        references: list[str]
        containers: list[str]  # names of those that were made of the image
        history: bool  # a kept generation names it

    class Keeping(TypedDict):
        """What is kept, and for whom. Nobody: the next garbage collection takes it."""

        digest: str  # hexadecimal
        what: list[str]  # of "blob", "layer" and "image"
        size: int  # bytes on disk
        images: list[ImageHolding]
        steps: list[str]  # of recipes: `shop/image.web 4/6 COPY src/ /app`


def keepings(store: Store, beginning: str) -> list[Keeping]:
    """All that is on the disk under a digest, or the beginning of one (`sha256:` may be left out)."""
    root = store.root
    wanted = beginning.removeprefix("sha256:").lower()
    blobs = _names(f"{root.blobs}/sha256", wanted)
    on_disk = {layers.identifier(name) for name in _names(root.layers, wanted)} - {""}
    images = store.images()
    named = {image["id"].removeprefix("sha256:") for image in images}
    digests = sorted({*blobs, *on_disk, *(name for name in named if name.startswith(wanted))})
    if not digests:
        return []
    history = lasting.of_generations(root)
    documents = dict(zip((image["id"] for image in images), _documents(store), strict=True))
    texts = _step_texts(store)
    by_layer = store.step_layers()
    found: list[Keeping] = []
    for digest in digests:
        holding: list[ImageHolding] = [
            {
                "id": image["id"],
                "references": image["references"],
                "containers": store.image_users(image["id"]),
                "history": lasting.kept_by_history(image, history),
            }
            for image in images
            if image["id"] == f"sha256:{digest}"
            or digest in image["layers"]
            or (digest in blobs and digest in lasting.blobs_in_use(root, [documents[image["id"]]]))
        ]
        kinds = [("blob", digest in blobs), ("layer", digest in on_disk), ("image", digest in named)]
        paths = [f"{root.blobs}/sha256/{digest}"] if digest in blobs else []
        paths += layers.paths(root, digest) if digest in on_disk else []
        found.append(
            {
                "digest": digest,
                "what": [kind for kind, there in kinds if there],
                "size": sum(map(_size, paths)),
                "images": holding,
                "steps": [texts[step] for step in by_layer.get(digest, ()) if step in texts],
            }
        )
    return found


def _documents(store: Store) -> list[bytes]:
    """The stored documents in the order of `images`."""
    import json

    by_id = {json.loads(document)["id"]: document for document in store.image_documents()}
    return [by_id[image["id"]] for image in store.images()]


def _step_texts(store: Store) -> dict[str, str]:
    """Step ID → where it stands in what was built last."""
    found: dict[str, str] = {}
    for key, recipe in store.recipes("").items():
        for number, step in enumerate(recipe["steps"], 1):
            found.setdefault(step["id"], f"{key} {number}/{len(recipe['steps'])} {step['text']}")
    return found


def _names(folder: str, beginning: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.startswith(beginning)]
    except FileNotFoundError:
        return []


def _size(path: str) -> int:
    """Bytes that a file or a tree takes, as du counts them."""
    try:
        total = os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0
    if os.path.isdir(path) and not os.path.islink(path):
        with os.scandir(path) as entries:
            total += sum(_size(entry.path) for entry in entries)
    return total
