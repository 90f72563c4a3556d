"""rtnetlink(7): a socket that sends messages and reads links, addresses and routes; linux/links.py has the messages.

Written on struct and a raw socket: pyroute2 costs 150 ms and 20 MB to import and about 1 ms a call, these messages
cost 0.1 ms, several of them travel in one send. Attributes are those of include/uapi/linux/{if_link,rtnetlink}.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import threading

from stackpy_runtime.errors import Denied, EngineError, KernelError
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 20, 22, 24, 26

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_OPERSTATE = 1, 3, 4, 10, 16
IFLA_LINKINFO, IFLA_NET_NS_FD, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP = 18, 28, 20, 26, 27
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BR_FORWARD_DELAY, IFLA_BR_MCAST_SNOOPING = 1, 23
IFLA_BRPORT_MODE = 4  # hairpin
IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS = 29, 8
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
VETH_INFO_PEER = 1
IFF_UP, IF_OPER_UP = 1, 6
SIOCGIFINDEX, SIOCGIFMTU = 0x8933, 0x8921

_NESTED = 0x8000


class Message(NamedTuple):
    """A request: what it does in words, type, flags beyond REQUEST|ACK, body."""

    what: str
    kind: int
    flags: int
    body: bytes


class Link(NamedTuple):
    """A network link as the kernel lists it."""

    number: int  # ifindex
    name: str
    kind: str  # "bridge", "veth", "" for hardware
    mtu: int
    master: int
    group: int
    alias: str
    address: str
    up: bool


class Route(NamedTuple):
    """An IPv4 route of any table: destination network, its link and gateway."""

    destination: int
    prefix_length: int
    link: int
    gateway: str


class Address(NamedTuple):
    """An IPv4 address of a link."""

    link: int
    address: int
    prefix_length: int


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to 4 bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *values: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(values))


def text(kind: int, value: str) -> bytes:
    """A zero-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def word(kind: int, value: int) -> bytes:
    """A 32-bit attribute in host order."""
    return attribute(kind, struct.pack("=I", value))


_ATTRIBUTE = struct.Struct("=HH").unpack_from


def attributes(data: bytes, offset: int = 0, only: frozenset[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """The attributes in a message's tail, from `offset` on; only: of these kinds, where most of many do not matter."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE(data, offset)
        if length < 4:
            return
        kind &= 0x3FFF
        if only is None or kind in only:
            yield kind, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def link_header(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BxHiII", family, 0, index, flags, change)


class Netlink:
    """A NETLINK_ROUTE socket; it stays in the network namespace in which its thread was when it was made.

    Several threads may use one.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *messages: Message, ignore: tuple[int, ...] = ()) -> None:
        """Performs the messages in order, in one send.

        All are tried even when one fails; the first failure whose errno is not in `ignore` is raised.
        """
        with self._lock:
            self._exchange(messages, ignore)

    def _exchange(self, messages: tuple[Message, ...], ignore: tuple[int, ...]) -> None:
        first = self._sequence + 1
        data = b""
        for message in messages:
            self._sequence += 1
            flags = NLM_F_REQUEST | NLM_F_ACK | message.flags
            header = struct.pack("=IHHII", 16 + len(message.body), message.kind, flags, self._sequence, 0)
            data += header + message.body + b"\0" * (-len(message.body) % 4)
        self._socket.send(data)
        failed: EngineError | None = None
        waiting = len(messages)
        while waiting:
            for kind, flags, sequence, body in _messages(self._socket.recv(65536)):
                if kind != NLMSG_ERROR or not first <= sequence <= self._sequence:
                    continue
                waiting -= 1
                code = -struct.unpack_from("=i", body)[0]
                if code and code not in ignore and failed is None:
                    failed = _failure(messages[sequence - first].what, code, _reason(flags, body))
        if failed is not None:
            raise failed

    def index(self, name: str) -> int:
        """A link's index, 0 when there is none of that name."""
        return self._of_link(SIOCGIFINDEX, name)

    def mtu(self, name: str) -> int:
        """A link's MTU in bytes, 0 when there is none of that name."""
        return self._of_link(SIOCGIFMTU, name)

    def operational(self, *names: str) -> bool:
        """Whether all these links send. A link whose carrier came after it was up drops all until a kernel worker ran.

        Its operational state (RFC 2863) changes with that; the queue it is said to have does not.
        """
        with self._lock:
            first, data = self._sequence + 1, b""
            for name in names:
                self._sequence += 1
                body = link_header() + text(IFLA_IFNAME, name) + word(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
                data += struct.pack("=IHHII", 16 + len(body), RTM_GETLINK, NLM_F_REQUEST, self._sequence, 0) + body
            self._socket.send(data)
            states: dict[int, bytes] = {}
            while len(states) < len(names):
                for kind, flags, sequence, payload in _messages(self._socket.recv(65536)):
                    if sequence < first:
                        continue
                    if kind == NLMSG_ERROR:
                        code = -struct.unpack_from("=i", payload)[0]
                        raise _failure(f"look up link {names[sequence - first]}", code, _reason(flags, payload))
                    states[sequence] = dict(attributes(payload[16:])).get(IFLA_OPERSTATE, b"")
        return set(states.values()) == {bytes([IF_OPER_UP])}

    def _of_link(self, request: int, name: str) -> int:
        import fcntl  # 1 ms that readers of routes need not pay

        # struct ifreq; any socket of the namespace will do.
        try:
            answer = fcntl.ioctl(self._socket.fileno(), request, struct.pack("16si20x", name.encode(), 0))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise _failure(f"look up link {name}", error.errno or 0, "") from None
        return int(struct.unpack_from("=i", answer, 16)[0])

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        found: list[bytes] = []
        with self._lock:
            for _ in range(16):
                found.clear()
                if self._dump_once(kind, body, found):
                    break
        return found

    def _dump_once(self, kind: int, body: bytes, into: list[bytes]) -> bool:
        """False when the table changed while it was read (NLM_F_DUMP_INTR), so that it must be read again."""
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        whole = True
        while True:
            for answer, answer_flags, sequence, payload in _messages(self._socket.recv(1 << 20)):
                if sequence != self._sequence:
                    continue
                whole = whole and not answer_flags & 0x10
                if answer == NLMSG_DONE:
                    return whole
                if answer == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise _failure("list links, addresses or routes", code, _reason(answer_flags, payload))
                into.append(payload)

    def links(self, *, but: tuple[str, ...] = ()) -> list[Link]:
        """All links of the namespace; but: except those whose names begin so, of which a host may have thousands."""
        left_out = tuple(name.encode() for name in but)
        bodies = self._dump(RTM_GETLINK, link_header() + word(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS))
        return [_link(body) for body in bodies if not (left_out and _first_name(body).startswith(left_out))]

    def routes(self) -> list[Route]:
        """All IPv4 routes of all tables, those of type local among them."""
        found = []
        header = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        for body in self._dump(RTM_GETROUTE, header):
            values = dict(attributes(body[12:]))
            destination = int.from_bytes(values.get(1, b""), "big")
            link = struct.unpack("=I", values[4])[0] if 4 in values else 0
            gateway = socket.inet_ntoa(values[5]) if 5 in values else ""
            found.append(Route(destination, body[1], link, gateway))
        return found

    def addresses(self) -> list[Address]:
        """All IPv4 addresses."""
        found = []
        for body in self._dump(RTM_GETADDR, struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)):
            values = dict(attributes(body[8:]))
            number = int.from_bytes(values.get(2, values.get(1, b"")), "big")
            found.append(Address(struct.unpack_from("=I", body, 4)[0], number, body[1]))
        return found


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence and body of each message in what was received."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _reason(flags: int, body: bytes) -> str:
    """The kernel's own words on a failure (extended acknowledgement), or ""."""
    if not flags & NLM_F_ACK_TLVS:
        return ""
    skip = 20 if flags & NLM_F_CAPPED else 4 + struct.unpack_from("=I", body, 4)[0]
    for kind, value in attributes(body[(skip + 3) & ~3 :]):
        if kind == NLMSGERR_ATTR_MSG:
            return value.rstrip(b"\0").decode(errors="replace").rstrip(".")
    return ""


def _failure(what: str, code: int, reason: str) -> EngineError:
    message = f"{what}: {os.strerror(code).lower()}" + (f" ({reason})" if reason else "")
    if code == errno.EPERM and os.geteuid():
        return Denied(message, hint="run it with sudo")
    hint = ""
    if code == errno.EOPNOTSUPP:
        hint = "the kernel lacks bridge or veth: `modprobe bridge veth`, or install the distribution's full kernel"
    return KernelError(message, errno=code, hint=hint)


_OF_LINK = frozenset((IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_GROUP, IFLA_IFALIAS, IFLA_LINKINFO))


def _first_name(body: bytes) -> bytes:
    """The name of a link where the kernel tells it first, as it does; b"" elsewhere."""
    length, kind = _ATTRIBUTE(body, 16)
    return body[20 : 16 + length] if kind == IFLA_IFNAME else b""


def _link(body: bytes) -> Link:
    index, flags = struct.unpack_from("=iI", body, 4)
    values = dict(attributes(body, 16, _OF_LINK))
    described = dict(attributes(values[IFLA_LINKINFO])) if IFLA_LINKINFO in values else {}
    return Link(
        number=index,
        name=_text(values.get(IFLA_IFNAME, b"")),
        kind=_text(described.get(IFLA_INFO_KIND, b"")),
        mtu=_number(values.get(IFLA_MTU, b"")),
        master=_number(values.get(IFLA_MASTER, b"")),
        group=_number(values.get(IFLA_GROUP, b"")),
        alias=_text(values.get(IFLA_IFALIAS, b"")),
        address=values.get(IFLA_ADDRESS, b"").hex(":"),
        up=bool(flags & IFF_UP),
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    return int.from_bytes(value[:4], sys.byteorder)
