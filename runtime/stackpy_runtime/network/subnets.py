"""Which subnet a network gets. Pure.

Private pools (RFC 1918), cut into /20s of 4,093 containers each. The order avoids what other tools use first: Docker's
172.17.0.0/16 and 192.168.0.0/16, home routers' 192.168.0.0/24, Kubernetes' 10.96.0.0/12 and 10.244.0.0/16.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import Conflict, InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX_LENGTH = 20
POOLS = ("10.201.0.0/16", "10.202.0.0/15", "10.204.0.0/14", "10.208.0.0/12", "172.20.0.0/14", "172.24.0.0/13",
         "192.168.128.0/17")  # fmt: skip

# Routes as short as this stand for "everywhere", often in two halves (VPN clients); they are no neighbours to avoid.
_EVERYWHERE = 2


class Occupied(NamedTuple):
    """Addresses that are not ours to give, and who uses them in words."""

    first: int
    last: int
    by: str


def occupied(destination: int, prefix_length: int, by: str) -> Occupied | None:
    """The range of a route; None for default routes."""
    if prefix_length <= _EVERYWHERE:
        return None
    size = 1 << (32 - prefix_length)
    first = destination & ~(size - 1)
    return Occupied(first, first + size - 1, by)


def choose(taken: Iterable[Occupied]) -> str:
    """The first free subnet of the pools. Conflict when all are taken."""
    ranges = list(taken)
    size = 1 << (32 - PREFIX_LENGTH)
    for pool in POOLS:
        whole = ipaddress.IPv4Network(pool)
        start, end = int(whole.network_address), int(whole.broadcast_address)
        while start + size - 1 <= end:
            blocking = [entry.last for entry in ranges if entry.first <= start + size - 1 and entry.last >= start]
            if not blocking:
                return f"{ipaddress.IPv4Address(start)}/{PREFIX_LENGTH}"
            # Past the end of what is in the way, at the next boundary.
            start = (max(max(blocking), start + size - 1) // size + 1) * size
    raise Conflict(
        "no private subnet is free: every one overlaps a route, an address or a network of this host",
        hint="give the network a subnet, or remove networks that nothing uses",
    )


def accept(subnet: str, taken: Iterable[Occupied]) -> str:
    """A user's subnet, normalised. InvalidConfig when it is none, Conflict naming what it overlaps."""
    try:
        whole = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise InvalidConfig(
            f"`{subnet}` is not an IPv4 subnet: {str(error).lower()}", hint="e.g. 10.9.0.0/24"
        ) from None
    if not 8 <= whole.prefixlen <= 29:
        raise InvalidConfig(f"the subnet {whole} must have a prefix length of 8 to 29", hint="e.g. 10.9.0.0/24")
    if whole.is_loopback or whole.is_multicast or whole.is_link_local or whole.is_unspecified or whole.is_reserved:
        raise InvalidConfig(f"the subnet {whole} is reserved", hint="use a private one, e.g. 10.9.0.0/24")
    first, last = int(whole.network_address), int(whole.broadcast_address)
    for entry in taken:
        if entry.first <= last and entry.last >= first:
            raise Conflict(f"the subnet {whole} overlaps {entry.by}", hint="choose another, or leave it out")
    return str(whole)


def gateway(subnet: str) -> str:
    """The first address of a subnet: the bridge's own."""
    return str(ipaddress.IPv4Network(subnet).network_address + 1)


def prefix_length(subnet: str) -> int:
    """The number after the slash."""
    return int(subnet.rpartition("/")[2])
