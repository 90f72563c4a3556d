"""What of networks the kernel has lost: bridges, and containers' links to them; read from /sys."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Document = Mapping[str, Any]

_LINKS = "/sys/class/net"
_ALIVE = ("running", "paused")


def missing_bridges(networks: Iterable[Document], containers: Iterable[Document]) -> list[str]:
    """The names of networks that containers are on, and whose bridge is not there.

    Without a container on it a bridge is made when the next one starts, as after a restart of the host.
    """
    members = _members(containers)
    return [
        network["name"]
        for network in networks
        if network["name"] in members and not os.path.isdir(f"{_LINKS}/{network['bridge']}")
    ]


def missing_links(networks: Iterable[Document], containers: Iterable[Document]) -> dict[str, list[str]]:
    """ID of a container that runs → names of the networks to which it has no link any more.

    A bridge with as many ports as the containers that are on it is not looked at more closely.
    """
    members = _members(containers)
    found: dict[str, list[str]] = {}
    for network in networks:
        wanted = members.get(network["name"])
        if not wanted:
            continue
        try:
            ports = os.listdir(f"{_LINKS}/{network['bridge']}/brif")
        except OSError:
            ports = []
        if len(ports) >= len(wanted):
            continue
        present = {_owner(port) for port in ports}
        for identity in wanted:
            if identity not in present:
                found.setdefault(identity, []).append(network["name"])
    return found


def _members(containers: Iterable[Document]) -> dict[str, list[str]]:
    """Name of a network → IDs of the containers on it that run."""
    members: dict[str, list[str]] = {}
    for container in containers:
        if container["state"]["status"] in _ALIVE:
            for name in container["networks"]:
                members.setdefault(name, []).append(container["id"])
    return members


def _owner(link: str) -> str:
    """The ID of the container whose link it is, which the engine has noted as its alias."""
    try:
        with open(f"{_LINKS}/{link}/ifalias", encoding="ascii", errors="replace") as file:
            words = file.read().split(" ")
    except OSError:
        return ""
    return words[1] if len(words) == 3 else ""
