"""What is kept though no name and no container refers to it: images of kept generations, and their blobs.

Generations are written by stackpy under ROOT/stacks; what they say is not understood here. Whatever in them looks like
a digest is one that a rollback may ask for.
"""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy_runtime.model import Image
    from stackpy_runtime.store.root import Root

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
# A blob that is larger is a layer, and names nothing.
_DOCUMENT = 4 << 20


def of_generations(root: Root) -> set[str]:
    """The digests in kept generations, in hexadecimal."""
    found: set[str] = set()
    for folder, _, names in os.walk(root.stacks):
        for name in names:
            if name.endswith(".json"):
                found |= digests_in(_read(f"{folder}/{name}"))
    return found


def digests_in(data: bytes) -> set[str]:
    """Everything in a document that looks like a digest, in hexadecimal. Pure."""
    return {match.decode() for match in _DIGEST.findall(data)}


def kept_by_history(image: Image, named: set[str]) -> bool:
    """Whether a generation names the image, by its ID or its recipe."""
    return image["id"].removeprefix("sha256:") in named or (bool(image["recipe"]) and image["recipe"] in named)


def blobs_in_use(root: Root, documents: Iterable[bytes]) -> set[str]:
    """Blobs that images' documents name, and those that such a blob names: an index, its manifest, its layers."""
    used: set[str] = set()
    left: set[str] = set()
    for document in documents:
        left |= digests_in(document)
    while left:
        digest = left.pop()
        used.add(digest)
        path = f"{root.blobs}/sha256/{digest}"
        try:
            small = os.stat(path).st_size <= _DOCUMENT
        except FileNotFoundError:
            continue
        if small:
            data = _read(path)
            if data[:1] == b"{":
                left |= digests_in(data) - used
    return used


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
