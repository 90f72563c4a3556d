"""What only one resource can hold at a time: ports, names, subnets, addresses. Who must let go for whom.

A volume may have several writers; but of a container that leaves while another comes and writes the same volume, the
second is most often the first by another name, and two databases on one data folder destroy it.
"""

from __future__ import annotations

from stackpy.dsl.specs import addresses
from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from stackpy.dsl.specs import Fields, Spec
    from stackpy.planning.draft import Draft
    from stackpy.planning.plan import Observed

_EVERYWHERE = frozenset({"0.0.0.0", "::", "*", ""})
_IN_PLACE = (Action.UPDATE, Action.RESTART)  # may take and give up ports and addresses
_TAKING = (Action.CREATE, Action.REPLACE, Action.START, Action.RUN, *_IN_PLACE, Action.MOVE)
_GIVING = (Action.REPLACE, Action.DELETE, *_IN_PLACE)


def conflicts(
    drafts: list[Draft], specs: Mapping[str, Spec], existing: Mapping[str, Observed]
) -> list[tuple[int, int, str]]:
    """(number of the draft that takes, number of the one that gives up, what: `port 8080`)."""
    givers = [
        number
        for number, draft in enumerate(drafts)
        if draft.action in _GIVING and draft.address in existing and (draft.action not in _IN_PLACE or concerned(draft))
    ]
    if not givers:
        return []
    held: dict[tuple[str, Any], list[tuple[int, str]]] = {}
    for number in givers:
        observed = existing[drafts[number].address]
        for claim, detail in _held(observed, drafts[number]):
            held.setdefault(claim, []).append((number, detail))
    found = []
    for number, draft in enumerate(drafts):
        if draft.action not in _TAKING or draft.address not in specs:
            continue
        if draft.action in _IN_PLACE and not concerned(draft):
            continue
        for claim, detail in _wanted(specs[draft.address]):
            if claim[0] == "volume" and draft.action is not Action.CREATE:
                continue  # it has written it before, beside the other
            if draft.action is Action.MOVE and claim[0] != "name":
                continue  # what it publishes it goes on publishing
            for giver, other in held.get(claim, ()):
                address = drafts[giver].address
                keeps = address in specs and any(
                    claim == c and _clash(claim, detail, d) for c, d in _wanted(specs[address])
                )
                if address != draft.address and not keeps and _clash(claim, detail, other):
                    found.append((number, giver, f"{claim[0]} {claim[1]}"))
    return found


def concerned(draft: Draft) -> bool:
    """Whether an update or a restart changes what a container publishes, or the addresses that it asks for."""
    return any(
        reason.path.startswith("ports.") or (reason.path.startswith("networks.") and ".aliases." not in reason.path)
        for reason in draft.reasons
    )


def _held(observed: Observed, draft: Draft) -> Iterator[tuple[tuple[str, Any], str]]:
    for replica in observed.replicas:
        if draft.replicas and replica.index not in draft.replicas:
            continue
        yield ("name", f"{observed.name}-{replica.index}"), ""
        if draft.action is Action.DELETE and replica.status in ("running", "paused", "restarting"):
            yield from _written(replica.live)
        if replica.status in ("running", "paused", "restarting"):
            yield from _ports(replica.live)
            yield from _addresses(replica.live)
    if observed.kind == "network" and observed.live.get("subnet"):
        yield ("subnet", ""), observed.live["subnet"]


def _wanted(spec: Spec) -> Iterable[tuple[tuple[str, Any], str]]:
    if spec.kind in ("container", "job"):
        for index in range(1, int(spec.fields.get("replicas", 1)) + 1):
            yield ("name", f"{spec.name}-{index}"), ""
        yield from _ports(spec.fields)
        yield from _addresses(spec.fields)
        yield from _written(spec.fields)
    elif spec.kind == "network" and spec.fields.get("subnet"):
        yield ("subnet", ""), spec.fields["subnet"]


def _addresses(fields: Fields) -> Iterator[tuple[tuple[str, Any], str]]:
    for network, address in addresses(fields):
        yield ("address", f"{address} on {network}"), ""


def _ports(fields: Fields) -> Iterator[tuple[tuple[str, Any], str]]:
    for port in fields.get("ports", ()):
        if port.get("published"):
            protocol = port.get("protocol") or "tcp"
            suffix = "" if protocol == "tcp" else f"/{protocol}"
            yield ("port", f"{port['published']}{suffix}"), port.get("host_ip") or "127.0.0.1"


def _written(fields: Fields) -> Iterator[tuple[tuple[str, Any], str]]:
    for mount in fields.get("volumes", ()):
        if mount["type"] == "volume" and mount.get("source") and not mount.get("read_only"):
            yield ("volume", mount["source"]), ""


def _clash(claim: tuple[str, Any], one: str, other: str) -> bool:
    if claim[0] == "port":
        return one == other or one in _EVERYWHERE or other in _EVERYWHERE
    if claim[0] == "subnet":
        # 5 ms to import, and only where a network that names its subnet is changed while another leaves
        from ipaddress import ip_network

        first, second = ip_network(one, strict=False), ip_network(other, strict=False)
        return first.version == second.version and first.overlaps(second)
    return True
