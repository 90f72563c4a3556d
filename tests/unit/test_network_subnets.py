"""Which subnet a network gets."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.errors import Conflict, InvalidConfig
from stackpy_runtime.network.subnets import POOLS, PREFIX_LENGTH, Occupied, accept, choose, gateway, occupied


def entry(cidr: str, by: str = "a route") -> Occupied:
    network = ipaddress.IPv4Network(cidr)
    return Occupied(int(network.network_address), int(network.broadcast_address), by)


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        ([], "10.201.0.0/20"),
        (["10.201.0.0/20"], "10.201.16.0/20"),
        (["10.201.15.255/32"], "10.201.16.0/20"),
        (["10.201.16.0/32"], "10.201.0.0/20"),
        (["10.201.0.0/16"], "10.202.0.0/20"),
        (["10.0.0.0/8"], "172.20.0.0/20"),
        (["10.0.0.0/8", "172.16.0.0/12"], "192.168.128.0/20"),
        (["10.201.0.0/24", "10.201.8.0/24", "10.201.17.0/24"], "10.201.32.0/20"),
    ],
)
def test_the_first_free_one(taken: list[str], chosen: str) -> None:
    assert choose([entry(cidr) for cidr in taken]) == chosen


def test_none_is_free() -> None:
    with pytest.raises(Conflict, match="no private subnet is free"):
        choose([entry(pool) for pool in POOLS])


ranges = st.builds(
    lambda address, length: Occupied(
        address >> (32 - length) << (32 - length), address | (1 << (32 - length)) - 1, "x"
    ),
    st.integers(0x0AC90000, 0x0ADFFFFF),
    st.integers(8, 32),
)


@given(st.lists(ranges, max_size=30))
def test_what_is_chosen_overlaps_nothing_and_is_a_pools(taken: list[Occupied]) -> None:
    chosen = ipaddress.IPv4Network(choose(taken))
    assert chosen.prefixlen == PREFIX_LENGTH
    assert any(chosen.subnet_of(ipaddress.IPv4Network(pool)) for pool in POOLS)
    first, last = int(chosen.network_address), int(chosen.broadcast_address)
    assert all(one.last < first or one.first > last for one in taken)


def test_default_routes_are_no_neighbours() -> None:
    assert occupied(0, 0, "default") is None
    assert occupied(1 << 31, 1, "half of everything, as VPN clients have it") is None
    assert occupied(0x0AC90203, 24, "x") == entry("10.201.2.0/24", "x")


@pytest.mark.parametrize(
    "wrong",
    ["", "10.9.0.0", "10.9.0.1/24", "10.9.0.0/30", "10.0.0.0/7", "127.0.0.0/16", "224.0.0.0/24", "fd00::/64", "x/24"],
)
def test_what_is_no_subnet(wrong: str) -> None:
    with pytest.raises(InvalidConfig):
        accept(wrong, [])


def test_a_users_subnet() -> None:
    assert accept("10.9.0.0/24", [entry("10.8.0.0/16"), entry("10.9.1.0/24")]) == "10.9.0.0/24"
    with pytest.raises(Conflict, match=r"the subnet 10\.9\.0\.0/24 overlaps network front"):
        accept("10.9.0.0/24", [entry("10.9.0.128/25", "network front")])
    assert gateway("10.9.0.0/24") == "10.9.0.1"
