"""What the network room makes of bytes and texts from outside: DNS messages, resolv.conf, bindings, netlink."""

from __future__ import annotations

import struct

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux import links
from stackpy_runtime.linux.netlink import attributes
from stackpy_runtime.model import PortBinding
from stackpy_runtime.network import answers
from stackpy_runtime.network.publishing import check
from stackpy_runtime.network.upstream import Settings, question, settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Settings(["127.0.0.1"], 2.5, 2)),
        ("# nameserver 192.0.2.1\nsearch example.org\n", Settings(["127.0.0.1"], 2.5, 2)),
        ("nameserver 127.0.0.53\n", Settings(["127.0.0.53"], 2.5, 2)),
        (
            "nameserver fe80::1%eth0\nnameserver\nnameserver 192.0.2.1 \n",
            Settings(["fe80::1%eth0", "192.0.2.1"], 2.5, 2),
        ),
        ("".join(f"nameserver 192.0.2.{n}\n" for n in range(5)), Settings([f"192.0.2.{n}" for n in range(3)], 2.5, 2)),
        ("nameserver 192.0.2.1\noptions rotate timeout:1 attempts:9\n", Settings(["192.0.2.1"], 1.0, 5)),
        ("nameserver 192.0.2.1\noptions timeout:x attempts:0\n", Settings(["192.0.2.1"], 2.5, 1)),
    ],
)
def test_resolv_conf(text: str, expected: Settings) -> None:
    assert settings(text) == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_a_question_or_none(data: bytes) -> None:
    found = answers.parse(data)
    asked = question(data)
    assert found is None or asked == b"" or asked == data[12 : 12 + len(asked)]
    if found is not None:
        reply = answers.answer("c", found, lambda container, name: ["192.0.2.1"], lambda container, address: None, 0)
        assert reply is not None
        assert len(answers.packed(found, reply, stream=False)) <= found.limit + len(data)


@given(st.binary(max_size=300))
def test_any_answer_from_outside_is_looked_at_without_harm(data: bytes) -> None:
    assert question(data) in (b"", data[12 : 12 + len(question(data))])


@given(st.lists(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), min_size=1, max_size=5), st.booleans())
def test_a_question_is_understood_as_it_was_asked(labels: list[str], upper: bool) -> None:
    name = ".".join(labels)
    asked = name.upper() if upper else name
    data = bytes(dnslib.DNSRecord.question(asked).pack())
    found = answers.parse(data)
    assert found is not None
    assert (found.name, found.kind, question(data)) == (name, "A", data[12:])


@pytest.mark.parametrize("size", [0, 512, 1000, 1232, 4096, 65535])
def test_the_limit_of_an_answer(size: int) -> None:
    record = dnslib.DNSRecord.question("web")
    if size:
        record.add_ar(dnslib.EDNS0(udp_len=size))
    found = answers.parse(bytes(record.pack()))
    assert found is not None
    assert found.limit == min(max(size, 512), 1232)
    many = [f"192.0.2.{number}" for number in range(200)]
    reply = answers.answer("c", found, lambda container, name: many, lambda container, address: None, 0)
    assert reply is not None
    data = answers.packed(found, reply, stream=False)
    whole = dnslib.DNSRecord.parse(data)
    assert (whole.header.tc, len(data) <= found.limit, len(whole.rr) > 25) == (1, True, True)
    assert len(dnslib.DNSRecord.parse(answers.packed(found, reply, stream=True)).rr) <= 200


def binding(**changes: object) -> PortBinding:
    whole: PortBinding = {"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}
    return {**whole, **changes}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    "wrong",
    [
        [binding(host_ip="localhost")],
        [binding(host_ip="1.2.3")],
        [binding(host_ip="1.2.3.256")],
        [binding(host_ip="1.2.3.٤")],
        [binding(protocol="TCP")],
        [binding(published=-1)],
        [binding(published=65536)],
        [binding(target=0)],
        [binding(), binding(target=81)],
    ],
)
def test_bindings_that_make_no_sense(wrong: list[PortBinding]) -> None:
    with pytest.raises(InvalidConfig):
        check(wrong)


def test_bindings_that_do() -> None:
    right = [
        binding(),
        binding(protocol="udp"),
        binding(host_ip="192.0.2.1"),
        binding(published=0),
        binding(published=0),
    ]
    assert check(right) == right


def test_a_veth_message_holds_its_peer() -> None:
    message = links.veth("sv1", 7, 9, 1400, "eth0", "02:42:0a:c9:00:02", 5)
    outer = dict(attributes(message.body[16:]))
    peer = dict(attributes(dict(attributes(dict(attributes(outer[18]))[2]))[1][16:]))
    assert {
        "name": outer[3],
        "mtu": struct.unpack("=I", outer[4])[0],
        "master": struct.unpack("=I", outer[10])[0],
        "group": struct.unpack("=I", outer[27])[0],
        "kind": dict(attributes(outer[18]))[1],
        "peer": (peer[3], peer[1].hex(":"), struct.unpack("=I", peer[28])[0]),
    } == {
        "name": b"sv1\0",
        "mtu": 1400,
        "master": 7,
        "group": 9,
        "kind": b"veth",
        "peer": (b"eth0\0", "02:42:0a:c9:00:02", 5),
    }


@given(st.binary(max_size=60))
def test_any_bytes_have_attributes_or_none(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in attributes(data)) <= len(data) + 4
