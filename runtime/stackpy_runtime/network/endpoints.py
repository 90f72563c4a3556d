"""A container's place on a bridge: a veth pair, an address, a route.

On the way of every start: about a millisecond, most of it the kernel's for the pair itself. The pair is never deleted
when its container ends; it goes with the container's namespace, where the kernel waits once for many.
"""

from __future__ import annotations

import os
import time

from stackpy_runtime.errors import Conflict, KernelError
from stackpy_runtime.linux import links, sysctl
from stackpy_runtime.linux.namespaces import CLONE_NEWNET, entered
from stackpy_runtime.linux.netlink import Link, Netlink
from stackpy_runtime.network import names, subnets
from stackpy_runtime.network.rules import Port

_EEXIST, _EXFULL = 17, 54
_LOOK_SECONDS, _MAX_LOOKS = 0.0001, 1000
_ALIAS = "stackpy "

# What a container's namespace starts with: no IPv6 and no router advertisements on the links it will get, and ports
# below 1024 for everybody inside, as Docker has it since 20.10.
_LINKS = (("disable_ipv6", "1"), ("accept_ra", "0"))
_PORTS = (("ip_unprivileged_port_start", "0"),)


def open_inside(namespace: int) -> Netlink:
    """A netlink socket in a network namespace, whose settings are made on the way."""
    with entered(namespace, CLONE_NEWNET):
        sysctl.write_beneath("net/ipv6/conf/default", _LINKS)
        sysctl.write_beneath("net/ipv4", _PORTS)
        return Netlink()


def loopback_up(namespace: int) -> None:
    """Brings `lo` up in a namespace that gets no network."""
    with open_inside(namespace) as inside:
        inside.send(links.link_up(1, "lo"))


def plug(
    channel: Netlink,
    namespace: int,
    *,
    port: Port,
    bridge: str,
    mtu: int,
    container_id: str,
    link: str,
    subnet: str,
    gateway: str,
    hairpin: bool,
) -> None:
    """Makes the pair and all that is on its inner side. gateway: "" for no default route; one that is there stays."""
    with open_inside(namespace) as inside:
        try:
            channel.send(
                links.veth(port.link, channel.index(bridge), names.group(bridge), mtu, link, port.mac, namespace),
                links.port_up(port.link, f"{_ALIAS}{container_id} {port.address}", hairpin),
            )
        except KernelError as error:
            if error.errno != _EXFULL:
                raise
            raise Conflict(
                f"the bridge {bridge} is full: the kernel gives a bridge 1,023 ports",
                hint="spread the containers over several networks",
            ) from None
        index = inside.index(link)
        messages = [
            # First, so that the kernel's worker has the host's side ready while we go on.
            links.inner_up(index, link),
            links.link_up(1, "lo"),
            links.address(index, port.address, subnets.prefix_length(subnet)),
        ]
        if gateway:
            messages.append(links.default_route(index, gateway))
        inside.send(*messages, ignore=(_EEXIST,))
    # Else the first packet might be lost, and the next attempt of ARP is a second away. The bridge, too, sends only
    # from its first port on.
    for _ in range(_MAX_LOOKS):
        if channel.operational(port.link, bridge):
            break
        time.sleep(_LOOK_SECONDS)


def free_name(pid: int) -> str:
    """The first of eth0, eth1, … that no link of a process's network namespace has."""
    with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
        taken = {line.partition(":")[0].strip() for line in file if ":" in line}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)


def lead_out(namespace: int, mac: str, gateway: str, *, anew: bool = False) -> None:
    """Leads the default route of a namespace through the link with this MAC; one that is there stays, unless anew."""
    with open_inside(namespace) as inside:
        link = next((link for link in inside.links() if link.address == mac), None)
        if link is not None:
            inside.send(links.default_route(link.number, gateway, anew=anew), ignore=(_EEXIST,))


def nonce() -> bytes:
    """Chance for a link's name."""
    return os.urandom(4)


def owner(link: Link) -> tuple[str, Port] | None:
    """Container ID and filter entry of a port that `plug` made, by what the kernel still knows of it."""
    words = link.alias.split(" ")
    if not link.alias.startswith(_ALIAS) or len(words) != 3:
        return None
    return words[1], Port(link.name, names.mac(words[2]), words[2])
