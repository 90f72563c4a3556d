"""nf_tables over netlink, for what libnftables cannot do or does too slowly: batches built by hand.

Two uses: claiming a table (the flag `persist` is newer than many a libnftables), and the few rules that go into every
container's own namespace, where a library handle of its own would cost more than the rules. Numbers are those of
include/uapi/linux/netfilter/nf_tables.h; integers are big-endian there.
"""

from __future__ import annotations

import os
import socket
import struct
from functools import lru_cache

from stackpy_runtime.errors import EngineError, KernelError
from stackpy_runtime.linux.netlink import attribute, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN, NFT_MSG_NEWRULE = 0, 1, 3, 4, 6
NFT_MSG_DELRULE, NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_NEWGEN = 8, 12, 14, 15
NFTA_GEN_PROC_PID, NFNLGRP_NFTABLES = 2, 7
NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST = 2, 4

NFPROTO_INET, NFPROTO_IPV4, NFPROTO_BRIDGE = 1, 2, 7
NF_INET_LOCAL_OUT = 3
NFT_REG_1 = 1
NFT_META_L4PROTO = 16
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
NLMSG_ERROR, NLMSG_DONE = 2, 3


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute, big-endian."""
    return attribute(kind, struct.pack(">i" if value < 0 else ">I", value))


def nest(kind: int, *values: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | 0x8000, b"".join(values))


def string(kind: int, value: str) -> bytes:
    """A zero-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, family: int, body: bytes, sequence: int = 0, resource: int = 0) -> bytes:
    """One netlink message with its struct nfgenmsg."""
    payload = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, NLM_F_REQUEST | flags, sequence, 0) + payload


def request(kind: int, flags: int, family: int, body: bytes, sequence: int) -> bytes:
    """One message of the nf_tables subsystem."""
    return message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, family, body, sequence)


def batch(*requests: bytes) -> bytes:
    """A transaction: all of it or nothing."""
    begin = message(NFNL_MSG_BATCH_BEGIN, 0, 0, b"", 0, NFNL_SUBSYS_NFTABLES)
    end = message(NFNL_MSG_BATCH_END, 0, 0, b"", 0xFFFF, NFNL_SUBSYS_NFTABLES)
    return begin + b"".join(requests) + end


# --- expressions ----------------------------------------------------------------------------------------------------
# Each container gets the same few rules, but for two ports: what they are made of is kept.


def expression(name: str, *values: bytes) -> bytes:
    """One element of a rule's list of expressions."""
    return nest(1, string(1, name), nest(2, *values))


def _data(kind: int, value: bytes) -> bytes:
    return nest(kind, attribute(1, value))


@lru_cache(maxsize=64)
def match_protocol(protocol: int) -> bytes:
    """`meta l4proto PROTOCOL`."""
    load = expression("meta", number(1, NFT_REG_1), number(2, NFT_META_L4PROTO))
    return load + _equals(bytes([protocol]))


@lru_cache(maxsize=64)
def match_payload(base: int, offset: int, value: bytes) -> bytes:
    """Bytes of a header at `offset` equal `value`."""
    load = expression("payload", number(1, NFT_REG_1), number(2, base), number(3, offset), number(4, len(value)))
    return load + _equals(value)


def write_payload(base: int, offset: int, value: bytes, checksum_offset: int) -> bytes:
    """Writes `value` into a header and mends the Internet checksum at `checksum_offset` of the same header."""
    load = expression("immediate", number(1, NFT_REG_1), _data(2, value))
    return load + _store_payload(base, offset, len(value), checksum_offset)


@lru_cache(maxsize=64)
def _store_payload(base: int, offset: int, length: int, checksum_offset: int) -> bytes:
    return expression(
        "payload",
        number(2, base),
        number(3, offset),
        number(4, length),
        number(5, NFT_REG_1),  # NFTA_PAYLOAD_SREG
        number(6, 1),  # NFT_PAYLOAD_CSUM_INET
        number(7, checksum_offset),
    )


def _equals(value: bytes) -> bytes:
    return expression("cmp", number(1, NFT_REG_1), number(2, 0), _data(3, value))


# --- objects --------------------------------------------------------------------------------------------------------


def new_table(family: int, name: str, flags: int, sequence: int) -> bytes:
    """Makes a table, or claims an orphaned one when `flags` has NFT_TABLE_F_OWNER."""
    body = string(1, name) + number(2, flags)
    return request(NFT_MSG_NEWTABLE, NLM_F_ACK | NLM_F_CREATE, family, body, sequence)


def new_filter_chain(family: int, table: str, name: str, hook: int, priority: int, sequence: int) -> bytes:
    """Makes a base chain of type filter that accepts what its rules let through."""
    body = string(1, table) + string(3, name) + nest(4, number(1, hook), number(2, priority))
    body += number(5, 1) + string(7, "filter")  # policy accept, type
    return request(NFT_MSG_NEWCHAIN, NLM_F_ACK | NLM_F_CREATE, family, body, sequence)


def new_rule(family: int, table: str, chain: str, expressions: bytes, sequence: int) -> bytes:
    """Appends a rule."""
    body = string(1, table) + string(2, chain) + nest(4, expressions)
    return request(NFT_MSG_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND, family, body, sequence)


def delete_rules(family: int, table: str, chain: str, sequence: int) -> bytes:
    """Removes all rules of a chain."""
    return request(NFT_MSG_DELRULE, NLM_F_ACK, family, string(1, table) + string(2, chain), sequence)


def element(verb: int, family: int, table: str, name: str, keys: list[bytes], sequence: int) -> bytes:
    """Adds (NFT_MSG_NEWSETELEM) or deletes (NFT_MSG_DELSETELEM) elements of a set."""
    entries = [nest(1, nest(1, attribute(1, key))) for key in keys]
    body = string(1, table) + string(2, name) + nest(3, *entries)
    return request(verb, NLM_F_ACK | NLM_F_CREATE, family, body, sequence)


def open_socket() -> socket.socket:
    """A netfilter socket of the calling thread's network namespace."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)


def watch() -> socket.socket:
    """A socket, not blocking, that becomes readable after every change of nf_tables in this namespace."""
    channel = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
    )
    # By bind: a membership alone, without an address, hears nothing.
    channel.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
    return channel


def changed_by_others(channel: socket.socket) -> bool:
    """Reads what a `watch` socket has; whether another process than this one changed something."""
    others = False
    while True:
        try:
            data = channel.recv(1 << 17)
        except BlockingIOError:
            return others
        except OSError:
            # ENOBUFS: so much happened that some of it was not told.
            others = True
            continue
        for kind, _, body in messages(data):
            if kind & 0xFF == NFT_MSG_NEWGEN:
                process = dict(attributes(body[4:])).get(NFTA_GEN_PROC_PID, b"")
                others = others or process != struct.pack(">I", os.getpid())


def transact(channel: socket.socket, what: str, count: int, data: bytes) -> None:
    """Sends a batch of `count` acknowledged requests; KernelError (errno set) when the kernel refuses it."""
    channel.send(data)
    waiting, failed = count, 0
    while waiting > 0:
        for kind, _, body in messages(channel.recv(1 << 16)):
            if kind == NLMSG_ERROR:
                code = -struct.unpack_from("=i", body)[0]
                failed = failed or code
                waiting -= 1
                # A batch that is refused as a whole has one answer, with the sequence number of its first message.
                if code and struct.unpack_from("=H", body, 8)[0] == NFNL_MSG_BATCH_BEGIN:
                    waiting = 0
    if failed:
        raise _failure(what, failed)


def names(channel: socket.socket, kind: int, family: int) -> list[tuple[str, str]]:
    """(table, name) of all tables (NFT_MSG_GETTABLE; name is "") or chains (NFT_MSG_GETCHAIN) of a family."""
    channel.send(request(kind, NLM_F_DUMP, family, b"", 1))
    found: list[tuple[str, str]] = []
    while True:
        for answer, _, body in messages(channel.recv(1 << 20)):
            if answer == NLMSG_DONE:
                return found
            if answer == NLMSG_ERROR:
                code = -struct.unpack_from("=i", body)[0]
                raise _failure("list nf_tables", code)
            values = {key: value for key, value in attributes(body[4:]) if key in (1, 3)}
            name = "" if kind == NFT_MSG_GETTABLE else _text(values.get(3, b""))
            found.append((_text(values.get(1, b"")), name))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message in what was received."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags = struct.unpack_from("=IHH", data, offset)
        if length < 16:
            return
        yield kind, flags, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _failure(what: str, code: int) -> EngineError:
    hint = "the kernel needs nf_tables: `modprobe nf_tables`" if code in (93, 95) else ""
    return KernelError(f"{what}: {os.strerror(code).lower()}", errno=code, hint=hint)
