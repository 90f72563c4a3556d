"""What an image's documents say of it, for people."""

from __future__ import annotations

from stackpy_runtime.image import epochs
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy_runtime.model import Image, ImageLine
    from stackpy_runtime.store.store import Store


def history(store: Store, image: Image) -> list[ImageLine]:
    """How an image came about, the last step first, each with the bytes that its layer has added.

    Layers of an image without a history are listed all the same; sizes are guessed for none.
    """
    given = list(image["layers"])
    lines = image["history"]
    if sum(not line["empty_layer"] for line in lines) != len(given):
        lines = [{"created": image["created"], "created_by": "", "empty_layer": False} for _ in given]
    found: list[ImageLine] = []
    for line in lines:
        layer = "" if line["empty_layer"] else given.pop(0)
        found.append(
            {
                "id": "",
                # A build's own steps have its reproducible date; here and now, when they were made says more.
                "created": image.get("built", line["created"])
                if line["created"] == image["created"]
                else line["created"],
                "created_by": line["created_by"],
                "size": layers.size(store.root, layer) if layer else 0,
                "comment": line.get("comment", ""),
            }
        )
    if found:
        found[-1]["id"] = image["id"]  # only the whole is an image: the steps below have no ID of their own
    return found[::-1]


def asked(until: str, labels: Sequence[tuple[str, str | None, bool]]) -> Callable[[Image], bool]:
    """Whether an image is older than `until` and has, or has not, each of the labels; for `image prune`.

    labels: (name, value or None for any, whether it must be there)
    """
    limit = epochs.seconds(until) if until else None

    def matches(image: Image) -> bool:
        if limit is not None and epochs.seconds(image.get("built") or image["created"]) >= limit:
            return False
        own = image["config"].get("Labels", {})
        return all((name in own and value in (None, own[name])) == wanted for name, value, wanted in labels)

    return matches
