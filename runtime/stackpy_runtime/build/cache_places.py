"""Where a build cache lies between two machines. A folder is an OCI image layout: any tool that copies those copies it.

Each name in it (an image's, say) has one manifest. Its configuration is the document that says which blob is which
step's layer and which cache folder's content; its layers are those blobs. So a registry can hold the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from stackpy_runtime.errors import EngineError, InvalidConfig, NotFound
from stackpy_runtime.image.blobs import Blob
from stackpy_runtime.image.exporting import MANIFEST_TYPE, digest_of, document
from stackpy_runtime.image.manifests import Index, Manifest, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from stackpy_runtime.image.blobs import Stream
    from stackpy_runtime.image.layer_tar import Sink

DOCUMENT_TYPE = "application/vnd.stackpy.cache.config.v1+json"
BLOB_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
_NAME = "org.opencontainers.image.ref.name"
_MOST = 16 << 20  # bytes of a document


class Part(msgspec.Struct, frozen=True):
    """A part of a folder's tar: its blob, and the digest of what is in it."""

    blob: str
    size: int
    content: str


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step, or a folder that outlives steps: `name` is its ID or the folder's name, `blob` a digest; "": no files.

    parts: of a folder, in place of one blob (cache_parts.py); `size` is of all of them
    """

    name: str
    blob: str = ""
    size: int = 0
    parts: tuple[Part, ...] = ()


class Carried(msgspec.Struct, frozen=True):
    """What a place has under one name."""

    steps: list[Piece]
    mounts: list[Piece]
    version: int = 1


class Place(Protocol):
    """Where a cache is brought and fetched from. Blobs are verified by whoever reads them."""

    def named(self, name: str) -> str:
        """The name under which it keeps what somebody calls `name`."""

    def carried(self) -> dict[str, Carried]:
        """All that is there, by name; raises NotFound where there is nothing, InvalidConfig for what is no cache."""

    def blob(self, piece: Piece) -> AbstractContextManager[Blob | Stream]:
        """The stored bytes of a piece; raises NotFound."""

    def stored(self, piece: Piece) -> bool:
        """Whether its blob is there."""

    def keep(self, write: Callable[[Sink], None]) -> tuple[str, int]:
        """Keeps what `write` writes; its digest and size."""

    def finish(self, name: str, carried: Carried) -> None:
        """Makes this what the place has under a name; blobs that no name has any more may go."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Held while something is brought there."""


def described(carried: Carried, keep: Callable[[bytes], tuple[str, int]]) -> bytes:
    """The manifest of what is carried; `keep` stores the document that it names."""
    data = msgspec.json.encode(carried, order="deterministic")
    keep(data)
    blobs = {blob: size for piece in (*carried.steps, *carried.mounts) for blob, size in blobs_of(piece)}
    return document(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": DOCUMENT_TYPE,
            "config": {"mediaType": DOCUMENT_TYPE, "digest": digest_of(data), "size": len(data)},
            "layers": [
                {"mediaType": BLOB_TYPE, "digest": digest, "size": size} for digest, size in sorted(blobs.items())
            ],
        }
    )


def read(data: bytes, where: str) -> Carried:
    """The document of a manifest; raises InvalidConfig for one that is not ours."""
    carried = decode(data, Carried, f"the cache of {where}")
    if carried.version != 1:
        raise InvalidConfig(f"the cache of {where} is of version {carried.version}", hint="use a newer stackpy")
    for piece in (*carried.steps, *carried.mounts):
        for blob, _ in blobs_of(piece):
            if not is_digest(blob):
                raise InvalidConfig(f"the cache of {where} names the blob `{blob[:80]}`, which is no digest")
    return carried


def blobs_of(piece: Piece) -> list[tuple[str, int]]:
    """The digests and sizes of what a piece is kept as."""
    whole = [(piece.blob, piece.size)] if piece.blob else []
    return whole + [(part.blob, part.size) for part in piece.parts]


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 digest, and so the name of a file."""
    kind, _, number = text.partition(":")
    return kind == "sha256" and len(number) == 64 and set(number) <= set("0123456789abcdef")


class Folder:
    """A cache in a folder."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)

    def named(self, name: str) -> str:
        """See Place."""
        return name

    def carried(self) -> dict[str, Carried]:
        """See Place."""
        found = {}
        for name, digest in self._manifests().items():
            manifest = decode(self._read(digest), Manifest, f"the cache `{self._path}`")
            if manifest.config.media_type != DOCUMENT_TYPE or not is_digest(manifest.config.digest):
                raise InvalidConfig(f"`{self._path}` is no build cache", hint="give a folder that --cache-to has made")
            found[name] = read(self._read(manifest.config.digest), f"`{self._path}`")
        return found

    @contextmanager
    def blob(self, piece: Piece) -> Iterator[Blob]:
        """See Place."""
        try:
            descriptor = os.open(self._blob(piece.blob), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            raise NotFound(f"the cache `{self._path}` lacks the blob {piece.blob[:19]}") from None
        try:
            yield Blob(descriptor, 0, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def stored(self, piece: Piece) -> bool:
        """See Place."""
        try:
            return os.stat(self._blob(piece.blob), follow_symlinks=False).st_size == piece.size
        except OSError:
            return False

    def keep(self, write: Callable[[Sink], None]) -> tuple[str, int]:
        """See Place."""
        aside = f"{self._path}/blobs/sha256/.{os.urandom(8).hex()}"
        try:
            with open(aside, "xb") as file:
                hashed = Hashed(file.write)
                write(hashed)
            os.rename(aside, self._blob(hashed.digest))
        except BaseException as error:
            try:
                os.unlink(aside)
            except OSError:
                pass
            if isinstance(error, OSError) and not isinstance(error, EngineError):
                raise self._failure(error) from None
            raise
        return hashed.digest, hashed.size

    def finish(self, name: str, carried: Carried) -> None:
        """See Place."""
        manifest = described(carried, self._keep)
        digest, _ = self._keep(manifest)
        known = {**self._manifests(), name: digest}
        manifests = []
        for each, of in sorted(known.items()):
            size = os.stat(self._blob(of)).st_size
            manifests.append({"mediaType": MANIFEST_TYPE, "digest": of, "size": size, "annotations": {_NAME: each}})
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
        self._write("oci-layout", document({"imageLayoutVersion": "1.0.0"}))
        self._write("index.json", document(index))
        self._remove_unnamed()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See Place."""
        try:
            os.makedirs(f"{self._path}/blobs/sha256", exist_ok=True)
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._failure(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _manifests(self) -> dict[str, str]:
        """The digests of manifests, by name."""
        try:
            with open(f"{self._path}/index.json", "rb") as file:
                index = decode(file.read(_MOST), Index, f"the cache `{self._path}`")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failure(error) from None
        return {
            (each.annotations or {}).get(_NAME, ""): each.digest for each in index.manifests if is_digest(each.digest)
        }

    def _read(self, digest: str) -> bytes:
        try:
            with open(self._blob(digest), "rb") as file:
                data = file.read(_MOST)
        except OSError:
            raise NotFound(f"the cache `{self._path}` lacks the blob {digest[:19]}") from None
        if digest_of(data) != digest:
            raise InvalidConfig(f"the cache `{self._path}` is damaged: {digest[:19]} is not what is there")
        return data

    def _keep(self, data: bytes) -> tuple[str, int]:
        def write(out: Sink) -> None:
            out.write(data)

        return self.keep(write)

    def _write(self, name: str, data: bytes) -> None:
        aside = f"{self._path}/.{name}.{os.urandom(8).hex()}"
        try:
            with open(aside, "xb") as file:
                file.write(data)
            os.rename(aside, f"{self._path}/{name}")
        except OSError as error:
            raise self._failure(error) from None

    def _remove_unnamed(self) -> None:
        """Removes blobs that no manifest names: the folder is as large as what it is good for."""
        named = set(self._manifests().values())
        for digest in list(named):
            manifest = json.loads(self._read(digest))
            named |= {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
        for name in os.listdir(f"{self._path}/blobs/sha256"):
            if f"sha256:{name}" not in named:
                os.unlink(f"{self._path}/blobs/sha256/{name}")

    def _blob(self, digest: str) -> str:
        return f"{self._path}/blobs/sha256/{digest.removeprefix('sha256:')}"

    def _failure(self, error: OSError) -> EngineError:
        return EngineError(f"the cache `{self._path}` cannot be used: {(error.strerror or str(error)).lower()}")


class Hashed:
    """Hashes and counts what is written on its way."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self._hash, self.size = write, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Takes bytes."""
        self._hash.update(data)
        self.size += len(data)
        self._write(data)

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return "sha256:" + self._hash.hexdigest()
