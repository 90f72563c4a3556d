"""Connection tracking entries, read and deleted (ctnetlink, include/uapi/linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import socket
import struct

from stackpy_runtime.linux.netlink import attributes
from stackpy_runtime.linux.nfnetlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLMSG_DONE,
    NLMSG_ERROR,
    message,
    messages,
    nest,
    open_socket,
)

_SUBSYSTEM = 1
_GET, _DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 2, 1, 3
UDP = 17


def forget_udp(ports: set[int]) -> int:
    """Deletes the IPv4 UDP entries whose first packet went to one of these ports; how many."""
    with open_socket() as channel:
        found = [entry for entry in _entries(channel) if _destination(entry) in ports]
        for entry in found:
            body = nest(CTA_TUPLE_ORIG, entry)
            channel.send(message(_SUBSYSTEM << 8 | _DELETE, NLM_F_ACK, socket.AF_INET, body))
            # ENOENT: it ended by itself meanwhile.
            channel.recv(1 << 16)
    return len(found)


def _entries(channel: socket.socket) -> list[bytes]:
    """The original direction's tuple of every IPv4 entry."""
    channel.send(message(_SUBSYSTEM << 8 | _GET, NLM_F_DUMP, socket.AF_INET, b""))
    found: list[bytes] = []
    while True:
        for kind, _, body in messages(channel.recv(1 << 20)):
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                return found
            found += [value for name, value in attributes(body[4:]) if name == CTA_TUPLE_ORIG]


def _destination(entry: bytes) -> int:
    """The destination port of a UDP tuple, -1 for other protocols."""
    for name, value in attributes(entry):
        if name == CTA_TUPLE_PROTO:
            protocol = dict(attributes(value))
            if protocol.get(CTA_PROTO_NUM) == bytes([UDP]) and CTA_PROTO_DST_PORT in protocol:
                return int(struct.unpack(">H", protocol[CTA_PROTO_DST_PORT])[0])
    return -1
