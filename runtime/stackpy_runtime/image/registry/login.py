"""Logging in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import references
from stackpy_runtime.image.registry.client import Client
from stackpy_runtime.image.registry.credentials import Login
from stackpy_runtime.image.registry.endpoints import endpoints

if TYPE_CHECKING:
    from stackpy_runtime.image.registry.connections import Connections

_HUB = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


def login(connections: Connections, registry: str, username: str, password: str) -> str:
    """Keeps credentials that the registry has taken; returns the path of the file, or the program, that has them."""
    name = _name(registry)
    if not username or not password:
        raise InvalidConfig("the user name and the password must not be empty")
    if ":" in username:
        raise InvalidConfig("a user name holds no `:`")
    given = Login(username, password)
    (endpoint,) = endpoints(name, connections.settings, mirrors=False)
    client = Client(endpoint, _Given(given), connections.limits)  # type: ignore[arg-type]  # it has what is asked of it
    try:
        client.ping()
    finally:
        client.close()
    helper = connections.credentials.put(name, given)
    return f"docker-credential-{helper}" if helper else connections.credentials.path


def logout(connections: Connections, registry: str) -> bool:
    """Forgets them; returns whether there were any."""
    return connections.credentials.remove(_name(registry))


class _Given:
    """Credentials that nobody keeps yet."""

    def __init__(self, given: Login) -> None:
        self._given = given

    def get(self, _: str) -> Login:
        """Them."""
        return self._given


def _name(registry: str) -> str:
    """The registry that is meant: its host, also where a URL of it is given, as docker takes it."""
    host = registry.partition("://")[2] if "://" in registry else registry
    host = host.partition("/")[0]
    if host in _HUB:
        return references.DEFAULT_REGISTRY
    return references.parse(f"{host}/x").registry if ":" in host or "." in host or host == "localhost" else _wrong(host)


def _wrong(host: str) -> str:
    raise InvalidConfig(f"`{host}` is not a registry", hint="a registry is HOST.DOMAIN or HOST:PORT")
