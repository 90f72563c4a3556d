"""In which order a replica is replaced: whether the new one may run before the old one has left. Pure."""

from __future__ import annotations

from stackpy.dsl.specs import addresses, partners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from stackpy.dsl.specs import Fields, Spec
    from stackpy.planning.plan import Replica

    Order = Literal["stop-first", "start-first"]


def order(spec: Spec, replicas: Iterable[Replica], resources: Mapping[str, Spec], *, cleared: bool) -> Order:
    """What the spec asks for; else start-first, unless two of one replica could harm each other or find no room.

    replicas: those that are replaced, as they are now
    resources: all of the stack
    cleared: a network is made anew, and its containers are removed for it
    """
    if (
        cleared
        or _shares(spec.fields)
        or any(addresses(spec.fields))  # which one container has at a time
        or any(_clash(spec.fields, replica.live) for replica in replicas)
    ):
        return "stop-first"
    asked = spec.fields.get("update", {}).get("order")
    if asked:
        return "start-first" if asked == "start-first" and not _is_shared(spec, resources) else "stop-first"
    return "stop-first" if _writes(spec.fields) or _is_shared(spec, resources) else "start-first"


def _shares(fields: Fields) -> bool:
    """Whether it runs in the host's network, where a port is taken once."""
    return str(fields.get("network_mode", "none")) != "none" or bool(partners(fields))


def _is_shared(spec: Spec, resources: Mapping[str, Spec]) -> bool:
    return any(
        name == spec.name
        for other in resources.values()
        if other.kind in ("container", "job")
        for _, name in partners(other.fields)
    )


def _writes(fields: Fields) -> bool:
    """Whether it can write what outlives it: two servers on one data folder destroy it."""
    return any(mount["type"] in ("volume", "bind") and not mount.get("read_only") and mount.get("source")
               for mount in fields.get("volumes", ()))  # fmt: skip


def _clash(new: Fields, old: Fields) -> bool:
    """Whether a port that the new one publishes is the old one's under another address: 127.0.0.1 and 0.0.0.0."""
    held = {(port.get("published"), port.get("protocol") or "tcp", port.get("host_ip") or "127.0.0.1")
            for port in old.get("ports", ())}  # fmt: skip
    for port in new.get("ports", ()):
        number, protocol, address = port.get("published"), port.get("protocol") or "tcp", port.get("host_ip")
        address = address or "127.0.0.1"
        for other in held:
            if number and other[:2] == (number, protocol) and other[2] != address:
                return True
    return False
