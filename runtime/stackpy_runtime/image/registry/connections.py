"""What one command knows of registries: settings, credentials and a client for each endpoint that it has asked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from stackpy_runtime.image.limits import DEFAULT, Limits
from stackpy_runtime.image.registry import settings
from stackpy_runtime.image.registry.client import Client
from stackpy_runtime.image.registry.credentials import Credentials
from stackpy_runtime.image.registry.endpoints import endpoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.image.registry.endpoints import Endpoint

_MIRROR_TRIES = 2


class Connections:
    """Made once, used by several threads.

    root: the engine root, whose registries.toml counts
    given: `registries` of a stack
    """

    def __init__(
        self, root: str, given: Mapping[str, Mapping[str, Any]] | None = None, limits: Limits = DEFAULT
    ) -> None:
        self.settings, self.credentials, self.limits = settings.load(root, given), Credentials(), limits
        self._clients: dict[Endpoint, Client] = {}
        self._lock = threading.Lock()

    def clients(self, registry: str, *, mirrors: bool) -> list[Client]:
        """Those to ask for what is in `registry`, best first; the registry itself is the last."""
        found = endpoints(registry, self.settings, mirrors=mirrors)
        with self._lock:
            for endpoint in found:
                if endpoint not in self._clients:
                    # There is another place to ask: a mirror that is down must not hold up much.
                    tries = {} if endpoint is found[-1] else {"tries": _MIRROR_TRIES}
                    self._clients[endpoint] = Client(endpoint, self.credentials, self.limits, **tries)
            return [self._clients[endpoint] for endpoint in found]

    def close(self) -> None:
        """Closes all connections."""
        for client in self._clients.values():
            client.close()
