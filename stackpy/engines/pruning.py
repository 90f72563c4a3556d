"""What prunes take of containers, networks and volumes: nothing that a stack owns, and nothing in use."""

from __future__ import annotations

from stackpy.engines import labels
from stackpy.engines.observation import seconds
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Document = Mapping[str, Any]
    Label = tuple[str, str | None, bool]

_STOPPED = ("created", "exited")
_DEFAULT_NETWORK = "bridge"  # the engine's own: it goes when the last container has left it


def wanted(own: Mapping[str, str], created: str, until: str, asked: Sequence[Label]) -> bool:
    """Whether something may go: of no stack, older than `until`, and with the labels that are asked for. Pure.

    asked: (name, value or None for any, whether it must be there)
    """
    if labels.STACK in own or (until and seconds(created) >= seconds(until)):
        return False
    return all((name in own and value in (None, own[name])) == must for name, value, must in asked)


def containers(engine: Any, until: str, asked: Sequence[Label]) -> list[str]:
    """Removes containers that do not run; returns their names."""
    rows = [
        container["name"]
        for container in engine.containers()
        if container["state"]["status"] in _STOPPED
        and wanted(container["config"].get("labels", {}), container["created"], until, asked)
    ]
    return _removed(rows, lambda name: engine.remove(name, force=False, volumes=False))


def networks(engine: Any, until: str, asked: Sequence[Label]) -> list[str]:
    """Removes networks that no container is on; returns their names."""
    used = {name for container in engine.containers() for name in container["config"].get("networks", {})}
    rows = [
        network["name"]
        for network in engine.networks()
        if network["name"] not in used
        and network["name"] != _DEFAULT_NETWORK
        and wanted(network["labels"], network["created"], until, asked)
    ]
    return _removed(rows, engine.remove_network)


def volumes(engine: Any, asked: Sequence[Label], *, named: bool = False) -> list[str]:
    """Removes anonymous volumes that no container mounts, with their data; returns their names.

    named: those that have a name too
    """
    used = {
        mount["source"]
        for container in engine.containers()
        for mount in container["config"].get("mounts", ())
        if mount["type"] == "volume"
    }
    rows = [
        volume["name"]
        for volume in engine.volumes()
        if volume["name"] not in used
        and (named or labels.ANONYMOUS in volume["labels"])
        and wanted(volume["labels"], volume["created"], "", asked)
    ]
    return _removed(rows, engine.remove_volume)


def _removed(names: Sequence[str], remove: Callable[[str], object]) -> list[str]:
    gone = []
    for name in names:
        try:
            remove(name)
        except StackpyError:
            continue  # started, used or removed by somebody else since: then it is not ours to prune
        gone.append(name)
    return gone
