"""The rtnetlink messages that make bridges, veth pairs, addresses and routes. Pure: linux/netlink.py sends them."""

from __future__ import annotations

import socket
import struct

from stackpy_runtime.linux.netlink import (
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_BR_FORWARD_DELAY,
    IFLA_BR_MCAST_SNOOPING,
    IFLA_BRPORT_MODE,
    IFLA_GROUP,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IN6_ADDR_GEN_MODE_NONE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    VETH_INFO_PEER,
    Message,
    attribute,
    link_header,
    nested,
    text,
    word,
)


def bridge(name: str, mac: str, group: int) -> Message:
    """Makes a bridge, down. Its MAC is fixed: else it would follow its ports and break neighbours' ARP caches."""
    data = word(IFLA_BR_FORWARD_DELAY, 0) + attribute(IFLA_BR_MCAST_SNOOPING, b"\0")
    body = (
        link_header()
        + text(IFLA_IFNAME, name)
        + attribute(IFLA_ADDRESS, mac_bytes(mac))
        + word(IFLA_GROUP, group)
        + nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"), nested(IFLA_INFO_DATA, data))
    )
    return Message(f"make bridge {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def veth(name: str, master: int, group: int, mtu: int, peer: str, peer_mac: str, namespace: int) -> Message:
    """Makes a veth pair: `name` here on bridge `master`; `peer` in the network namespace of a descriptor.

    Both are down: the kernel cannot bring the peer up before the pair is one (ENOTCONN), and the host's side comes
    up with `port_up`, so that IPv6 is off on it before.
    """
    inside = (
        link_header()
        + text(IFLA_IFNAME, peer)
        + attribute(IFLA_ADDRESS, mac_bytes(peer_mac))
        + word(IFLA_MTU, mtu)
        + word(IFLA_NET_NS_FD, namespace)
    )
    body = (
        link_header()
        + text(IFLA_IFNAME, name)
        + word(IFLA_MTU, mtu)
        + word(IFLA_MASTER, master)
        + word(IFLA_GROUP, group)
        + nested(
            IFLA_LINKINFO,
            attribute(IFLA_INFO_KIND, b"veth"),
            nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, inside)),
        )
    )
    return Message(f"make veth {name} with {peer} in the container", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def port_up(name: str, alias: str, hairpin: bool) -> Message:
    """Brings a bridge port up, without IPv6 addresses of its own, with `alias` (255 bytes) to know it again by."""
    body = link_header(flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, name) + text(IFLA_IFALIAS, alias) + _no_ipv6()
    if hairpin:
        body += nested(
            IFLA_LINKINFO,
            attribute(IFLA_INFO_SLAVE_KIND, b"bridge"),
            nested(IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\1")),
        )
    # NEWLINK, not SETLINK: only it reads the data of a port.
    return Message(f"bring link {name} up", RTM_NEWLINK, 0, body)


def _no_ipv6() -> bytes:
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
    return nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))


def inner_up(index: int, name: str) -> Message:
    """Brings a container's link up. It forwards nothing, though its namespace took the host's setting over."""
    # IFLA_AF_SPEC → AF_INET → IFLA_INET_CONF → IPV4_DEVCONF_FORWARDING (include/uapi/linux/ip.h)
    spec = nested(IFLA_AF_SPEC, nested(socket.AF_INET, nested(1, word(1, 0))))
    return Message(f"bring link {name} up", RTM_NEWLINK, 0, link_header(index, IFF_UP, IFF_UP) + spec)


def set_mtu(index: int, name: str, mtu: int) -> Message:
    """Sets a link's MTU in bytes. A bridge keeps one that is set after it was made; else it follows its ports."""
    return Message(f"set the MTU of {name} to {mtu}", RTM_NEWLINK, 0, link_header(index) + word(IFLA_MTU, mtu))


def link_up(index: int, name: str) -> Message:
    """Brings a link up."""
    return Message(f"bring link {name} up", RTM_NEWLINK, 0, link_header(index, IFF_UP, IFF_UP))


def delete_link(name: str) -> Message:
    """Deletes a link, and the peer of a veth."""
    return Message(f"delete link {name}", RTM_DELLINK, 0, link_header() + text(IFLA_IFNAME, name))


def delete_group(group: int, name: str) -> Message:
    """Deletes all links of a group at once: one wait for RCU however many they are."""
    return Message(f"delete the links of {name}", RTM_DELLINK, 0, link_header() + word(IFLA_GROUP, group))


def address(index: int, value: str, prefix_length: int) -> Message:
    """Adds an IPv4 address, with its network's broadcast address."""
    packed = socket.inet_aton(value)
    number = int.from_bytes(packed, "big")
    broadcast = (number | (0xFFFFFFFF >> prefix_length)).to_bytes(4, "big")
    body = struct.pack("=BBBBI", socket.AF_INET, prefix_length, 0, 0, index)
    body += attribute(1, packed) + attribute(2, packed) + attribute(4, broadcast)  # IFA_ADDRESS, _LOCAL, _BROADCAST
    return Message(f"add address {value}/{prefix_length}", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def default_route(index: int, gateway: str, *, anew: bool = False) -> Message:
    """Adds a default route; EEXIST when there is one already, unless it is to take its place."""
    # table main, protocol static (RTPROT_STATIC), scope universe, type unicast
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 4, 0, 1, 0)
    body += attribute(5, socket.inet_aton(gateway)) + word(4, index)  # RTA_GATEWAY, RTA_OIF
    return Message(
        f"add default route via {gateway}", RTM_NEWROUTE, NLM_F_CREATE | (NLM_F_REPLACE if anew else NLM_F_EXCL), body
    )


def mac_bytes(mac: str) -> bytes:
    """The six bytes of `02:…`."""
    return bytes.fromhex(mac.replace(":", ""))
