"""What `system df` shows: who takes how much of the disk, each byte once."""

from __future__ import annotations

import os

from stackpy_runtime.store import build_cache, layers, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    from stackpy_runtime.model import Container, DiskUsage, Image, ImageUsage
    from stackpy_runtime.store.root import Root
    from stackpy_runtime.store.store import Store


def disk_usage(store: Store) -> DiskUsage:
    """Bytes on disk of every image, container, volume and entry of the build cache, as `du` counts them."""
    root = store.root
    images, containers = store.images(), store.containers()
    sizes = {
        layer: usage.layer(root, layer)
        for layer in {layer for image in images for layer in image["layers"]}
        if layers.exists(root, layer)
    }
    cache = build_cache.entries(store)
    known = sizes.keys() | {entry.name for entry in cache}
    return {
        "layers": sum(sizes.values()) + (usage.allocated(root.blobs) if images else 0),
        "images": _images(images, containers, sizes),
        "containers": [
            {
                "id": container["id"],
                "name": container["name"],
                "image": container["config"]["image"],
                "command": container["config"].get("command", []),
                "created": container["created"],
                "state": container["state"],
                "volumes": sum(mount["type"] == "volume" for mount in container["config"].get("mounts", [])),
                "size": usage.allocated(f"{root.containers}/{container['id']}"),
            }
            for container in containers
        ],
        "volumes": [
            {
                "name": volume["name"],
                "links": sum(_mounts(container, volume["name"]) for container in containers),
                "size": usage.allocated(os.path.dirname(volume["mountpoint"])),
                "snapshots": usage.allocated(f"{os.path.dirname(volume['mountpoint'])}/_snapshots"),
            }
            for volume in store.volumes()
        ],
        "cache": [{"id": entry.name, "kind": entry.kind, "size": entry.size, "used": entry.used} for entry in cache],
        "rest": _rest(root, known) if root.exists() else 0,
        "free": usage.free(root.path) if root.exists() else 0,
    }


def _images(images: list[Image], containers: list[Container], sizes: dict[str, int]) -> list[ImageUsage]:
    users: dict[str, int] = {}
    for image in images:
        for layer in set(image["layers"]):
            users[layer] = users.get(layer, 0) + 1
    found: list[ImageUsage] = []
    for image in images:
        own = set(image["layers"])
        shared = sum(sizes.get(layer, 0) for layer in own if users[layer] > 1)
        whole = sum(sizes.get(layer, 0) for layer in own)
        found.append(
            {
                "id": image["id"],
                "references": image["references"],
                "created": image.get("built") or image["created"],
                "size": whole,
                "shared": shared,
                "unique": whole - shared,
                "containers": sum(container["image_id"] == image["id"] for container in containers),
            }
        )
    return found


def _rest(root: Root, known: Set[str]) -> int:
    """What is no image, container, volume or cache: the index, history, logs, and what a collection will remove."""
    counted = (root.layers, root.blobs, root.containers, root.volumes, f"{root.path}/cache")
    paths = [path for name in os.listdir(root.path) if (path := f"{root.path}/{name}") not in counted]
    unknown = {layers.identifier(name) for name in os.listdir(root.layers)} - known - {""}
    return sum(map(usage.allocated, paths)) + sum(usage.layer(root, layer) for layer in unknown)


def _mounts(container: Container, volume: str) -> bool:
    mounts = container["config"].get("mounts", [])
    return any(mount["type"] == "volume" and mount["source"] == volume for mount in mounts)
