"""127.0.0.11:53 inside a container's namespace, without taking its port 53.

The resolver's sockets are bound to a port that the kernel chose; two rules rewrite ports on the way out of the
namespace's own processes, both ways, since on loopback every packet is sent there. Rewriting the header needs no
connection tracking in the namespace, which redirecting would switch on. Built by hand: a handle of libnftables in
each namespace would cost more than the rules.
"""

from __future__ import annotations

import socket
import struct

from stackpy_runtime.linux import nfnetlink as nf
from stackpy_runtime.linux.namespaces import CLONE_NEWNET, entered

ADDRESS = "127.0.0.11"
PORT = 53
_TABLE = "stackpy-dns"
_BACKLOG = 64
_CHECKSUM = {socket.IPPROTO_UDP: 6, socket.IPPROTO_TCP: 16}  # offset in the header
_SOURCE, _DESTINATION = 12, 16  # of the addresses in the IPv4 header


def prepare(namespace: int, *, again: bool = False) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP sockets of the namespace that get what its processes send to 127.0.0.11:53.

    again: there have been others, which were lost with the keeper
    """
    with entered(namespace, CLONE_NEWNET):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            udp.bind((ADDRESS, 0))
            tcp.bind((ADDRESS, 0))
            tcp.listen(_BACKLOG)
            with nf.open_socket() as channel:
                rules = batch(udp.getsockname()[1], tcp.getsockname()[1], again=again)
                count = 7 if again else 6
                nf.transact(channel, "redirect name queries in the container's namespace", count, rules)
        except BaseException:
            udp.close()
            tcp.close()
            raise
    return udp, tcp


def batch(udp_port: int, tcp_port: int, *, again: bool = False) -> bytes:
    """The rules as one nf_tables transaction of six requests, seven with `again`: then earlier ones go. Pure."""
    family = nf.NFPROTO_IPV4
    requests = [
        nf.new_table(family, _TABLE, 0, 1),
        nf.new_filter_chain(family, _TABLE, "output", nf.NF_INET_LOCAL_OUT, -300, 2),
    ]
    if again:
        requests.append(nf.delete_rules(family, _TABLE, "output", len(requests) + 1))
    for protocol, port in ((socket.IPPROTO_UDP, udp_port), (socket.IPPROTO_TCP, tcp_port)):
        # The ports stand first in both headers: source at 0, destination at 2.
        for field, offset, old, new in ((_DESTINATION, 2, PORT, port), (_SOURCE, 0, port, PORT)):
            expressions = (
                nf.match_payload(nf.NETWORK_HEADER, field, socket.inet_aton(ADDRESS))
                + nf.match_protocol(protocol)
                + nf.match_payload(nf.TRANSPORT_HEADER, offset, struct.pack(">H", old))
                + nf.write_payload(nf.TRANSPORT_HEADER, offset, struct.pack(">H", new), _CHECKSUM[protocol])
            )
            requests.append(nf.new_rule(family, _TABLE, "output", expressions, len(requests) + 1))
    return nf.batch(*requests)
