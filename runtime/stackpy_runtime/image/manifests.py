"""The documents of an image: docker's manifest.json, OCI's index, manifest and configuration (image-spec 1.1).

They are read with msgspec, which checks types and says where one is wrong; its import costs 25 ms, so this module is
imported by what loads images only.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from stackpy_runtime.image import epochs
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, size_text
from stackpy_runtime.image.registry import choosing
from stackpy_runtime.labels import RESERVED_PREFIX
from stackpy_runtime.platforms import machine

if TYPE_CHECKING:
    from stackpy_runtime.model import Healthcheck, History, ImageConfig

INDEX_TYPES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
MANIFEST_TYPES = frozenset(
    {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

T = TypeVar("T")


class Platform(msgspec.Struct):
    """What a manifest of an index is for."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None


class Descriptor(msgspec.Struct, rename="camel"):
    """OCI descriptor.md: what a blob is, and which."""

    digest: str
    size: int
    media_type: str = ""
    platform: Platform | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, rename="camel"):
    """OCI image-index.md, and docker's manifest list."""

    manifests: list[Descriptor]
    media_type: str = ""


class Manifest(msgspec.Struct, rename="camel"):
    """OCI manifest.md, and docker's schema 2."""

    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""


class DockerImage(msgspec.Struct, rename="pascal"):
    """One image of docker's manifest.json; the layers bottom first."""

    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


class RootFs(msgspec.Struct):
    """Digests of the uncompressed layers, bottom first."""

    diff_ids: list[str]


class HistoryLine(msgspec.Struct):
    """One line of `history`."""

    created: str | None = None
    created_by: str | None = None
    empty_layer: bool | None = None
    comment: str | None = None
    author: str | None = None


class Check(msgspec.Struct, rename="pascal"):
    """An image's health check; durations in nanoseconds, 0 for what is not set."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, rename="pascal"):
    """The run-time defaults; docker writes null for what is not set."""

    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    volumes: dict[str, Any] | None = None
    stop_signal: str | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    healthcheck: Check | None = None


class Configuration(msgspec.Struct):
    """OCI config.md: the document whose digest is the image's ID."""

    rootfs: RootFs
    architecture: str = ""
    os: str = "linux"
    created: str | None = None
    author: str | None = None
    config: RunConfig | None = None
    history: list[HistoryLine] | None = None


def decode(data: bytes, kind: type[T], what: str) -> T:
    """The document of a blob; `what` names it in the message. Raises InvalidConfig."""
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        bad(f"{what} is nested too deeply")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        bad(f"{what} cannot be read: {str(error)[:200]}")


def check_digest(digest: str) -> str:
    """The digest's hexadecimal digits; anything but sha256 in lower case raises InvalidConfig."""
    if not _DIGEST.fullmatch(digest):
        bad(f"`{digest[:100]}` is not a sha256 digest")
    return digest[7:]


def sha256(data: bytes) -> str:
    """The digest of a document."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_kind(data: bytes, descriptor: Descriptor) -> str:
    """`index` or `manifest`, where content, its own media type and its descriptor's agree; else InvalidConfig.

    A document that can be read as both would be another image for another reader (CVE-2021-41190).
    """
    keys = decode(data, dict[str, msgspec.Raw], "a manifest")
    own = decode(bytes(keys["mediaType"]), str, "a media type") if "mediaType" in keys else ""
    if "manifests" in keys and ("layers" in keys or "config" in keys):
        bad("a document is a manifest and an index at once")
    kind = "index" if "manifests" in keys else "manifest"
    types = INDEX_TYPES if kind == "index" else MANIFEST_TYPES
    for media_type in (own, descriptor.media_type):
        if media_type and media_type not in types:
            reads_as = "an index" if kind == "index" else "a manifest"
            bad(f"a document says that it is `{media_type[:100]}`, and reads as {reads_as}")
    return kind


def choose(descriptors: list[Descriptor]) -> Descriptor:
    """The one that is for this machine, or the only one; raises InvalidConfig where none or several are."""
    images = choosing.without_attestations(descriptors)
    if not images:
        bad("it has no image")
    if len(images) > 1:
        wanted = machine()
        images = choosing.best(images, wanted) or [choosing.choose(images, wanted)]
    if len({one.digest for one in images}) > 1:
        names = [full_name(one) or one.digest for one in images]
        bad(f"it has several images: {', '.join(names)[:400]}")
    return images[0]


def full_name(descriptor: Descriptor) -> str:
    """The image's reference, as containerd and buildkit annotate it, or podman; "" without one.

    org.opencontainers.image.ref.name counts only where it holds a registry: by habit it is a tag alone.
    """
    annotations = descriptor.annotations or {}
    other = annotations.get("org.opencontainers.image.ref.name", "")
    return annotations.get("io.containerd.image.name") or (other if "/" in other else "")


def check_configuration(configuration: Configuration, layers: int, limits: Limits = DEFAULT) -> None:
    """Raises InvalidConfig for a configuration that does not fit its manifest, or this system."""
    if configuration.os not in ("", "linux"):
        bad(f"it is an image for {configuration.os[:40]}, and this engine runs linux images")
    count = len(configuration.rootfs.diff_ids)
    if count != layers:
        bad(f"its configuration lists {count} layers, and the manifest {layers}")
    if count > limits.layers:
        bad(f"it has {count} layers, and {limits.layers} are allowed")
    for diff_id in configuration.rootfs.diff_ids:
        check_digest(diff_id)


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The layer IDs, in hexadecimal: each says what lies beneath it too (OCI config.md, ChainID)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"sha256:{chain[-1]} {diff_id}".encode())[7:] if chain else diff_id[7:])
    return chain


def image_config(configuration: Configuration) -> ImageConfig:
    """The run-time defaults in model.py's form, without what is unset.

    Labels that tie objects to stacks are the engine's own and left out, and so is a variable without a value, which
    some engines fill from their own environment (CVE-2026-57231).
    """
    given = configuration.config or RunConfig()
    config: ImageConfig = {}
    if given.entrypoint:
        config["Entrypoint"] = given.entrypoint
    if given.cmd:
        config["Cmd"] = given.cmd
    if env := [line for line in given.env or [] if line.find("=") > 0]:
        config["Env"] = env
    if given.working_dir:
        config["WorkingDir"] = given.working_dir
    if given.user:
        config["User"] = given.user
    if given.exposed_ports:
        config["ExposedPorts"] = {port: {} for port in given.exposed_ports}
    labels = {key: value for key, value in (given.labels or {}).items() if not key.startswith(RESERVED_PREFIX)}
    if labels:
        config["Labels"] = labels
    if given.volumes:
        config["Volumes"] = {path: {} for path in given.volumes}
    if given.stop_signal:
        config["StopSignal"] = given.stop_signal
    if given.shell:
        config["Shell"] = given.shell
    if given.on_build:
        config["OnBuild"] = given.on_build
    if given.healthcheck is not None and (check := _check(given.healthcheck)) is not None:
        config["Healthcheck"] = check
    return config


def _check(given: Check) -> Healthcheck | None:
    """A health check without what is unset; None for one that tests nothing, or in no way that is known."""
    test = given.test or []
    if not test or test[0] not in ("NONE", "CMD", "CMD-SHELL") or (test[0] != "NONE" and len(test) < 2):
        return None
    check: Healthcheck = {"Test": test}
    if given.interval > 0:
        check["Interval"] = given.interval
    if given.timeout > 0:
        check["Timeout"] = given.timeout
    if given.start_period > 0:
        check["StartPeriod"] = given.start_period
    if given.start_interval > 0:
        check["StartInterval"] = given.start_interval
    if given.retries > 0:
        check["Retries"] = given.retries
    return check


def created(configuration: Configuration) -> str:
    """When the image was made, in UTC; "" where its configuration does not say."""
    return epochs.utc(configuration.created or "")


def history(configuration: Configuration) -> list[History]:
    """The history in model.py's form."""
    found: list[History] = []
    for line in configuration.history or []:
        shown: History = {
            "created": epochs.utc(line.created or ""),
            "created_by": line.created_by or "",
            "empty_layer": bool(line.empty_layer),
        }
        if line.comment:
            shown["comment"] = line.comment
        if line.author:
            shown["author"] = line.author
        found.append(shown)
    return found


def check_size(size: int, what: str, limits: Limits = DEFAULT) -> None:
    """Raises InvalidConfig for a document that is too large to be read."""
    if size > limits.document:
        bad(f"{what} has {size_text(size)}, and {size_text(limits.document)} are allowed")
