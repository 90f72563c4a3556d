"""What to answer to a container's DNS question: from our own names, or not at all. Pure but for its two callbacks.

RFC 1035; names are compared without regard to case (RFC 4343), and the question is given back in the case it came in,
since some resolvers check that (draft-vixie-dnsext-dns0x20).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dnslib import EDNS0, OPCODE, PTR, QTYPE, RCODE, RR, A, DNSError, DNSRecord  # type: ignore[import-untyped]

# Replicas come and go; nobody should keep an address longer than a start takes.
TTL_SECONDS = 2
PLAIN_LIMIT, EDNS_LIMIT = 512, 1232  # bytes of a UDP answer: RFC 1035, and what fits every path (dnsflagday.net)
_REVERSE = ".in-addr.arpa"
SERVFAIL = int(RCODE.SERVFAIL)
_INTERNET, _ANY_CLASS = 1, 255

Lookup = Callable[[str, str], list[str] | None]
Reverse = Callable[[str, str], str | None]


class Question(NamedTuple):
    """A query that was understood."""

    request: DNSRecord
    name: str  # lower case, no final dot
    kind: str  # "A", "AAAA", "PTR", …
    limit: int  # bytes that a UDP answer may have


def parse(data: bytes) -> Question | None:
    """A query, None for what is none: an answer, or bytes without meaning. It gets no reply, lest a reply gets one."""
    try:
        request = DNSRecord.parse(data)
        if request.header.qr or len(request.questions) != 1:
            return None
        name = str(request.q.qname).rstrip(".").lower()
        kind = str(QTYPE.get(request.q.qtype))
    except (DNSError, ValueError, IndexError, OverflowError):
        return None
    limit = PLAIN_LIMIT
    for record in request.ar:
        if record.rtype == QTYPE.OPT:
            limit = max(PLAIN_LIMIT, min(EDNS_LIMIT, record.rclass))
    return Question(request, name, kind, limit)


def answer(container_id: str, question: Question, lookup: Lookup, reverse: Reverse, turn: int) -> DNSRecord | None:
    """The reply, None when the question is for the host's resolvers.

    turn: how far the addresses are rotated, so that clients which take the first one spread over replicas
    """
    request = question.request
    if request.header.opcode != OPCODE.QUERY:
        return refusal(question, RCODE.NOTIMP)
    if request.q.qclass not in (_INTERNET, _ANY_CLASS):
        return refusal(question, RCODE.REFUSED)
    if question.name.endswith(_REVERSE) and question.kind == "PTR":
        name = reverse(container_id, _address(question.name))
        if name is not None:
            reply = _reply(question)
            reply.add_answer(RR(request.q.qname, QTYPE.PTR, ttl=TTL_SECONDS, rdata=PTR(name)))
            return reply
    addresses = lookup(container_id, question.name)
    if addresses is None:
        return None
    if not addresses:
        return refusal(question, RCODE.NXDOMAIN)
    reply = _reply(question)
    if question.kind in ("A", "ANY"):
        first = turn % len(addresses)
        for address in addresses[first:] + addresses[:first]:
            reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=TTL_SECONDS, rdata=A(address)))
    # Another type: the name exists and has none of it. An error here would make clients forget its A records too.
    return reply


def refusal(question: Question, code: int) -> DNSRecord:
    """An empty reply with an RCODE."""
    reply = _reply(question)
    reply.header.rcode = code
    return reply


def packed(question: Question, reply: DNSRecord, *, stream: bool) -> bytes:
    """The reply's bytes; over UDP what is too long is cut and marked so, and the client asks again over TCP."""
    data = bytes(reply.pack())
    if stream or len(data) <= question.limit:
        return data
    # As many as fit: a client that knows no TCP (musl before 1.2.4) takes what it gets. An A record has 16 bytes.
    reply.header.tc = 1
    reply.rr = reply.rr[: max(0, len(reply.rr) - (len(data) - question.limit + 15) // 16)]
    return bytes(reply.pack())


def _reply(question: Question) -> DNSRecord:
    reply = question.request.reply(ra=1, aa=0)
    if any(record.rtype == QTYPE.OPT for record in question.request.ar):
        reply.add_ar(EDNS0(udp_len=EDNS_LIMIT))
    return reply


def _address(name: str) -> str:
    return ".".join(reversed(name.removesuffix(_REVERSE).split(".")))
