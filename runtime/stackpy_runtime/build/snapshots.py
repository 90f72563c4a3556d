"""Containers and tars as images: export, diff, commit, import.

What a container has written is read through the layers' own folders, never through /proc/PID/root: no volume, secret or
device that is mounted in it can get into an image.
"""

from __future__ import annotations

import os
import posixpath
import time

from stackpy_runtime.build import alterations, settings, unpacking
from stackpy_runtime.build.digests import sha256_hex
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.container.differences import differences
from stackpy_runtime.errors import InvalidConfig, NotFound
from stackpy_runtime.image import exporting, layer_tar, references
from stackpy_runtime.image.blobs import Content
from stackpy_runtime.image.limits import DEFAULT, Limits
from stackpy_runtime.image.spooling import temporary
from stackpy_runtime.image.staging import Stager
from stackpy_runtime.platforms import machine
from stackpy_runtime.store import blobs, digests, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import Container, Difference, Healthcheck, History, Image, ImageConfig, ProbeConfig
    from stackpy_runtime.store.store import Store

_NANO = 10**9
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def export(store: Store, container: Container, out: Sink) -> None:
    """Writes the whole tree of a container as one tar; mounts in it are left out, as by `docker export`."""
    with Merged([*_lowers(store, container), _upper(store, container)]) as view:
        # The view's own descriptor is only a path.
        root = os.open(".", _FOLDER, dir_fd=view.root)
        try:
            layer_tar.write(root, out, whiteouts=False)
        finally:
            os.close(root)


def changes(store: Store, container: Container) -> list[Difference]:
    """What a container has added, changed and deleted in its image's tree."""
    upper = os.open(_upper(store, container), _FOLDER)
    try:
        lowers = _lowers(store, container)
        if not lowers:
            return differences(upper, -1)
        with Merged(lowers) as view:
            lower = os.open(".", _FOLDER, dir_fd=view.root)
            try:
                return differences(upper, lower)
            finally:
                os.close(lower)
    finally:
        os.close(upper)


def commit(
    store: Store,
    container: Container,
    still: AbstractContextManager[object],
    *,
    reference: str,
    instructions: list[str],
    message: str,
    author: str,
) -> Image:
    """An image of a container: its image, and what it has written as one layer more.

    still: entered for as long as the container's files are read
    reference: the image's name, or ""
    instructions: Dockerfile lines that change its configuration, after the container's own

    Raises NotFound where its image is gone, InvalidConfig for an instruction or a reference that is none.
    """
    name = str(references.parse(reference)) if reference else ""
    image = store.image(container["image_id"])
    config = alterations.changed(_config(image["config"], container), instructions)
    upper = os.open(_upper(store, container), _FOLDER)
    try:
        with temporary(store.root) as copy, layers.using(store.root):
            with open(copy, "wb", closefd=False) as out:
                hashed = layer_tar.Hashed(out)
                with still:
                    layer_tar.write(upper, hashed)
            layer = _layer(store, copy, hashed.digest, image["layers"])
            argv = [*container["config"].get("entrypoint", []), *container["config"].get("command", [])]
            line = _line(" ".join(argv), message, author)
            made = _image([*image["layers"], layer], config, [*image["history"], line], author)
            made["architecture"] = image["architecture"]
            # Layers that both images have must leave with the same digests.
            if "epoch" in image:
                made["epoch"] = image["epoch"]
            return _put(store, made, name)
    finally:
        os.close(upper)


def import_tar(
    store: Store,
    path: str,
    *,
    reference: str,
    instructions: list[str],
    message: str,
    platform: str = "",
    limits: Limits = DEFAULT,
) -> Image:
    """An image of one layer: the tree in the tar at `path`, which may be compressed.

    reference: the image's name, or ""
    instructions: Dockerfile lines that make its configuration
    platform: what its programs run on, `linux/arm64`; this machine without it

    Raises InvalidConfig for what is no tar, an instruction, a reference or a platform that is none; then nothing stays.
    """
    name = str(references.parse(reference)) if reference else ""
    architecture = _architecture(platform)
    config = alterations.changed({}, instructions)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None
    try:
        if not os.fstat(descriptor).st_size:
            raise InvalidConfig("the tar is empty", hint="what wrote it may have failed")
        content = Content(unpacking.stored(descriptor), limits)
        content.finish()
        digest = layer_tar.LayerDigest(content.diff_id, content.size)
        with layers.using(store.root):
            layer = _layer(store, descriptor, digest, [], limits)
            made = _image([layer], config, [_line("", message, "")], "")
            made["architecture"] = architecture
            return _put(store, made, name)
    finally:
        os.close(descriptor)


def _architecture(platform: str) -> str:
    """The architecture of a platform; raises InvalidConfig for one that this engine runs nothing of."""
    if not platform:
        return machine().architecture
    system, _, architecture = platform.partition("/")
    if system != "linux" or not architecture or "/" in architecture:
        raise InvalidConfig(f"`{platform}` is no platform of an image", hint="as in linux/amd64 or linux/arm64")
    return architecture


def _layer(
    store: Store, descriptor: int, digest: layer_tar.LayerDigest, below: list[str], limits: Limits = DEFAULT
) -> str:
    """Takes the tar of a descriptor in as a layer over others; its ID is OCI's chain ID where theirs are."""
    root = store.root
    layer = sha256_hex(f"sha256:{below[-1]} {digest.diff_id}".encode()) if below else digest.diff_id[7:]
    staged = layers.reserve(root)
    try:
        with Stager(root, staged, limits) as stager:
            for each in below:
                stager.present(each)
            if not stager.present(layer):
                content = Content(unpacking.stored(descriptor), limits)

                def verify() -> None:
                    content.finish()
                    if content.diff_id != digest.diff_id:
                        raise InvalidConfig("the tar changed while it was read")

                stager.add(layer, content, verify)
                stager.adopt()
    finally:
        layers.discard(root, staged)
    digests.remember_original(root, layer, *digest)
    return layer


def _image(made: list[str], config: ImageConfig, history: list[History], author: str) -> Image:
    return {
        "id": "",
        "references": [],
        "layers": made,
        "config": config,
        "history": history,
        "recipe": "",
        "architecture": machine().architecture,
        "size": 0,
        "created": history[-1]["created"],
        **({"author": author} if author else {}),  # type: ignore[typeddict-item]
    }


def _put(store: Store, image: Image, name: str) -> Image:
    image["size"] = sum(layers.size(store.root, layer) for layer in image["layers"])
    # Known by what it is known by elsewhere; computing that reads layers of which nobody has asked for the digest yet.
    config = exporting.image_config(store, image)
    image["id"] = exporting.digest_of(config)
    blobs.put(store.root, image["id"], config)
    image["references"] = [name] if name else []
    store.put_image(image)
    return store.image(image["id"])


def _line(created_by: str, comment: str, author: str) -> History:
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "created_by": created_by,
        "empty_layer": False,
        **({"comment": comment} if comment else {}),  # type: ignore[typeddict-item]
        **({"author": author} if author else {}),  # type: ignore[typeddict-item]
    }


def _config(config: ImageConfig, container: Container) -> ImageConfig:
    """An image's configuration with what the container was told otherwise."""
    own, result = container["config"], config.copy()
    if "entrypoint" in own:
        result["Entrypoint"] = own["entrypoint"]
        result.pop("Cmd", None)
    if "command" in own:
        result["Cmd"] = own["command"]
    if own.get("environment"):
        merged = {**settings.environment(config), **own["environment"]}
        result["Env"] = [f"{key}={value}" for key, value in merged.items()]
    if own.get("working_dir"):
        result["WorkingDir"] = posixpath.normpath(own["working_dir"])
    if own.get("user"):
        result["User"] = own["user"]
    if own.get("stop_signal"):
        result["StopSignal"] = own["stop_signal"]
    if own.get("labels"):
        result["Labels"] = {**config.get("Labels", {}), **own["labels"]}
    if own.get("healthcheck") and "test" in own["healthcheck"]:
        result["Healthcheck"] = _check(own["healthcheck"])
    if own.get("ports"):
        exposed: dict[str, dict[str, str]] = {f"{port['target']}/{port['protocol']}": {} for port in own["ports"]}
        result["ExposedPorts"] = {**config.get("ExposedPorts", {}), **exposed}
    return settings.inherited(result)


def _check(probe: ProbeConfig) -> Healthcheck:
    """A container's health check as an image's; those that the engine asks itself have no form there.

    0 stands for Docker's default.
    """
    test = probe["test"]
    return {
        "Test": test if test == ["NONE"] else ["CMD", *test],
        "Interval": round(probe.get("interval", 0) * _NANO),
        "Timeout": round(probe.get("timeout", 0) * _NANO),
        "StartPeriod": round(probe.get("start_period", 0) * _NANO),
        "StartInterval": round(probe.get("start_interval", 0) * _NANO),
        "Retries": probe.get("retries", 0),
    }


def _lowers(store: Store, container: Container) -> list[str]:
    image = store.image(container["image_id"])
    return [layers.folder(store.root, layer) for layer in image["layers"]]


def _upper(store: Store, container: Container) -> str:
    return f"{store.root.containers}/{container['id']}/upper"
