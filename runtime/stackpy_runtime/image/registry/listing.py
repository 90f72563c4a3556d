"""The tags of a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import msgspec

from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.image import manifests
from stackpy_runtime.image.limits import bad
from stackpy_runtime.image.registry.transport import Broken

if TYPE_CHECKING:
    from stackpy_runtime.image.references import Reference
    from stackpy_runtime.image.registry.client import Client
    from stackpy_runtime.image.registry.connections import Connections

_MOST = 20_000  # tags; more would be a list without an end


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


def tags(connections: Connections, reference: Reference) -> list[str]:
    """All tags of the repository, in the registry's order. Raises NotFound, EngineError."""
    (client,) = connections.clients(reference.registry, mirrors=False)
    found: list[str] = []
    path = f"/v2/{reference.repository}/tags/list"
    while path:
        path = _page(client, path, reference, found)
        if len(found) > _MOST:
            bad(f"the registry lists more than {_MOST} tags of `{reference.name}`")
    return found


def _page(client: Client, path: str, reference: Reference, found: list[str]) -> str:
    """Adds the tags of one page; returns the path of the next, or "" (distribution-spec, listing tags)."""
    response = client.call("GET", path, f"repository:{reference.repository}:pull")
    try:
        data = response.body(client.limits.document)
    except Broken as error:
        raise EngineError(f"{client.endpoint.host}: {error}") from None
    if response.status == 404:
        raise NotFound(f"no repository `{reference.name}` in its registry", hint="check the name")
    if response.status != 200:
        raise EngineError(f"{client.endpoint.host} answers {response.status} for the tags of `{reference.name}`")
    manifests.check_size(len(data), "the list of tags")
    found += manifests.decode(data, _Tags, "the list of tags").tags or []
    link = response.header("Link")
    if 'rel="next"' not in link or not link.startswith("<"):
        return ""
    # The same server, whatever it says: its path counts alone.
    following = urlsplit(urljoin(path, link[1:].partition(">")[0]))
    return f"{following.path}?{following.query}"
