"""Which networks and volumes a container is on and mounts, by its fields."""

from __future__ import annotations

from _collections_abc import Mapping


def uses(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """The networks and volumes that a container's fields name: (path of the field, address)."""
    found: list[tuple[str, str]] = []
    networks, volumes = values.get("networks"), values.get("volumes")
    if isinstance(networks, Mapping):
        found += [(f"networks.{name}", f"network.{name}") for name in networks]
    if isinstance(volumes, (list, tuple)):
        found += [(f"volumes.{v['target']}", f"volume.{v['source']}") for v in volumes if v["type"] == "volume"]
    return found
