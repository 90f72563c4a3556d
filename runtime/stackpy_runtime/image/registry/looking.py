"""From a reference to the manifest that is meant, without anything of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import EngineError, InvalidConfig, NotFound
from stackpy_runtime.image import manifests
from stackpy_runtime.image.limits import bad
from stackpy_runtime.image.registry import choosing
from stackpy_runtime.image.registry.client import too_long
from stackpy_runtime.image.registry.transport import Broken

if TYPE_CHECKING:
    from stackpy_runtime.image.limits import Limits
    from stackpy_runtime.image.references import Reference
    from stackpy_runtime.image.registry.client import Client, Document
    from stackpy_runtime.image.registry.connections import Connections
    from stackpy_runtime.platforms import Platform

_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"


class Found(NamedTuple):
    """What a reference names in its registry.

    top: the document that the reference itself names, an index or the manifest
    clients: who to ask for blobs, the one that had the manifest first
    """

    reference: Reference
    top: Document
    manifest: Document
    parsed: manifests.Manifest
    clients: list[Client]

    @property
    def image_id(self) -> str:
        """The ID that the image has in a store: its configuration's digest."""
        return self.parsed.config.digest

    @property
    def size(self) -> int:
        """Bytes of all layers as they are in the registry."""
        return sum(layer.size for layer in self.parsed.layers)


def find(connections: Connections, reference: Reference, wanted: Platform) -> Found:
    """Asks mirrors, then the registry. Raises NotFound, InvalidConfig for documents that lie or pass a limit."""
    clients = connections.clients(reference.registry, mirrors=True)
    for place, client in enumerate(clients):
        try:
            return _find(client, reference, wanted, clients[place:] + clients[:place], connections.limits)
        except InvalidConfig as error:
            error.subject = error.subject or str(reference)
            raise
        except EngineError:
            if client is clients[-1]:
                raise
    raise AssertionError("the registry itself is always asked")


def _find(client: Client, reference: Reference, wanted: Platform, clients: list[Client], limits: Limits) -> Found:
    name = reference.digest or reference.tag
    try:
        top = document = client.manifest(reference.repository, name)
    except NotFound as error:
        hint = "" if client.endpoint.login != "docker.io" else "check the name; a private image needs `stackpy login`"
        raise NotFound(f"no image `{reference}` in its registry", hint=hint or error.hint) from None
    for _ in range(limits.nesting):
        if document.media_type.startswith(_SCHEMA_1):
            bad(
                "its manifest is of docker's schema 1, which registries gave up in 2019",
            )
        claimed = manifests.Descriptor(document.digest, len(document.data), _known(document.media_type))
        if manifests.check_kind(document.data, claimed) == "manifest":
            break
        index = manifests.decode(document.data, manifests.Index, "its index")
        chosen = choosing.choose(index.manifests, wanted)
        manifests.check_digest(chosen.digest)
        manifests.check_size(chosen.size, "its manifest", limits)
        document = client.manifest(reference.repository, chosen.digest)
        if len(document.data) != chosen.size:
            bad(f"its manifest has {len(document.data)} bytes, and the index says {chosen.size}")
        own = _known(document.media_type)
        if chosen.media_type and own and own != chosen.media_type:
            bad(f"its index says that a manifest is `{chosen.media_type[:100]}`, and it comes as `{own[:100]}`")
    else:
        bad(f"its indexes are nested more than {limits.nesting} deep")
    manifest = manifests.decode(document.data, manifests.Manifest, "its manifest")
    _check(manifest, limits)
    return Found(reference, top, document, manifest, clients)


def _known(media_type: str) -> str:
    """The media type where the server gives one that says something."""
    return "" if media_type in ("application/json", "application/octet-stream", "text/plain") else media_type


def _check(manifest: manifests.Manifest, limits: Limits) -> None:
    kind = manifest.config.media_type
    if kind and kind not in (_DOCKER_CONFIG, _OCI_CONFIG):
        bad(f"it is no image that can be run: its configuration is of type `{kind[:100]}`")
    if len(manifest.layers) > limits.layers:
        bad(f"it has {len(manifest.layers)} layers, and {limits.layers} are allowed")
    for descriptor in (manifest.config, *manifest.layers):
        manifests.check_digest(descriptor.digest)
        if descriptor.size < 0:
            bad(f"its manifest gives a blob {descriptor.size} bytes")
        if descriptor.media_type.endswith("encrypted"):
            bad("its layers are encrypted, and that is not supported")
    manifests.check_size(manifest.config.size, "its configuration", limits)


def configuration(
    found: Found, wanted: Platform, *, asked: bool, limits: Limits
) -> tuple[bytes, manifests.Configuration]:
    """The image's configuration, verified against the manifest: its bytes, and read."""
    data = small_blob(found, found.parsed.config)
    document = manifests.decode(data, manifests.Configuration, "its configuration")
    manifests.check_configuration(document, len(found.parsed.layers), limits)
    choosing.check(document, wanted, asked=asked)
    return data, document


def small_blob(found: Found, descriptor: manifests.Descriptor) -> bytes:
    """A blob that is read whole, verified; the caller has looked at its size."""
    data = _fetched(found, descriptor)
    if len(data) > descriptor.size:
        bad(too_long("its configuration", descriptor.size))
    if len(data) != descriptor.size:
        bad(f"its configuration has {len(data)} bytes, and the manifest says {descriptor.size}")
    if manifests.sha256(data) != descriptor.digest:
        bad(f"the digest of its configuration is {manifests.sha256(data)}, and the manifest says {descriptor.digest}")
    return data


def _fetched(found: Found, descriptor: manifests.Descriptor) -> bytes:
    last: Exception | None = None
    for client in found.clients:
        for _ in range(client.tries):
            try:
                response = client.blob(found.reference.repository, descriptor.digest, 0)
                data = response.body(descriptor.size)
                if len(data) >= descriptor.size:
                    return data
                raise Broken(f"{client.endpoint.host}: the answer ended early")
            except Broken as error:
                last = error
            except EngineError as error:
                last = error
                break
    if isinstance(last, EngineError):
        raise last
    raise EngineError(f"cannot read the configuration of {found.reference}: {last}")
