"""What an image's documents say of it, for people."""

from __future__ import annotations

from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
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
                "created": line["created"],
                "created_by": line["created_by"],
                "size": layers.size(store.root, layer) if layer else 0,
                "comment": line.get("comment", ""),
            }
        )
    if found:
        found[-1]["id"] = image["id"]  # only the whole is an image: the steps below have no ID of their own
    return found[::-1]
