"""The packet filter's text: a whole ruleset, and each change that is made to it."""

from __future__ import annotations

from pathlib import Path

from stackpy_runtime.network.names import Names, group, mac
from stackpy_runtime.network.rules import (
    BASE_CHAINS,
    Bridge,
    Key,
    Port,
    Ruleset,
    Target,
    port_key,
    publish,
    reload,
    remove,
    unpublish,
)

NAMES = Names("/var/lib/stackpy")
FRONT = Bridge(NAMES.bridge("front"), "10.201.0.0/20", internal=False)
INNER = Bridge(NAMES.bridge("inner"), "10.201.16.0/20", internal=True)
PORT = Port(NAMES.port(b"\1\2\3\4"), mac("10.201.0.2"), "10.201.0.2")
LOOPBACK, ANYWHERE = Key("127.0.0.1", "tcp", 8080), Key("0.0.0.0", "udp", 53)
TARGETS = [Target("10.201.0.2", 80), Target("10.201.0.3", 8000)]


def test_names_fit_the_kernel_and_differ_by_root() -> None:
    other = Names("/srv/stackpy")
    assert (len(FRONT.link), len(PORT.link)) == (15, 15)
    assert FRONT.link.startswith(NAMES.bridge_prefix)
    assert PORT.link.startswith(NAMES.port_prefix)
    assert len({NAMES.bridge("a"), NAMES.bridge("b"), other.bridge("a")}) == 3
    assert other.table != NAMES.table
    assert 0 < group(FRONT.link) < 1 << 31
    assert mac("10.201.0.255") == "02:42:0a:c9:00:ff"


def test_the_whole() -> None:
    rules = Ruleset(NAMES, [FRONT, INNER], [PORT], {LOOPBACK: TARGETS[:1], ANYWHERE: TARGETS}, ["eth0", "eth1"])
    text = reload(rules, [*BASE_CHAINS, "tcp-127.0.0.1-8080", "tcp-127.0.0.1-9999"])
    assert text == (Path(__file__).parent / "network_whole.nft").read_text()


def test_nothing_is_there_yet() -> None:
    text = reload(Ruleset(NAMES, [], [], {}, []), [])
    assert "delete" not in text
    assert "add element" not in text
    assert "forward iifname {" not in text


def test_changes() -> None:
    table = NAMES.table
    assert publish(table, LOOPBACK, TARGETS, known=False) == (
        f"add chain ip {table} tcp-127.0.0.1-8080\n"
        f"add rule ip {table} tcp-127.0.0.1-8080 meta l4proto tcp dnat ip to"
        " numgen inc mod 2 map { 0 : 10.201.0.2 . 80, 1 : 10.201.0.3 . 8000 }\n"
        f"add element ip {table} published {{ 127.0.0.1 . tcp . 8080 : goto tcp-127.0.0.1-8080 }}\n"
    )
    assert publish(table, LOOPBACK, TARGETS[:1], known=True) == (
        f"flush chain ip {table} tcp-127.0.0.1-8080\n"
        f"add rule ip {table} tcp-127.0.0.1-8080 meta l4proto tcp dnat ip to 10.201.0.2:80\n"
    )
    assert unpublish(table, ANYWHERE) == (
        f"delete element ip {table} published_any {{ udp . 53 }}\n"
        f"flush chain ip {table} udp-0.0.0.0-53\n"
        f"delete chain ip {table} udp-0.0.0.0-53\n"
    )
    assert remove(table, ["ip", "bridge"]) == f"delete table ip {table}\ndelete table bridge {table}\n"


def test_a_port_as_the_kernel_keeps_it() -> None:
    assert port_key(Port("sv1", "02:42:0a:c9:00:02", "10.201.0.2")) == (
        b"sv1" + b"\0" * 13 + bytes.fromhex("02420ac90002") + b"\0\0" + bytes([10, 201, 0, 2])
    )
