"""The verbs of the distribution specification at one endpoint: authenticated, tried again while the trouble passes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.image import manifests
from stackpy_runtime.image.limits import DEFAULT, Limits, bad, shown, size_text
from stackpy_runtime.image.registry import backoff
from stackpy_runtime.image.registry.auth import Authority, refused
from stackpy_runtime.image.registry.transport import Asked, Broken, NotThere, Response, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackpy_runtime.image.registry.credentials import Credentials
    from stackpy_runtime.image.registry.endpoints import Endpoint

ACCEPT = ", ".join(sorted(manifests.INDEX_TYPES | manifests.MANIFEST_TYPES))
_ERROR_BODY = 64 << 10
# Tries where nobody listens: a registry that is being restarted is back after them, or later than anyone waits.
_NOBODY = 3


class Document(NamedTuple):
    """A manifest or an index as it came, its digest computed."""

    data: bytes
    media_type: str
    digest: str


class Unavailable(EngineError):
    """The endpoint cannot be reached, or answers with errors of its own: another one may have the same."""


class Client:
    """One endpoint; may be used by several threads.

    tries: of a request that fails for a reason that may pass
    """

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials, limits: Limits = DEFAULT, *, tries: int = backoff.TRIES
    ) -> None:
        self.endpoint, self.limits, self.tries = endpoint, limits, tries
        self._transport = Transport(endpoint)
        self._authority = Authority(self._transport, endpoint.login, credentials)

    def close(self) -> None:
        """Closes its connections."""
        self._transport.close()

    def ping(self) -> None:
        """Asks whether we are let in; raises as the other verbs."""
        response = self.call("GET", "/v2/", "")
        self._expect(response, (200,), self.endpoint.host)
        response.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> Document:
        """A manifest or an index by tag or digest; raises NotFound, and InvalidConfig for one that is not what it says.

        What the digest promises is checked; what the document says is for the caller to check.
        """
        response = self.call("GET", _manifest(repository, reference), _pull(repository), {"Accept": ACCEPT})
        self._expect(response, (200,), f"{repository}:{reference}".replace(":sha256:", "@sha256:"))
        try:
            data = response.body(self.limits.document)
        except Broken as error:
            raise Unavailable(f"{self.endpoint.host}: {error}") from None
        manifests.check_size(len(data), "its manifest", self.limits)
        digest = manifests.sha256(data)
        promised = reference if reference.startswith("sha256:") else response.header("Docker-Content-Digest")
        if promised.startswith("sha256:") and promised != digest:
            bad(f"the digest of its manifest is {digest}, and {promised} was promised")
        return Document(data, response.header("Content-Type").partition(";")[0].strip(), digest)

    def manifest_digest(self, repository: str, reference: str) -> str:
        """The digest of a manifest without reading it; "" where there is none."""
        response = self.call("HEAD", _manifest(repository, reference), _pull(repository), {"Accept": ACCEPT})
        response.close()
        if response.status == 404:
            return ""
        self._expect(response, (200,), f"{repository}:{reference}")
        digest = response.header("Docker-Content-Digest")
        return digest or self.manifest(repository, reference).digest

    def blob(self, repository: str, digest: str, start: int) -> Response:
        """A blob from byte `start` on: status 206, or 200 from its beginning. Raises NotFound, Broken."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self.call("GET", f"/v2/{repository}/blobs/{digest}", _pull(repository), headers, tries=1)
        self._expect(response, (200, 206), f"blob {digest[:19]} of {repository}")
        return response

    # --- writing -----------------------------------------------------------------------------------------------------

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the repository has it."""
        response = self.call("HEAD", f"/v2/{repository}/blobs/{digest}", _push(repository))
        response.close()
        if response.status == 404:
            return False
        self._expect(response, (200,), repository)
        return True

    def mount(self, repository: str, digest: str, source: str) -> str:
        """Takes a blob over from another repository; "" when that is done, else where to upload it to."""
        path = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"
        try:
            response = self.call("POST", path, f"{_push(repository)} {_pull(source)}")
        except Unavailable:
            raise
        except EngineError:
            # It may not let us read there, which is no reason not to upload.
            return self.begin(repository)
        if response.status not in (201, 202):
            response.close()
            return self.begin(repository)
        response.close()
        return "" if response.status == 201 else self._location(response)

    def begin(self, repository: str) -> str:
        """Where to upload a blob to."""
        response = self.call("POST", f"/v2/{repository}/blobs/uploads/", _push(repository))
        self._expect(response, (202,), repository)
        response.close()
        return self._location(response)

    def upload(
        self, repository: str, place: str, digest: str, size: int, pieces: Callable[[], Iterable[bytes]]
    ) -> None:
        """Sends a blob to where `begin` or `mount` said; after a break from its beginning, to a new place."""
        for attempt in range(1, self.tries + 1):
            url = f"{place}{'&' if '?' in place else '?'}digest={digest}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            try:
                response = self._send("PUT", url, _push(repository), headers, stream=pieces)
            except Broken as error:
                if attempt == self.tries:
                    raise Unavailable(str(error)) from None
                wait = backoff.delay(attempt)
            else:
                if not backoff.passing(response.status) or attempt == self.tries:
                    self._expect(response, (201,), f"the upload of {digest[:19]}")
                    response.close()
                    return
                wait = self._patience(backoff.delay(attempt, response.header("Retry-After")))
                response.close()
            time.sleep(wait)
            place = self.begin(repository)

    def put_manifest(self, repository: str, reference: str, document: Document) -> None:
        """Gives a manifest to a tag, or to its digest."""
        headers = {"Content-Type": document.media_type}
        response = self.call("PUT", _manifest(repository, reference), _push(repository), headers, document.data)
        self._expect(response, (201, 202), f"{repository}:{reference}")
        response.close()

    # --- one request -------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        scope: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        tries: int = 0,
    ) -> Response:
        """Sends a request until it is answered with something that does not pass.

        Raises Unavailable when that does not happen; Broken instead where it is tried once.
        """
        count = tries or self.tries
        for attempt in range(1, count + 1):
            try:
                url = self._transport.url(path)
                response = self._send(method, url, scope, headers or {}, body)
            except Broken as error:
                if tries == 1:
                    raise
                if attempt == count or (isinstance(error, NotThere) and attempt >= _NOBODY):
                    raise Unavailable(f"cannot reach {error}", hint="is it running, and is there a network?") from None
                time.sleep(backoff.delay(attempt))
                continue
            if not backoff.passing(response.status):
                return response
            wait = self._patience(backoff.delay(attempt, response.header("Retry-After")))
            if attempt == count:
                if tries == 1:
                    response.close()
                    time.sleep(wait)
                    raise Broken(f"{self.endpoint.host} answers {response.status}")
                self._expect(response, (), path)
            response.close()
            time.sleep(wait)
        raise AssertionError("there is at least one try")

    def _send(
        self,
        method: str,
        url: str,
        scope: str,
        headers: dict[str, str],
        body: bytes | None = None,
        *,
        stream: Callable[[], Iterable[bytes]] | None = None,
    ) -> Response:
        # An upload goes where the registry says; only to itself is it told who we are.
        own = urlsplit(url)[:2] == urlsplit(self._transport.url("/v2/"))[:2]
        for last in (False, False, True):
            header = self._authority.header(scope) if own else ""
            given = {**headers, **({"Authorization": header} if header else {})}
            response = self._transport.send(Asked(method, url, given, body, stream() if stream else None))
            if response.status != 401 or not own or last:
                break
            # A redirect's 401 is not the registry's: its challenge does not count.
            if urlsplit(response.url)[:2] != urlsplit(url)[:2]:
                break
            response.close()
            if not self._authority.answer(response.header("WWW-Authenticate"), scope, header):
                break
        return response

    def _location(self, response: Response) -> str:
        location = response.header("Location")
        url = urljoin(response.url, location)
        if not location or urlsplit(url).scheme not in ("http", "https"):
            raise EngineError(f"{self.endpoint.host} does not say where to upload to")
        if urlsplit(url).scheme == "http" and urlsplit(response.url).scheme == "https":
            # Registries behind a proxy that ends TLS do this: their own name is taken as it was asked for.
            if urlsplit(url).netloc.partition(":")[0] != urlsplit(response.url).netloc.partition(":")[0]:
                raise EngineError(f"{self.endpoint.host} wants uploads at {urlsplit(url).netloc} over plain HTTP")
            url = urljoin(response.url, urlsplit(url)._replace(scheme="", netloc="").geturl())
        return url

    def _patience(self, wait: float) -> float:
        if wait > backoff.PATIENCE:
            raise Unavailable(
                f"{self.endpoint.host} asks to come back in {wait:.0f} seconds",
                hint="its limit for this address, or this account, is used up",
            )
        return wait

    def _expect(self, response: Response, statuses: tuple[int, ...], what: str) -> None:
        """Raises unless the answer is one of these; closes it then."""
        if response.status in statuses:
            return
        try:
            said = _said(response.body(_ERROR_BODY))
        except Broken:
            said = ""
        name = self.endpoint.login
        if response.status in (401, 403):
            why = said or ("log in first" if response.status == 401 else "not allowed")
            raise refused(name, f"{what}: {why}")
        if response.status == 404:
            raise NotFound(f"{name} has no {what}", hint=said and f"it says: {said}")
        kind = Unavailable if response.status >= 500 or response.status == 429 else EngineError
        raise kind(f"{self.endpoint.host} answers {response.status} for {what}{': ' if said else ''}{said}")


def _said(data: bytes) -> str:
    """The message of a registry's error document, made safe to be shown."""
    try:
        first = json.loads(data)["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""
    return shown(text[:200]).strip()


def _manifest(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{reference}"


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def too_long(what: str, size: int) -> str:
    """The words for a body that goes on beyond what was promised."""
    return f"{what} has more than the {size_text(size)} that its descriptor says"
