"""TCP sockets of another network namespace: what listens, and which connections something is under way on.

sock_diag(7), include/uapi/linux/inet_diag.h; struct tcp_info of include/uapi/linux/tcp.h tells who spoke last.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from stackpy_runtime.linux.namespaces import CLONE_NEWNET, entered
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST, _DUMP, _ERROR, _DONE = 0x1, 0x300, 2, 3
INET_DIAG_INFO = 2
ESTABLISHED, SYN_RECV, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 1, 3, 4, 8, 9, 10, 11
_STATES = (ESTABLISHED, SYN_RECV, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING)
_HEADER, _ANSWER = struct.Struct("=IHHII"), struct.Struct(">4xHH16s16s")
_SIZE = 72  # of struct inet_diag_msg
_SENT, _RECEIVED, _BYTES = 44, 52, 128  # tcpi_last_data_sent, tcpi_last_data_recv, tcpi_bytes_received


class Socket(NamedTuple):
    """A TCP socket. sent, received: milliseconds since there was data; spoken: the peer has sent something."""

    state: int
    port: int
    peer: bytes
    unsent: int
    sent: int
    received: int
    spoken: bool


def listening(pid: int) -> set[int]:
    """The TCP ports on which something listens in the network namespace of a process; none when it has ended."""
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{name}", encoding="ascii") as file:
                rows = [line.split(None, 4) for line in file][1:]
        except OSError:
            continue
        found.update(int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A")
    return found


def busy(pid: int, silent: float) -> int:
    """How many connections that came to a process's namespace something is under way on.

    That is: an answer is owed or not delivered, or it is new and nobody has spoken yet. One between two requests is
    not waited for, since a client that keeps it open would hold up everything; nor is one of the namespace with itself.
    silent: seconds after which a connection on which nobody has spoken is not waited for

    0 when the process has ended, and where the kernel does not tell (no INET_DIAG).
    """
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        with entered(namespace, CLONE_NEWNET):
            channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    except OSError as error:
        if error.errno != errno.EPROTONOSUPPORT:
            raise
        return 0
    finally:
        os.close(namespace)
    with channel:
        found = [each for family in (socket.AF_INET, socket.AF_INET6) for each in _sockets(channel, family)]
    return count(found, silent)


def count(sockets: Iterable[Socket], silent: float) -> int:
    """See `busy`. Pure."""
    known = list(sockets)
    served = {each.port for each in known if each.state == LISTEN}
    return sum(each.port in served and not _is_own(each.peer) and _is_busy(each, silent) for each in known)


def _is_busy(each: Socket, silent: float) -> bool:
    if each.state in (LISTEN, SYN_RECV):
        return each.state == SYN_RECV
    if each.unsent or each.state in (FIN_WAIT1, LAST_ACK, CLOSING):
        return bool(each.unsent)
    return each.received < each.sent if each.spoken else each.received < silent * 1000


def _is_own(peer: bytes) -> bool:
    """Whether an address is the namespace's loopback."""
    if peer[4:] == bytes(12):
        return peer[0] == 127 or not any(peer)
    return peer == bytes(15) + b"\x01" or (peer[:12] == bytes(10) + b"\xff\xff" and peer[12] == 127)


def _sockets(channel: socket.socket, family: int) -> Iterator[Socket]:
    mask = sum(1 << state for state in _STATES)
    body = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, mask)
    channel.send(_HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, family, 0) + body)
    while True:
        data, offset = channel.recv(1 << 18), 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
            if kind in (_ERROR, _DONE) and sequence == family:
                return  # an error: this family is not there
            if kind == SOCK_DIAG_BY_FAMILY and sequence == family:
                yield parse(data[offset + _HEADER.size : offset + length])
            offset += (length + 3) & ~3


def parse(body: bytes) -> Socket:
    """One answer of the kernel. Pure."""
    port, _, _, peer = _ANSWER.unpack_from(body)
    unsent = struct.unpack_from("=I", body, 60)[0]
    info, offset = b"", _SIZE
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        if kind == INET_DIAG_INFO:
            info = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    if len(info) < _BYTES + 8:
        return Socket(body[1], port, peer, unsent, 0, 1 << 30, False)
    sent, received = (struct.unpack_from("=I", info, at)[0] for at in (_SENT, _RECEIVED))
    return Socket(body[1], port, peer, unsent, sent, received, struct.unpack_from("=Q", info, _BYTES)[0] > 0)
