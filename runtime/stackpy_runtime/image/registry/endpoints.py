"""Where the content of a registry is asked for: its mirrors, then the registry itself. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image.references import DEFAULT_REGISTRY

if TYPE_CHECKING:
    from stackpy_runtime.image.registry.settings import Settings

# Docker Hub's registry has another name than its references.
_HUB = "registry-1.docker.io"


class Endpoint(NamedTuple):
    """One server that speaks the distribution API.

    login: the name under which credentials for it are kept
    schemes: those to try, in this order
    prefix: what stands before /v2/, or ""
    verify: whether its certificate is checked
    """

    host: str  # HOST[:PORT]
    login: str
    schemes: tuple[str, ...] = ("https",)
    prefix: str = ""
    ca: str = ""
    verify: bool = True


def endpoints(registry: str, settings: Settings, *, mirrors: bool) -> list[Endpoint]:
    """The servers that have what `registry` has, best first; raises InvalidConfig for a mirror that is none.

    mirrors: with those configured; they are for reading only
    """
    configured = settings.host(registry)
    found = [_mirror(text, registry, settings) for text in configured.mirrors] if mirrors else []
    host = _HUB if registry == DEFAULT_REGISTRY else registry
    return [*found, _endpoint(host, registry, settings)]


def is_loopback(host: str) -> bool:
    """Whether HOST[:PORT] is this machine: only its own programs can listen in."""
    name = host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0]
    parts = name.split(".")
    numeric = len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)
    return name in ("localhost", "[::1]") or (numeric and parts[0] == "127")


def _endpoint(host: str, login: str, settings: Settings, schemes: tuple[str, ...] = (), prefix: str = "") -> Endpoint:
    configured = settings.host(login)
    lax = configured.insecure or (is_loopback(host) and not configured.ca)
    return Endpoint(
        host, login, schemes or (("https", "http") if lax else ("https",)), prefix, configured.ca,
        not configured.insecure,
    )  # fmt: skip


def _mirror(text: str, registry: str, settings: Settings) -> Endpoint:
    parts = urlsplit(text if "://" in text else f"//{text}")
    wrong = f"`{text}` cannot be a mirror of {registry}"
    if parts.scheme not in ("", "http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidConfig(wrong, hint="write HOST[:PORT][/PREFIX], or a URL of it")
    if "@" in parts.netloc:
        raise InvalidConfig(f"a mirror of {registry} holds credentials", hint=f"stackpy login {parts.hostname}")
    host = parts.netloc
    if parts.scheme == "http" and not is_loopback(host) and not settings.host(host).insecure:
        raise InvalidConfig(
            f"{wrong}: plain HTTP can be read and changed by anyone on the way",
            hint=f'add [registries."{host}"] with insecure = true if that is meant',
        )
    schemes = (parts.scheme,) if parts.scheme else ()
    return _endpoint(host, host, settings, schemes, parts.path.rstrip("/"))
