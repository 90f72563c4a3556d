"""What a build stands on: an image of the store, nothing, programs of the host, a fresh Debian, or an archive.

A base that had to be made is kept as a step of the cache like any other, under its step ID.
"""

from __future__ import annotations

import time

from stackpy_runtime import platforms
from stackpy_runtime.build import settings
from stackpy_runtime.build.digests import sha256_hex
from stackpy_runtime.errors import Conflict, NotFound
from stackpy_runtime.image import epochs
from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.model import Base, History, Image, ImageConfig, Progress, RecipeStep
    from stackpy_runtime.store.store import Store

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ground(NamedTuple):
    """A base as later steps need it: layer IDs bottom first, configuration, history, bytes, and epoch (epochs.py).

    architecture: that of an image; "": this host's
    """

    layers: list[str]
    config: ImageConfig
    history: list[History]
    size: int
    epoch: int
    architecture: str = ""


def existing(store: Store, base: Base, step: RecipeStep) -> Ground | None:
    """The base, when nothing is to be made; None when it is.

    Raises NotFound, or Conflict when the reference names another image than it did when the recipe was made.
    """
    if base["kind"] == "scratch":
        architecture = platforms.parse(base["platform"]).architecture if "platform" in base else ""
        return Ground([], _with_path({}), [], 0, epochs.of_build(None), architecture)
    if base["kind"] == "image":
        image = store.image(step["inputs"]["image"])
        if not all(layers.exists(store.root, layer) for layer in image["layers"]):
            raise NotFound(f"a layer of `{base['reference']}` is no longer on disk", hint="load or build it again")
        return _of_image(image)
    return None


def _with_path(config: ImageConfig) -> ImageConfig:
    """A base's configuration as what is built on it begins with: there always is a PATH, as in BuildKit."""
    if "PATH" in settings.environment(config):
        return config
    return {**config, "Env": [*config.get("Env", []), _PATH]}


def _of_image(image: Image) -> Ground:
    config = _with_path(settings.inherited(image["config"]))
    epoch = epochs.of_build(image)
    return Ground(image["layers"], config, image["history"], image["size"], epoch, image["architecture"])


def make(base: Base, staged: str, progress: Callable[[Progress], None]) -> None:
    """Makes a host or bootstrap base in the folder `staged`/upper."""
    upper = f"{staged}/upper"
    if base["kind"] == "host":
        from stackpy_runtime.image import host_base

        host_base.gather(base.get("programs", []), upper)
        return
    from stackpy_runtime.image import bootstrap

    bootstrap.bootstrap(
        base["suite"],
        base.get("packages", []),
        upper,
        lambda text: progress({"kind": "output", "text": text}),
    )


def made(store: Store, step: RecipeStep) -> Ground:
    """A host or bootstrap base whose layer is in the store."""
    epoch = epochs.of_build(None)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    history: list[History] = [{"created": created, "created_by": step["text"], "empty_layer": False}]
    return Ground([step["id"]], _with_path({}), history, layers.size(store.root, step["id"]), epoch)


def load(store: Store, base: Base, step: RecipeStep, progress: Callable[[Progress], None]) -> Ground:
    """An archive's image; what it becomes in the store is found again by the step."""
    cached = store.step(step["id"])
    if cached is not None:
        try:
            image = store.image(cached["config"].get("image", ""))
        except NotFound:
            cached = None
    if cached is None or not all(layers.exists(store.root, layer) for layer in image["layers"]):
        from stackpy_runtime.image import archive

        image = archive.load(store, base["path"], progress)
        _same_archive(base["path"], step)
        store.put_step(step["id"], "", {"image": image["id"]})
    return _of_image(image)


def _same_archive(path: str, step: RecipeStep) -> None:
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != step["inputs"]["archive"]:
        raise Conflict(f"`{path}` changed while it was loaded", hint="run it again")


def lock_name(step_id: str) -> str:
    """The lock under which a step is made; one of 4096, so that lock files do not pile up with the steps."""
    return f"step-{sha256_hex(step_id.encode())[:3]}"
