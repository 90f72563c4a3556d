"""One blob on its way here: read in a thread of its own, kept, hashed, and taken up again where a connection broke."""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import TYPE_CHECKING

from stackpy_runtime.errors import EngineError
from stackpy_runtime.image.limits import bad
from stackpy_runtime.image.registry import backoff
from stackpy_runtime.image.registry.client import Unavailable, too_long
from stackpy_runtime.image.registry.transport import Broken
from stackpy_runtime.image.written import Written

if TYPE_CHECKING:
    from stackpy_runtime.image.manifests import Descriptor
    from stackpy_runtime.image.registry.client import Client
    from stackpy_runtime.image.registry.transport import Response

_CHUNK = 256 << 10
# With what has been read ahead of the decompressor, two MiB for each layer that is under way.
_AHEAD = 8
# A connection that breaks after less has made no progress: a server could keep us for ever, byte by byte.
_PROGRESS = 64 << 10


class Cancelled(EngineError):
    """Another layer of the image failed."""


class Download:
    """The bytes of a blob as they come, a source of pieces as image/blobs.py has them.

    clients: who to ask, best first
    keep: descriptor of a file that gets them too, or -1
    stop: set when nobody wants the rest any more
    """

    def __init__(
        self,
        clients: list[Client],
        repository: str,
        descriptor: Descriptor,
        keep: int,
        stop: threading.Event,
    ) -> None:
        self._clients, self._repository, self._descriptor = list(clients), repository, descriptor
        self._keep, self._stop = Written(keep) if keep >= 0 else None, stop
        self._hash = hashlib.sha256()
        self._response: Response | None = None
        self._received, self._failures, self._since = 0, 0, 0

    def read(self) -> bytes:
        """The next piece; b"" at the end, once size and digest were found right. Raises InvalidConfig, EngineError."""
        while True:
            if self._stop.is_set():
                self.close()
                raise Cancelled("the pull was given up")
            try:
                if self._received == self._descriptor.size:
                    self._finish()
                    return b""
                if self._response is None:
                    self._response = self._open()
                    continue  # `abort` may have come before there was anything to end
                piece = self._response.read(min(_CHUNK, self._descriptor.size - self._received))
                if not piece:
                    raise Broken(f"{self._clients[0].endpoint.host}: the answer ended early")
            except Broken as error:
                self._broke(error)
                continue
            self._received += len(piece)
            self._hash.update(piece)
            if self._keep is not None:
                self._write(self._keep, piece)
            return piece

    @property
    def digest(self) -> str:
        """The digest that it was found to have, once it was read to its end."""
        return self._descriptor.digest

    def close(self) -> None:
        """Ends the exchange that is under way."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def abort(self) -> None:
        """Ends a `read` that another thread is waiting in; `stop` is set."""
        response = self._response
        if response is not None:
            response.abort()

    def _open(self) -> Response:
        while True:
            try:
                response = self._clients[0].blob(self._repository, self._descriptor.digest, self._received)
                break
            except Broken:
                raise
            except EngineError:
                # A mirror may have the manifest and not, or no longer, the layer.
                if len(self._clients) == 1:
                    raise
                del self._clients[0]
        if response.status == 206 and not _begins_at(response.header("Content-Range"), self._received):
            response.close()
            raise Broken(f"{self._clients[0].endpoint.host} sends another part than was asked for")
        if response.status == 200:
            # It knows no ranges: what is here already is read past. The digest tells whether it was the same.
            left = self._received
            while left:
                piece = response.read(min(_CHUNK, left))
                if not piece:
                    raise Broken(f"{self._clients[0].endpoint.host}: the answer ended early")
                left -= len(piece)
        return response

    def _broke(self, error: Broken) -> None:
        self.close()
        if self._stop.is_set():
            return
        if self._received - self._since >= _PROGRESS:
            self._failures = 0
        self._since = self._received
        self._failures += 1
        if self._failures >= backoff.TRIES:
            if len(self._clients) > 1:
                del self._clients[0]
                self._failures = 0
                return
            raise Unavailable(
                f"the connection broke {self._failures} times: {error}", hint="pull again; what is here already stays"
            )
        self._stop.wait(backoff.delay(self._failures))

    def _finish(self) -> None:
        if self._response is not None:
            # One byte more than promised makes another blob of it.
            more = self._response.read(1)
            self.close()
            if more:
                bad(too_long("it", self._descriptor.size))
        digest = "sha256:" + self._hash.hexdigest()
        if digest != self._descriptor.digest:
            bad(f"its digest is {digest}, and the manifest says {self._descriptor.digest}")

    def _write(self, keep: Written, piece: bytes) -> None:
        try:
            keep(piece)
        except OSError as error:
            hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
            raise EngineError(f"cannot write the layer: {(error.strerror or str(error)).lower()}", hint=hint) from None


class Ahead:
    """A source that is read by a thread of its own, some pieces ahead. A context manager.

    Reading and hashing what comes, and decompressing and hashing what went before, take two processors.
    """

    def __init__(self, source: Download, size: int) -> None:
        self._source, self.size = source, size
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stackpy-download", daemon=True)
        self._first: bytes | None = None
        self._ended = False
        self.position = 0

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._thread.join()
        self._source.close()

    def start(self) -> bytes:
        """The first bytes, at least six where there are as many; they are read again."""
        if self._first is None:
            first = b""
            while len(first) < 6 and (piece := self._next()):
                first += piece
            self._first = first
        return self._first

    def read(self) -> bytes:
        """The next piece; b"" at the end. Raises what the source raised."""
        piece = self._first or self._next()
        self._first = b"" if self._first is not None else None
        self.position += len(piece)
        return piece

    @property
    def digest(self) -> str:
        """The blob's; found right before the last piece was given."""
        return self._source.digest

    def _next(self) -> bytes:
        if self._ended:
            return b""
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._ended = not item
        return item

    def _run(self) -> None:
        item: bytes | BaseException = b" "
        while item and not self._given_up.is_set():
            try:
                item = self._source.read()
            except BaseException as error:  # whoever reads has to hear of it
                self._put(error)
                return
            self._put(item)

    def _put(self, item: bytes | BaseException) -> None:
        while not self._given_up.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue


def _begins_at(content_range: str, start: int) -> bool:
    return content_range.replace("bytes ", "", 1).strip().partition("-")[0] == str(start)
