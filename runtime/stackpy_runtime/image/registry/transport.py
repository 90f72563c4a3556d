"""HTTP to one server: TLS, plain HTTP where that is allowed, proxies, redirects.

The only module that knows urllib3. A redirect is followed by us, since what proves who asks must not reach another
host (CVE-2020-15157), and https must not become http.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswer

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image.registry.endpoints import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy_runtime.image.registry.endpoints import Endpoint

_CONNECT_SECONDS, _SILENCE_SECONDS = 10.0, 60.0
_REDIRECTS = 5
# Bytes of a body that are read, unwanted, to keep its connection.
_DRAINED = 64 << 10
_AGENT = "stackpy"
# What OpenSSL says of an answer that is not TLS: a server of plain HTTP.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
# What it says of a connection that ends while TLS is agreed on: some servers of plain HTTP do that, and bad networks.
_CUT_OFF = "UNEXPECTED_EOF"
# What is configured on purpose is not warned of at every request.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


class Broken(Exception):
    """The connection failed, or broke; the same may succeed a moment later."""


class NotThere(Broken):
    """Nobody listens there."""


class Response:
    """An answer whose body is read forward; closing it returns the connection."""

    def __init__(self, answer: Any, url: str) -> None:
        self._answer, self.url = answer, url
        self.status: int = answer.status

    def header(self, name: str) -> str:
        """A header's value, or ""."""
        return str(self._answer.headers.get(name, ""))

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; b"" at the end. Raises Broken when the body ends early."""
        try:
            data: bytes = self._answer.read(size, decode_content=False)
        except (HTTPError, OSError) as error:
            self._answer.close()
            raise Broken(reason(error)) from None
        return data

    def body(self, limit: int) -> bytes:
        """The whole body, or its first `limit` + 1 bytes where it is longer. Raises Broken."""
        data = bytearray()
        while len(data) <= limit and (piece := self.read(min(65536, limit + 1 - len(data)))):
            data += piece
        self.close()
        return bytes(data)

    def abort(self) -> None:
        """Ends a `read` that another thread is waiting in."""
        try:
            self._answer.shutdown()
        except (HTTPError, OSError, ValueError, RuntimeError):
            pass  # its connection is gone already

    def close(self) -> None:
        """Ends the exchange; a connection whose body was read to its end is used again."""
        left = self._answer.length_remaining
        if left is not None and left <= _DRAINED:
            # http.client wants an answer read to its end, even one without a body.
            self._answer.drain_conn()
            self._answer.release_conn()
        else:
            self._answer.close()


class Asked(NamedTuple):
    """A request that can be made again: `body` is bytes, or a file that is read from its beginning."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    stream: Iterable[bytes] | None = None


class Transport:
    """Connections to an endpoint; may be used by several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # The host's authorities take 20 ms to load. Those that are configured are looked at before anything is asked.
        self._context = _context(endpoint) if endpoint.ca else None
        self._pools: dict[tuple[str, bool], Any] = {}
        self._lock, self._pool_lock = threading.Lock(), threading.Lock()
        self._scheme = endpoint.schemes[0] if len(endpoint.schemes) == 1 else ""

    def url(self, path: str) -> str:
        """The URL of a path of the endpoint, as in `/v2/`; finds out first whether it speaks TLS. Raises as `send`."""
        if not self._scheme:
            with self._lock:
                self._scheme = self._scheme or self._probe()
        return f"{self._scheme}://{self._endpoint.host}{self._endpoint.prefix}{path}"

    def send(self, asked: Asked) -> Response:
        """Sends a request, following redirects. Raises Broken; EngineError for what waiting does not mend."""
        url, headers = asked.url, dict(asked.headers)
        for _ in range(_REDIRECTS + 1):
            response = self._once(asked, url, headers)
            location = response.header("Location")
            if response.status not in (301, 302, 303, 307, 308) or asked.method not in ("GET", "HEAD") or not location:
                return response
            response.close()
            target = urljoin(url, location)
            self._check_redirect(url, target)
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            url = target
        raise EngineError(f"{self._endpoint.host} redirects more than {_REDIRECTS} times")

    def close(self) -> None:
        """Closes all connections."""
        for pool in self._pools.values():
            pool.clear()

    def is_safe(self, url: str) -> bool:
        """Whether credentials for the endpoint may be sent to `url`: over TLS, or as unprotected as the endpoint is."""
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and self._scheme == "http")

    def _probe(self) -> str:
        if is_loopback(self._endpoint.host) and not _speaks_tls(self._endpoint.host):
            return "http"
        try:
            self._once(Asked("GET", "", {}), f"https://{self._endpoint.host}{self._endpoint.prefix}/v2/", {}).close()
        except _PlainHttp:
            return "http"
        return "https"

    def _once(self, asked: Asked, url: str, headers: dict[str, str]) -> Response:
        try:
            answer = self._pool(url).request(
                asked.method,
                url,
                headers={"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers},
                body=asked.body if asked.stream is None else iter(asked.stream),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        except SSLError as error:
            if self._scheme and _CUT_OFF in str(error):
                raise Broken(f"{urlsplit(url).netloc}: the connection was cut off") from None
            if any(sign in str(error) for sign in (*_NOT_TLS, _CUT_OFF)):
                raise _PlainHttp(
                    f"{self._endpoint.host} does not speak TLS",
                    hint=f'if that is meant: [registries."{self._endpoint.login}"] with insecure = true',
                ) from None
            raise EngineError(
                f"{urlsplit(url).netloc} cannot be trusted: {_certificate(error)}",
                hint=f'name its authority: [registries."{self._endpoint.login}"] with ca = "/path/to/ca.pem"',
            ) from None
        except NameResolutionError:
            raise EngineError(
                f"cannot reach the registry: there is no host `{urlsplit(url).hostname}`",
                hint="check the image's name, and this host's DNS",
            ) from None
        except urllib3.exceptions.LocationValueError:
            raise EngineError(f"{self._endpoint.host} redirects to `{url[:100]}`, which is no URL") from None
        except (HTTPError, OSError) as error:
            kind = NotThere if isinstance(error, NewConnectionError) else Broken
            raise kind(f"{urlsplit(url).netloc}: {reason(error)}") from None
        return Response(answer, url)

    def _pool(self, url: str) -> Any:
        proxy = _proxy(url)
        tls = bool(proxy) or url.startswith("https:")
        with self._pool_lock:
            pool = self._pools.get((proxy, tls))
            if pool is None:
                options: dict[str, Any] = {
                    "num_pools": 8,
                    "maxsize": 16,
                    "timeout": urllib3.Timeout(connect=_CONNECT_SECONDS, read=_SILENCE_SECONDS),
                }
                if tls:
                    self._context = self._context or _context(self._endpoint)
                    options["ssl_context"] = self._context
                    if not self._endpoint.verify:
                        options["assert_hostname"] = False
                pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                self._pools[proxy, tls] = pool
        return pool

    def _check_redirect(self, url: str, target: str) -> None:
        before, after = urlsplit(url), urlsplit(target)
        if after.scheme not in ("http", "https") or not after.hostname:
            raise EngineError(f"{before.netloc} redirects to `{target[:100]}`, which is not followed")
        if after.scheme == "http" and before.scheme == "https":
            raise EngineError(f"{before.netloc} redirects to plain HTTP at {after.netloc}, which is not followed")
        if is_loopback(after.netloc) and not is_loopback(before.netloc):
            # A foreign server must not make requests to services of this host.
            raise EngineError(f"{before.netloc} redirects to this host ({after.netloc}), which is not followed")


class _PlainHttp(EngineError):
    """The server speaks no TLS."""


def reason(error: Exception) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, NewConnectionError):
        return str(error).rpartition("] ")[2].lower() or "no connection"
    if isinstance(error, NoAnswer):
        return "no answer in time"
    text = str(error).strip("() '")
    return text.partition(", ")[0].partition("(")[0].strip(" :'").lower()[:120] or type(error).__name__


def _certificate(error: Exception) -> str:
    text = str(error)
    if "certificate verify failed: " in text:
        return text.partition("certificate verify failed: ")[2].partition(" (")[0]
    return text.partition("(")[0].strip(" :")[:120] or "TLS failed"


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if endpoint.ca:
        try:
            context.load_verify_locations(endpoint.ca)
        except OSError as error:
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else (error.strerror or "").lower()
            raise InvalidConfig(f"the certificate authorities of {endpoint.login}, {endpoint.ca}: {why}") from None
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _speaks_tls(host: str) -> bool:
    """Whether a server of this machine answers TLS; where it cannot be told, whoever asks it something will.

    Nothing is sent, so that nothing has to be trusted.
    """
    parts = urlsplit(f"//{host}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), _CONNECT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=parts.hostname),
        ):
            return True
    except ssl.SSLError as error:
        return not any(sign in str(error) for sign in (*_NOT_TLS, _CUT_OFF))
    except (OSError, ValueError):
        return True


def _proxy(url: str) -> str:
    """The proxy that the environment names for a URL, or ""."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass  # 6 ms

    parts = urlsplit(url)
    proxies = getproxies_environment()
    if parts.scheme not in proxies or is_loopback(parts.netloc) or proxy_bypass(parts.netloc):
        return ""
    return proxies[parts.scheme]
