"""The events of containers, as Docker's attributes tell them; store/event_log.py keeps them."""

from __future__ import annotations

from stackpy_runtime.store import event_log
from stackpy_runtime.store.event_log import event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import Event


def of_container(live: Live, action: str, **attributes: str) -> Event:
    """Something that has happened to a container.

    attributes: Docker's, such as exitCode, signal, execID, oldName
    """
    return event_log.of_container({**live.container, "name": live.name, "config": live.config}, action, **attributes)


def of_networks(live: Live, action: str, networks: dict[str, str]) -> list[Event]:
    """A container's being connected to networks, or disconnected. networks: IDs by name"""
    return [
        event("network", action, identity, {"container": live.id, "name": name, "type": "bridge"})
        for name, identity in networks.items()
    ]


def of_changed_networks(live: Live, before: dict[str, str]) -> list[Event]:
    """What of its networks has changed while a container runs. before: IDs by name"""
    joined = {name: identity for name, identity in live.attached.items() if identity not in before.values()}
    left = {name: identity for name, identity in before.items() if identity not in live.attached.values()}
    return [*of_networks(live, "connect", joined), *of_networks(live, "disconnect", left)]


def of_volumes(live: Live, action: str) -> list[Event]:
    """The mounting of a container's volumes, or its end."""
    return [
        event(
            "volume",
            action,
            mount["source"],
            {
                "container": live.id,
                "destination": mount["target"],
                "driver": "local",
                "propagation": "",
                "read/write": str(not mount["read_only"]).lower(),
            },
        )
        for mount in live.config.get("mounts", [])
        if mount["type"] == "volume"
    ]
