"""Bridges: made, found again, removed."""

from __future__ import annotations

import os
import threading

from stackpy_runtime.errors import EngineError, KernelError
from stackpy_runtime.linux import links, sysctl
from stackpy_runtime.linux.netlink import Netlink
from stackpy_runtime.network import names, subnets
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.linux.netlink import Link, Route
    from stackpy_runtime.model import Network
    from stackpy_runtime.network.subnets import Occupied

DEFAULT_MTU = 1500
_EEXIST, _ENODEV = 17, 19


class Host(NamedTuple):
    """What a host has of links and routes at one moment."""

    links: list[Link]
    routes: list[Route]


def look(channel: Netlink) -> Host:
    """The links and routes that there are."""
    return Host(channel.links(), channel.routes())


def taken(channel: Netlink, host: Host) -> list[Occupied]:
    """The address ranges that this host knows: its routes in all tables, its addresses, its name servers."""
    labels = {link.number: link.name for link in host.links}
    found = []
    for route in host.routes:
        by = f"a route of this host ({_cidr(route.destination, route.prefix_length)} on {labels.get(route.link, '?')})"
        found.append(subnets.occupied(route.destination, route.prefix_length, by))
    for entry in channel.addresses():
        by = f"{_cidr(entry.address, entry.prefix_length)} on {labels.get(entry.link, '?')}"
        found.append(subnets.occupied(entry.address, entry.prefix_length, by))
    found += [subnets.occupied(server, 32, f"the name server {_dotted(server)}") for server in name_servers()]
    return [entry for entry in found if entry is not None]


def name_servers() -> list[int]:
    """The IPv4 name servers of /etc/resolv.conf: a bridge's subnet must not come before them."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file if line.startswith("nameserver")]
    except OSError:
        return []
    found = []
    for entry in words:
        parts = entry[1].split(".") if len(entry) > 1 else []
        if len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts):
            found.append(int.from_bytes(bytes(int(part) for part in parts), "big"))
    return found


def ensure(channel: Netlink, network: Network, host: Host | None = None) -> bool:
    """Makes the bridge of a network where it is missing; True when it was. Raises KernelError.

    host: as it is, where it has been looked at already
    """
    bridge = network["bridge"]
    index = channel.index(bridge)
    made = not index
    if made:
        group = names.group(bridge)
        channel.send(links.bridge(bridge, names.mac(network["gateway"]), group), ignore=(_EEXIST,))
        index = channel.index(bridge)
        channel.send(links.set_mtu(index, bridge, path_mtu(*(host or look(channel)))))
    # Before it is up: else it would take an IPv6 address, though networks have IPv4 only.
    sysctl.write(f"net/ipv6/conf/{bridge}/disable_ipv6", "1", optional=True)
    # Published ports of 127.0.0.1 lead over the bridge with a loopback source; the filter keeps neighbours out.
    sysctl.write(f"net/ipv4/conf/{bridge}/route_localnet", "1")
    length = subnets.prefix_length(network["subnet"])
    channel.send(links.link_up(index, bridge), links.address(index, network["gateway"], length), ignore=(_EEXIST,))
    return made


def remove(channel: Netlink, bridge: str) -> None:
    """Deletes a bridge and all its ports, also those of namespaces that are dying; nothing happens when it is gone.

    Returns when nobody can find it any more, in sysfs neither: the kernel acknowledges the message only after another
    20 ms, in which it waits for the last readers of what it frees (netdev_run_todo in net/core/dev.c).
    """
    index = channel.index(bridge)
    if not index:
        return
    failed: list[EngineError | OSError] = []

    def delete() -> None:
        try:
            with Netlink() as own:
                try:
                    own.send(links.delete_group(names.group(bridge), bridge))
                except KernelError as error:
                    if error.errno != _ENODEV:
                        raise
                # Somebody took it out of its group: then by name, unless another has got the name meanwhile.
                if own.index(bridge) == index:
                    own.send(links.delete_link(bridge), ignore=(_ENODEV,))
        except (EngineError, OSError) as error:
            failed.append(error)

    thread = threading.Thread(target=delete, daemon=True)
    thread.start()
    while thread.is_alive() and (channel.index(bridge) or os.path.exists(f"/sys/class/net/{bridge}")):
        thread.join(0.001)
    if failed:
        raise failed[0]


def path_mtu(known: list[Link], routes: list[Route]) -> int:
    """The MTU for a bridge: that of the default route's link where it is smaller than Ethernet's (VPNs, clouds)."""
    sizes = {link.number: link.mtu for link in known}
    uplinks = [sizes[route.link] for route in routes if not route.prefix_length and route.link in sizes]
    return min([DEFAULT_MTU, *uplinks])


def _dotted(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))


def _cidr(number: int, prefix_length: int) -> str:
    return f"{_dotted(number)}/{prefix_length}"
