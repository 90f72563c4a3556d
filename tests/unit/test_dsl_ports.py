from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl import ports
from stackpy.dsl.values import Invalid


def one(host: str, published: int, target: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"host_ip": host, "published": published, "target": target, "protocol": protocol}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("8080:80", [one("", 8080, 80)]),
        ("8080:80/udp", [one("", 8080, 80, "udp")]),
        ("8080:80/UDP", [one("", 8080, 80, "udp")]),
        ("127.0.0.1:8080:80", [one("127.0.0.1", 8080, 80)]),
        ("0.0.0.0:8080:80/tcp", [one("0.0.0.0", 8080, 80)]),
        ("8000-8002:9000-9002", [one("", 8000, 9000), one("", 8001, 9001), one("", 8002, 9002)]),
        ("10.0.0.5:5000-5001:6000-6001/udp", [one("10.0.0.5", 5000, 6000, "udp"), one("10.0.0.5", 5001, 6001, "udp")]),
        ("80", [one("", 0, 80)]),
        (80, [one("", 0, 80)]),
        (":80", [one("", 0, 80)]),
        ("0:80", [one("", 0, 80)]),
        ("127.0.0.1::80", [one("127.0.0.1", 0, 80)]),
        ("3000-3001", [one("", 0, 3000), one("", 0, 3001)]),
        ({"target": 80, "published": 8080}, [one("", 8080, 80)]),
        (
            {"target": 80, "published": "8080", "host_ip": "0.0.0.0", "protocol": "udp"},
            [one("0.0.0.0", 8080, 80, "udp")],
        ),
        ({"target": 80}, [one("", 0, 80)]),
    ],
)
def test_forms(given_: Any, expected: list[dict[str, Any]]) -> None:
    assert ports.binding(given_) == expected


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("", f'must be {ports.EXPECTED}, not ""'),
        ("a:b", f'must be {ports.EXPECTED}, not "a:b"'),
        (True, f"must be {ports.EXPECTED}, not True"),
        ("80:65536", "has a port that is not from 1 to 65535, or a range that runs backwards: 65536"),
        ("81-80:81-80", "has a port that is not from 1 to 65535, or a range that runs backwards: 81-80"),
        ("8000-8005:80", "has ranges of different length: 8000-8005 is 6, 80 is 1"),
        ("256.0.0.1:1:1", "has a host address that is not an IPv4 address: 256.0.0.1"),
        ("localhost:1:1", "has a host address that is not an IPv4 address: localhost"),
        ("[::1]:1:1", "has a host address that is not an IPv4 address: [::1]"),
        ("80:80/sctp", 'has a protocol that must be `tcp` or `udp`, not "sctp"'),
        ({"published": 80}, "needs a `target`: the container's port"),
        ({"target": 80, "mode": "host"}, "has an unknown key `mode`"),
    ],
)
def test_refusals(given_: Any, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        ports.binding(given_)
    assert caught.value.message == message


PORTS = st.integers(1, 65535)
ADDRESSES = st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts)))


@given(st.none() | ADDRESSES, PORTS, PORTS, st.sampled_from(["tcp", "udp"]))
def test_short_and_long_forms_agree(host: str | None, published: int, target: int, protocol: str) -> None:
    short = f"{host + ':' if host else ''}{published}:{target}/{protocol}"
    long = {"target": target, "published": published, "host_ip": host, "protocol": protocol}
    assert ports.binding(short) == ports.binding(long) == [one(host or "", published, target, protocol)]


@given(PORTS, PORTS, st.integers(0, 50))
def test_ranges_are_paired(first: int, other: int, more: int) -> None:
    if max(first, other) + more <= 65535:
        found = ports.binding(f"{first}-{first + more}:{other}-{other + more}")
        assert found == [one("", first + step, other + step) for step in range(more + 1)]


@given(st.text(alphabet="0123456789:-./tcpud[]", max_size=20))
def test_anything_is_bindings_or_refused(text: str) -> None:
    try:
        found = ports.binding(text)
    except Invalid as invalid:
        assert invalid.message
    else:
        assert found
        assert all(0 <= binding["published"] <= 65535 and 1 <= binding["target"] <= 65535 for binding in found)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (one("127.0.0.1", 80, 1), one("127.0.0.1", 80, 2), True),
        (one("0.0.0.0", 80, 1), one("127.0.0.1", 80, 1), True),
        (one("10.0.0.1", 80, 1), one("127.0.0.1", 80, 1), False),
        (one("127.0.0.1", 80, 1, "udp"), one("127.0.0.1", 80, 1), False),
        (one("0.0.0.0", 80, 1), one("0.0.0.0", 81, 1), False),
        (one("0.0.0.0", 0, 1), one("0.0.0.0", 0, 1), False),
    ],
)
def test_overlap(first: dict[str, Any], second: dict[str, Any], expected: bool) -> None:
    assert ports.overlap(first, second) is ports.overlap(second, first) is expected
