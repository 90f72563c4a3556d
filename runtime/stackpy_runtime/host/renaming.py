"""Other names for networks and volumes, while containers use them: nothing of theirs depends on a name."""

from __future__ import annotations

from stackpy_runtime import volume as volumes
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.store.networks import renamed
from stackpy_runtime.store.volumes import remounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.lifecycle import Lifecycle


def network(lifecycle: Lifecycle, name: str, new: str) -> None:
    """Renames a network; raises NotFound, Conflict, InvalidConfig."""
    if not new or "/" in new:
        raise InvalidConfig(f"`{new}` is not a network's name")
    lifecycle.store.rename_network(lifecycle.store.network(name)["id"], new)
    with lifecycle.lock:
        lives = list(lifecycle.lives.values())
    for live in lives:
        with live.changed:
            if name in live.config.get("networks", {}):
                live.config["networks"] = renamed(live.config["networks"], name, new)
            live.container["networks"] = renamed(live.container["networks"], name, new)
            live.attached = renamed(live.attached, name, new)


def volume(lifecycle: Lifecycle, name: str, new: str) -> None:
    """Renames a volume; raises NotFound, Conflict, InvalidConfig."""
    volumes.rename(lifecycle.store, name, new)
    with lifecycle.lock:
        lives = list(lifecycle.lives.values())
    for live in lives:
        with live.changed:
            if mounts := live.config.get("mounts"):
                live.config["mounts"] = remounted(mounts, name, new)
