"""Containers on their networks, seen from inside, from the host and from the LAN."""

from __future__ import annotations

import threading

import pytest

from stackpy_runtime.errors import Conflict, InvalidConfig
from stackpy_runtime.linux import links
from stackpy_runtime.linux.netlink import Netlink
from tests.network_lab import FAR, HOST, LAN, Lab, ask, lab_fixture, run, traces  # noqa: F401

pytestmark = pytest.mark.root


def test_a_container_reaches_neighbours_host_and_lan_and_nothing_is_left(lab: Lab) -> None:
    before = traces()
    network = lab.network("front")
    one, two = lab.container("one", network), lab.container("two", network)
    lab.serve(two, "two")
    lab.serve(None, "host", 9000)
    lab.serve(lab.lan, "lan", 9000)
    gateway = network["gateway"]
    assert one.endpoints == [
        {
            "ip_address": "10.201.0.2",
            "prefix_length": 20,
            "mac_address": "02:42:0a:c9:00:02",
            "gateway": "10.201.0.1",
            "aliases": ["one"],
        }
    ]
    assert {
        "neighbour": ask(one, two.ip_address, 80),
        "own loopback": ask(one, "127.0.0.1", 80),
        "host": ask(one, gateway, 9000),
        "lan": ask(one, LAN, 9000),
        "from the host": ask(None, two.ip_address, 80),
    } == {
        "neighbour": f"two {one.ip_address}",
        "own loopback": "refused",
        "host": f"host {one.ip_address}",
        "lan": f"lan {HOST}",
        "from the host": f"two {gateway}",
    }
    lab.manager.detach(one.id)
    lab.manager.detach(two.id)
    lab.manager.remove(network)
    assert traces() == before
    assert lab.store.networks() == []


def test_inside_there_is_ipv4_and_no_more(lab: Lab) -> None:
    network = lab.network("front")
    container = lab.container("one", network)
    links = {line.split(":")[1].split("@")[0].strip() for line in container.run("ip", "-o", "link").splitlines()}
    assert {
        "links": links,
        "addresses": container.run("ip", "-o", "-6", "address", "show", "dev", "eth0"),
        "accept_ra": container.sysctl("net/ipv6/conf/eth0/accept_ra"),
        "forwarding": container.sysctl("net/ipv4/conf/eth0/forwarding"),
        "first port": container.sysctl("net/ipv4/ip_unprivileged_port_start"),
        "route": container.run("ip", "route").splitlines()[0].strip(),
    } == {
        "links": {"lo", "eth0"},
        "addresses": "",
        "accept_ra": "0",
        "forwarding": "0",
        "first port": "0",
        "route": "default via 10.201.0.1 dev eth0 proto static",
    }
    assert run("ip", "-o", "-6", "address", "show", "scope", "link").count("sp-") == 0
    assert "sv" not in run("ip", "-o", "-6", "address")


def test_two_networks_and_the_default_route_of_the_first_that_leads_out(lab: Lab) -> None:
    inner, outer = lab.network("inner", internal=True), lab.network("outer")
    both = lab.container("both", inner, outer)
    lab.serve(lab.lan, "lan", 9000)
    assert both.run("ip", "route", "show", "default").split()[2] == outer["gateway"]
    assert ask(both, LAN, 9000) == f"lan {HOST}"
    peer = lab.container("peer", inner)
    lab.serve(peer, "peer")
    assert ask(both, peer.ip_address, 80) == f"peer {both.ip_address}"


def test_subnets_avoid_what_the_host_knows(lab: Lab) -> None:
    run("ip", "route", "add", "10.201.0.0/19", "via", LAN)
    lab.far.run("ip", "link", "set", "lo", "up")
    run("ip", "route", "add", "10.201.32.0/20", "via", FAR, "table", "77")
    network = lab.network("front")
    assert network["subnet"] == "10.201.48.0/20"
    other = lab.other_root("other").create({"name": "front"})
    assert other["subnet"] == "10.201.64.0/20"
    with pytest.raises(
        Conflict, match=r"10\.201\.33\.0/24 overlaps a route of this host \(10\.201\.32\.0/20 on eth1\)"
    ):
        lab.network("taken", subnet="10.201.33.0/24")
    with pytest.raises(Conflict, match=r"overlaps .*network front|overlaps .*sp-"):
        lab.network("taken", subnet="10.201.50.0/24")
    with pytest.raises(InvalidConfig):
        lab.network("broken", subnet="10.201.33.1/24")
    given = lab.network("given", subnet="10.9.0.0/24")
    assert (given["subnet"], given["gateway"]) == ("10.9.0.0/24", "10.9.0.1")


def test_no_private_subnet_is_free(lab: Lab) -> None:
    for pool in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"):
        run("ip", "route", "add", pool, "via", LAN)
    with pytest.raises(Conflict, match="no private subnet is free"):
        lab.network("front")


def test_a_network_in_use_is_not_removed(lab: Lab) -> None:
    network = lab.network("front")
    container = lab.container("one", network)
    with pytest.raises(Conflict, match="in use by container"):
        lab.manager.remove(network)
    lab.manager.detach(container.id)
    lab.manager.remove(network)


def test_a_container_that_goes_on_is_unplugged(lab: Lab) -> None:
    network = lab.network("front")
    container = lab.container("one", network)
    lab.manager.detach(container.id, unplug=True)
    assert traces()["links"] == [network["bridge"]]
    assert "eth0" not in container.run("ip", "-o", "link")
    again = lab.manager.attach(container.id, container.fd, network, {"aliases": []}, "eth0")
    assert again["ip_address"] == "10.201.0.2"


def test_a_wanted_address(lab: Lab) -> None:
    network = lab.network("front")
    one, two = lab.container("one"), lab.container("two")
    info = lab.manager.attach(one.id, one.fd, network, {"aliases": [], "ipv4_address": "10.201.3.4"}, "eth0")
    assert info["ip_address"] == "10.201.3.4"
    with pytest.raises(Conflict):
        lab.manager.attach(two.id, two.fd, network, {"aliases": [], "ipv4_address": "10.201.3.4"}, "eth0")


def test_after_a_reboot_everything_is_made_again(lab: Lab) -> None:
    network = lab.network("front")
    run("ip", "link", "delete", network["bridge"])
    lab.manager.ensure_all()
    one, two = lab.container("one", network), lab.container("two", network)
    lab.serve(two, "two")
    assert ask(one, two.ip_address, 80) == f"two {one.ip_address}"


def test_attach_mends_a_bridge_that_somebody_deleted(lab: Lab) -> None:
    network = lab.network("front")
    run("ip", "link", "delete", network["bridge"])
    one, two = lab.container("one", network), lab.container("two", network)
    lab.serve(two, "two")
    assert ask(one, two.ip_address, 80) == f"two {one.ip_address}"


def test_forwarding_is_restored_by_the_last_root(lab: Lab) -> None:
    other = lab.other_root("other")
    mine, theirs = lab.network("front"), other.create({"name": "front"})
    lab.manager.remove(mine)
    assert traces()["forward"] == "1"
    other.remove(theirs)
    assert traces()["forward"] == "0"


def test_forwarding_that_was_on_stays_on(lab: Lab) -> None:
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    lab.manager.remove(lab.network("front"))
    assert traces()["forward"] == "1"


def test_forwarding_stays_for_who_came_later(lab: Lab) -> None:
    network = lab.network("front")
    run("ip", "link", "add", "docker0", "type", "bridge")
    lab.manager.remove(network)
    assert traces()["forward"] == "1"


def test_an_internal_network_turns_no_forwarding_on(lab: Lab) -> None:
    lab.network("inner", internal=True)
    assert traces()["forward"] == "0"


def test_many_at_once(lab: Lab) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            network = lab.manager.create({"name": f"n{number}"})
            with Netlink() as channel:
                assert channel.index(network["bridge"])
        except BaseException as error:
            failures.append(error)

    with_host = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in with_host:
        thread.start()
    for thread in with_host:
        thread.join()
    assert failures == []
    networks = lab.store.networks()
    assert len({network["subnet"] for network in networks}) == 6
    listed = run("nft", "list", "tables")
    table = next(line.split()[2] for line in listed.splitlines() if line.startswith("table ip "))
    text = run("nft", "list", "set", "ip", table, "within")
    assert all(network["bridge"] in text for network in networks)
    for network in networks:
        lab.manager.remove(network)
    assert (traces()["links"], traces()["tables"]) == ([], "")


def test_the_mtu_follows_the_way_out(lab: Lab) -> None:
    run("ip", "link", "set", "eth0", "mtu", "1400")
    network = lab.network("front")
    container = lab.container("one", network)
    assert "mtu 1400" in container.run("ip", "link", "show", "eth0")
    # A bridge without ports would go back to Ethernet's 1500 by itself.
    lab.manager.detach(container.id, unplug=True)
    assert "mtu 1400" in lab.container("two", network).run("ip", "link", "show", "eth0")


def test_kernel_errors_name_operation_and_reason(lab: Lab) -> None:
    with Netlink() as channel, pytest.raises(OSError, match="network is unreachable"):
        channel.send(links.default_route(9999, "10.0.0.1"))
