"""Files that ADD takes from the web.

What a URL gives is asked before anything is built, so that a step's ID says it, by a request that is answered with
`unchanged` where the server knows entity tags or times. One that carries a checksum is not asked at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.build.digests import CHUNK, sha256_hex
from stackpy_runtime.errors import Conflict, EngineError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from stackpy_runtime.model import Step
    from stackpy_runtime.store.root import Root

_SECONDS = 60.0  # without a byte
_TRIES = 4
# On a downloaded file: what the server said of it. Where the file system keeps none, a URL is downloaded each time.
_ATTRIBUTE = "trusted.stackpy.url"


def identity(root: Root, address: str, step: Step) -> str:
    """What identifies the content of a URL; asks the network only where the step has no checksum.

    Raises EngineError where it cannot be had, NotFound where there is nothing.
    """
    return step.get("checksum") or _asked(root, address)


class Downloaded(NamedTuple):
    """A file from the web.

    name: what it is called where it comes from; "" where nothing says it
    """

    descriptor: int
    name: str
    mtime_ns: int


def _place(root: Root, address: str) -> str:
    # Beside what is known of contexts' files: pruned by the same rule.
    return f"{root.path}/cache/stat/url-{sha256_hex(address.encode('utf-8', 'surrogateescape'))[:32]}"


def _asked(root: Root, address: str) -> str:
    known = _known(_place(root, address))
    found = _get(root, address, known)
    if found is None:
        return str(known["digest"])
    os.close(found[0])
    return str(found[1]["digest"])


@contextlib.contextmanager
def downloaded(root: Root, address: str, planned: str) -> Iterator[Downloaded]:
    """What a URL gives, which is what the recipe was made of.

    planned: `ALGORITHM:DIGITS` that the content must have

    Raises Conflict where it is another by now, or not what the checksum of the step says.
    """
    path = _place(root, address)
    algorithm = planned.partition(":")[0]
    said = _known(path)
    descriptor = _open(path) if said else -1
    try:
        if descriptor < 0 or _digest(descriptor, algorithm) != planned:
            if descriptor >= 0:
                os.close(descriptor)
                descriptor = -1
            got = _get(root, address, {})
            if got is None:
                raise EngineError(f"cannot get `{address}`: the server gave nothing")
            descriptor, said = got
            now = _digest(descriptor, algorithm)
            if now != planned:
                raise Conflict(f"`{address}` has the checksum {now}, and {planned} is expected", hint="check both")
        yield Downloaded(descriptor, str(said.get("name", "")), int(said.get("mtime", 0)) * 1_000_000_000)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1


def _known(path: str) -> dict[str, Any]:
    """What is known of an address from the last time; {} when nothing is."""
    try:
        found: dict[str, Any] = json.loads(os.getxattr(path, _ATTRIBUTE, follow_symlinks=False))
        os.utime(path)  # what was used last is pruned last
    except (OSError, ValueError):
        return {}
    return found


def _digest(descriptor: int, algorithm: str) -> str:
    import hashlib

    digest = hashlib.new(algorithm)
    offset = 0
    while piece := os.pread(descriptor, CHUNK, offset):
        digest.update(piece)
        offset += len(piece)
    return f"{algorithm}:{digest.hexdigest()}"


def _get(root: Root, address: str, known: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """Downloads a file into the cache; a descriptor and what the server said of it. None: it is as it was."""
    import urllib3

    headers = {"User-Agent": "stackpy", "Accept-Encoding": "identity"}
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    if known.get("modified"):
        headers["If-Modified-Since"] = known["modified"]
    try:
        answer = _pool(address).request("GET", address, headers=headers, preload_content=False)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise EngineError(f"cannot get `{address}`: {_reason(error)}", hint="check the address") from None
    try:
        if answer.status == 304:
            return None
        if answer.status != 200:
            what = f"the server answered {answer.status}"
            kind = NotFound if answer.status in (404, 410) else EngineError
            raise kind(f"cannot get `{address}`: {what}", hint="check the address")
        return _kept(root, address, answer)
    finally:
        answer.release_conn()


def _reason(error: Exception) -> str:
    from urllib3 import exceptions

    cause = getattr(error, "reason", None) or error
    if isinstance(cause, exceptions.NameResolutionError):
        return "there is no such host, or it cannot be looked up"
    if isinstance(cause, exceptions.TimeoutError):
        return f"no answer for {_SECONDS:g} s"
    if isinstance(cause, exceptions.ResponseError):
        return str(cause)
    # `HTTPSConnection(host=…): Failed to establish a new connection: [Errno 111] Connection refused`
    return str(cause).rpartition("] ")[2].rpartition(": ")[2].rstrip(")").lower()


def _pool(address: str) -> Any:
    import urllib.request

    import urllib3

    scheme = address.partition(":")[0].lower()
    host = urllib3.util.parse_url(address).host or ""
    proxy = urllib.request.getproxies().get(scheme, "")
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=_SECONDS, read=_SECONDS),
        "retries": urllib3.Retry(_TRIES, backoff_factor=0.5, status_forcelist=[429, 502, 503, 504], redirect=10),
    }
    if proxy and not urllib.request.proxy_bypass(host):
        return urllib3.ProxyManager(proxy, **options)
    return urllib3.PoolManager(**options)


def _kept(root: Root, address: str, answer: Any) -> tuple[int, dict[str, Any]]:
    import hashlib

    import urllib3

    path = _place(root, address)
    descriptor, aside = _new_file(root, path)
    digest = hashlib.sha256()
    try:
        for piece in answer.stream(CHUNK, decode_content=False):
            digest.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
        said = {
            "digest": f"sha256:{digest.hexdigest()}",
            "etag": answer.headers.get("ETag", ""),
            "modified": answer.headers.get("Last-Modified", ""),
            "name": _name(address, answer.headers.get("Content-Disposition", "")),
            "mtime": _seconds(answer.headers.get("Last-Modified", "")),
        }
        try:
            if aside:
                os.setxattr(descriptor, _ATTRIBUTE, json.dumps(said).encode())
                os.rename(aside, path)
        except OSError:
            os.unlink(aside)
    except BaseException as error:
        os.close(descriptor)
        if aside:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)
        if isinstance(error, urllib3.exceptions.HTTPError):
            raise EngineError(f"cannot get `{address}`: it broke off: {str(error).lower()}") from None
        if isinstance(error, OSError):
            reason = (error.strerror or str(error)).lower()
            raise EngineError(f"cannot keep `{address}`: {reason}", hint="free some space and try again") from None
        raise
    return descriptor, said


def _new_file(root: Root, path: str) -> tuple[int, str]:
    """A descriptor of an empty file that can become `path`, and its name; one without a name where no engine has been,
    or where we may not write: then each build asks anew.
    """
    aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        if root.exists():
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            return os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), aside
    except PermissionError:
        pass
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno()), ""


def _name(address: str, disposition: str) -> str:
    """What a downloaded file is called: what the server says, else the end of the address; never a path."""
    import email.message
    import urllib.parse

    if disposition:
        message = email.message.Message()
        message["Content-Disposition"] = disposition
        given = posixpath.basename(str(message.get_filename() or "").replace("\\", "/"))
        if given not in ("", ".", "..") and "\0" not in given:
            return given
    name = posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(address).path))
    return "" if name in (".", "..") or "\0" in name else name


def _seconds(date: str) -> int:
    """An HTTP date in seconds since 1970; 0 for what is none."""
    import email.utils

    try:
        return max(0, int(email.utils.parsedate_to_datetime(date).timestamp()))
    except (TypeError, ValueError, OverflowError):
        return 0
