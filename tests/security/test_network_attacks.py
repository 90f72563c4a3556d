"""THREATS' rows about networks: what a neighbour on the LAN, another container or a careless firewall could do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time

import pytest

from stackpy_runtime.errors import Unsupported
from stackpy_runtime.linux import nfnetlink, nftables
from stackpy_runtime.network.names import Names
from tests.network_lab import (
    FAR,
    HOST,
    LAN,
    QUICK,
    Container,
    Lab,
    Space,
    all_had_a_turn,
    ask,
    binding,
    lab_fixture,  # noqa: F401
    run,
    traces,
)

pytestmark = pytest.mark.root

ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6, ETH_P_8021Q = 3, 0x0800, 0x0806, 0x86DD, 0x8100
BROADCAST = b"\xff" * 6


def mac(container: Container) -> bytes:
    return bytes.fromhex(container.endpoints[0]["mac_address"].replace(":", ""))


def frame(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    return destination + source + struct.pack(">H", kind) + payload


def arp(operation: int, sender_mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    head = struct.pack(">HHBBH", 1, ETH_P_IP, 6, 4, operation)
    return head + sender_mac + socket.inet_aton(sender) + target_mac + socket.inet_aton(target)


def datagram(source: str, target: str, port: int, text: bytes) -> bytes:
    """An IPv4 packet with UDP without a checksum."""
    udp = struct.pack(">HHHH", 4444, port, 8 + len(text), 0) + text
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack(">H", checksum) + head[12:] + udp


def inject(space: Space, link: str, *frames: bytes) -> None:
    with space.inside():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with raw:
        raw.bind((link, 0))
        for data in frames:
            raw.send(data)


@contextlib.contextmanager
def listening(space: Space | None, port: int):  # type: ignore[no-untyped-def]
    """A UDP socket; calling what is given back returns the first text that comes, or "silence"."""
    with space.inside() if space else contextlib.nullcontext():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("0.0.0.0", port))
        receiver.settimeout(QUICK)

        def heard() -> str:
            for _ in range(2):
                try:
                    return receiver.recv(100).decode()
                except TimeoutError:
                    all_had_a_turn()
            return "silence"

        yield heard


def test_docker_before_28_unpublished_ports_from_the_lan(lab: Lab) -> None:
    network = lab.network("front")
    web = lab.container("web", network)
    for port in (80, 81, 82):
        lab.serve(web, "web", port)
    lab.publish(web, binding(8080, target=80), binding(8081, target=81, host_ip="0.0.0.0"))
    lab.lan.run("ip", "route", "add", network["subnet"], "via", HOST)
    # The worst case: the host's owner lets loopback addresses in from the LAN.
    run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
    lab.lan.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    lab.lan.run("ip", "address", "flush", "dev", "lo")
    lab.lan.run("ip", "route", "flush", "table", "local", "127.0.0.0/8")
    lab.lan.run("ip", "route", "add", "127.0.0.1", "via", HOST, "src", LAN)
    assert {
        "published on loopback": ask(lab.lan, web.ip_address, 80),
        "published on all, straight": ask(lab.lan, web.ip_address, 81),
        "not published": ask(lab.lan, web.ip_address, 82),
        "the published port of loopback": ask(lab.lan, "127.0.0.1", 8080),
        "the one of all addresses, as meant": ask(lab.lan, HOST, 8081),
    } == {
        "published on loopback": "silence",
        "published on all, straight": "silence",
        "not published": "silence",
        "the published port of loopback": "silence",
        "the one of all addresses, as meant": f"web {LAN}",
    }


def test_networks_are_apart(lab: Lab) -> None:
    front, back = lab.network("front"), lab.network("back")
    inner = lab.network("inner", internal=True)
    one, two, three = lab.container("one", front), lab.container("two", back), lab.container("three", inner)
    for container in (one, two, three):
        lab.serve(container, "it")
    # A container with rights over its own routes.
    three.run("ip", "route", "add", "default", "via", inner["gateway"])
    assert {
        (asker.id[:8], asked.id[:8]): ask(asker, asked.ip_address, 80)
        for asker in (one, two, three)
        for asked in (one, two, three)
        if asker is not asked
    } == {
        (asker.id[:8], asked.id[:8]): "silence"
        for asker in (one, two, three)
        for asked in (one, two, three)
        if asker is not asked
    }


def test_internal_means_no_way_out_and_none_in(lab: Lab) -> None:
    inner, front = lab.network("inner", internal=True), lab.network("front")
    inside, beside, outside = lab.container("in", inner), lab.container("be", inner), lab.container("out", front)
    lab.serve(inside, "inside")
    lab.serve(outside, "outside")
    lab.serve(lab.lan, "lan", 9000)
    lab.serve(None, "host", 9000)
    lab.publish(outside, binding(8080, host_ip="0.0.0.0"))
    lab.publish(inside, binding(8081, host_ip="0.0.0.0"))
    lab.lan.run("ip", "route", "add", inner["subnet"], "via", HOST)
    without = ask(inside, LAN, 9000)
    inside.run("ip", "route", "add", "default", "via", inner["gateway"])
    assert {
        "out, as given": without,
        "out, by a route of its own": ask(inside, LAN, 9000),
        "the host, by the gateway": ask(inside, inner["gateway"], 9000),
        "the host, by its LAN address": ask(inside, HOST, 9000),
        "another network's published port": ask(inside, HOST, 8080),
        "in, from the LAN": ask(lab.lan, inside.ip_address, 80),
        "in, by a published port": ask(lab.lan, HOST, 8081),
        "its own members": ask(beside, inside.ip_address, 80),
        "the host's own question": ask(None, "127.0.0.1", 8081),
    } == {
        "out, as given": "unreachable (Network is unreachable)",
        "out, by a route of its own": "silence",
        "the host, by the gateway": "silence",
        "the host, by its LAN address": "silence",
        "another network's published port": "silence",
        "in, from the LAN": "silence",
        "in, by a published port": "silence",
        "its own members": f"inside {beside.ip_address}",
        "the host's own question": f"inside {inner['gateway']}",
    }


def test_a_container_reaches_nothing_on_the_hosts_loopback(lab: Lab) -> None:
    """The bridges have route_localnet, which loopback publishing needs: a crafted frame must not get in by it."""
    network = lab.network("front")
    evil = lab.container("evil", network)
    gateway_mac = bytes.fromhex("02420ac90001")
    with listening(None, 7000) as heard:
        inject(
            evil,
            "eth0",
            frame(gateway_mac, mac(evil), ETH_P_IP, datagram(evil.ip_address, "127.0.0.1", 7000, b"in")),
            frame(gateway_mac, mac(evil), ETH_P_IP, datagram("127.0.0.1", "127.0.0.1", 7000, b"in")),
            frame(gateway_mac, mac(evil), ETH_P_IP, datagram("127.0.0.1", network["gateway"], 7000, b"in")),
        )
        assert heard() == "silence"
        # The frames as such are well made.
        inject(evil, "eth0", frame(gateway_mac, mac(evil), ETH_P_IP, datagram(evil.ip_address, HOST, 7000, b"allowed")))
        assert heard() == "allowed"


def test_arp_spoofing(lab: Lab) -> None:
    network = lab.network("front")
    evil, victim, client = (lab.container(name, network) for name in ("evil", "victim", "client"))
    lab.serve(victim, "victim")
    own, nobody = mac(evil), b"\0" * 6
    claims = [
        arp(operation, sender, address, target, client.ip_address)
        for operation in (1, 2)
        for address in (victim.ip_address, network["gateway"])
        for sender, target in ((own, mac(client)), (mac(victim), mac(client)), (own, nobody))
    ]
    frames = [frame(where, source, ETH_P_ARP, claim) for claim in claims for where in (BROADCAST, mac(client))
              for source in (own, mac(victim))]  # fmt: skip
    ask(client, network["gateway"], 1)
    for _ in range(3):
        inject(evil, "eth0", *frames)
    known = {line.split()[0]: line.split()[4] for line in client.run("ip", "neigh").splitlines() if "lladdr" in line}
    assert ask(client, victim.ip_address, 80) == f"victim {client.ip_address}"
    assert known == {network["gateway"]: "02:42:0a:c9:00:01"}
    # The bridge itself has not learned the victim's MAC at the attacker's port.
    ports = [line for line in run("bridge", "fdb", "show", "br", network["bridge"]).splitlines()
             if line.startswith(victim.endpoints[0]["mac_address"])]  # fmt: skip
    assert len(ports) == 1
    # A truthful claim does get through.
    inject(evil, "eth0", frame(BROADCAST, own, ETH_P_ARP, arp(1, own, evil.ip_address, nobody, client.ip_address)))
    assert ask(client, evil.ip_address, 1) == "refused"


@pytest.mark.parametrize("liar", ["address", "mac", "both"])
def test_ip_spoofing(lab: Lab, liar: str) -> None:
    network = lab.network("front")
    evil, victim, target = (lab.container(name, network) for name in ("evil", "victim", "target"))
    source_mac = mac(evil) if liar == "address" else mac(victim)
    source = evil.ip_address if liar == "mac" else victim.ip_address
    with listening(target, 7000) as heard, listening(None, 7001) as host_heard:
        inject(
            evil,
            "eth0",
            frame(mac(target), source_mac, ETH_P_IP, datagram(source, target.ip_address, 7000, b"lie")),
            frame(bytes.fromhex("02420ac90001"), source_mac, ETH_P_IP, datagram(source, HOST, 7001, b"lie")),
        )
        assert (heard(), host_heard()) == ("silence", "silence")
        truth = datagram(evil.ip_address, target.ip_address, 7000, b"true")
        inject(evil, "eth0", frame(mac(target), mac(evil), ETH_P_IP, truth))
        assert heard() == "true"


def test_a_changed_address_is_of_no_use(lab: Lab) -> None:
    """CAP_NET_ADMIN in the container: it may call itself what it likes, nobody hears it."""
    network = lab.network("front")
    evil, target = lab.container("evil", network), lab.container("target", network)
    lab.serve(target, "target")
    evil.run("ip", "address", "add", "10.201.7.7/20", "dev", "eth0")
    assert ask(evil, target.ip_address, 80, source="10.201.7.7") == "silence"
    evil.run("ip", "link", "set", "eth0", "address", "02:42:0a:c9:07:07")
    assert ask(evil, target.ip_address, 80) == "silence"


def test_ipv6_and_router_advertisements(lab: Lab) -> None:
    network = lab.network("front")
    evil, victim = lab.container("evil", network), lab.container("victim", network)
    # Router advertisement for 2001:db8::/64, from a link-local address, to all nodes.
    prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + bytes.fromhex("20010db8") + b"\0" * 12
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
    source, target = bytes.fromhex("fe80" + "00" * 13 + "66"), bytes.fromhex("ff02" + "00" * 13 + "01")
    pseudo = source + target + struct.pack(">II", len(body), 58)
    total = sum(struct.unpack(f">{(len(pseudo) + len(body)) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack(">H", ~total & 0xFFFF) + body[4:]
    packet = struct.pack(">IHBB", 0x60000000, len(body), 58, 255) + source + target + body
    all_nodes = bytes.fromhex("333300000001")
    inject(evil, "eth0", frame(all_nodes, mac(evil), ETH_P_IPV6, packet))
    assert {
        "victim": victim.run("ip", "-6", "address", "show", "dev", "eth0"),
        "routes": victim.run("ip", "-6", "route", "show", "dev", "eth0"),
        "host": run("ip", "-6", "address", "show", "dev", network["bridge"]),
        "accept_ra": victim.sysctl("net/ipv6/conf/eth0/accept_ra"),
        "disable_ipv6": victim.sysctl("net/ipv6/conf/eth0/disable_ipv6"),
    } == {"victim": "", "routes": "", "host": "", "accept_ra": "0", "disable_ipv6": "1"}
    # Not even a victim that turned IPv6 on for itself hears it: the port lets nothing but IPv4 and ARP in.
    victim.run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0", "net.ipv6.conf.eth0.accept_ra=2")
    inject(evil, "eth0", frame(all_nodes, mac(evil), ETH_P_IPV6, packet))
    time.sleep(QUICK / 2)
    assert "2001:db8" not in victim.run("ip", "-6", "address")


def test_vlan_tags_do_not_pass_the_guard(lab: Lab) -> None:
    network = lab.network("front")
    evil, target = lab.container("evil", network), lab.container("target", network)
    inner = struct.pack(">HH", 0, ETH_P_IP) + datagram("10.201.9.9", target.ip_address, 7000, b"lie")
    with listening(target, 7000) as heard:
        inject(evil, "eth0", frame(mac(target), mac(evil), ETH_P_8021Q, inner))
        assert heard() == "silence"


@pytest.mark.parametrize(
    "how", ["flush ruleset", "delete table ip {0}", "flush table ip {0}", "delete table bridge {0}"]
)
def test_2025_54388_a_firewall_reload_opens_nothing(lab: Lab, how: str) -> None:
    network, other = lab.network("front"), lab.network("back")
    web, neighbour = lab.container("web", network), lab.container("neighbour", other)
    evil = lab.container("evil", network)
    lab.serve(web, "web")
    lab.publish(web, binding(8080, host_ip="0.0.0.0"))
    lab.lan.run("ip", "route", "add", network["subnet"], "via", HOST)
    table = Names(lab.store.root.path).table
    with contextlib.suppress(AssertionError):
        run("nft", how.format(table))

    def seen() -> dict[str, str]:
        with listening(web, 7000) as heard:
            lie = datagram(neighbour.ip_address, web.ip_address, 7000, b"lie")
            inject(evil, "eth0", frame(mac(web), mac(evil), ETH_P_IP, lie))
            return {
                "LAN": ask(lab.lan, web.ip_address, 80),
                "another network": ask(neighbour, web.ip_address, 80),
                "spoofed": heard(),
                "published": ask(lab.lan, HOST, 8080),
            }

    closed = {"LAN": "silence", "another network": "silence", "spoofed": "silence", "published": f"web {LAN}"}
    if lab.manager.protected:
        # Linux 6.9 and newer: nobody but the owner can, so nothing is open even for a moment.
        assert seen() == closed
    lab.manager.ensure_all()
    assert lab.manager.intact()
    assert seen() == closed


def test_a_flush_while_nobody_watches_is_mended_by_the_successor(lab: Lab) -> None:
    network = lab.network("front")
    web = lab.container("web", network)
    evil = lab.container("evil", network)
    lab.manager.close()
    run("nft", "flush", "ruleset")
    second = lab.new_manager()
    assert not second.intact()
    assert second.restore([]) == []
    assert second.intact()
    lab.lan.run("ip", "route", "add", network["subnet"], "via", HOST)
    lab.serve(web, "web")
    with listening(web, 7000) as heard:
        lie = datagram("10.201.9.9", web.ip_address, 7000, b"lie")
        inject(evil, "eth0", frame(mac(web), mac(evil), ETH_P_IP, lie))
        assert (ask(lab.lan, web.ip_address, 80), heard()) == ("silence", "silence")
    assert ask(evil, web.ip_address, 80) == f"web {evil.ip_address}"


def test_a_users_drop_rule_wins(lab: Lab) -> None:
    """As documented in network/rules.py: a forward chain of the user's, with the port as it was published."""
    web = lab.container("web", lab.network("front"))
    lab.serve(web, "web")
    lab.publish(web, binding(8080, host_ip="0.0.0.0"), binding(8081, host_ip="0.0.0.0"))
    run("nft", "add table ip mine; add chain ip mine forward { type filter hook forward priority 10; }")
    run("nft", f"add rule ip mine forward ip saddr {LAN} meta l4proto tcp ct original proto-dst 8080 drop")
    assert {
        "dropped": ask(lab.lan, HOST, 8080),
        "another port": ask(lab.lan, HOST, 8081),
        "another source": ask(lab.far, HOST, 8080),
    } == {"dropped": "silence", "another port": f"web {LAN}", "another source": f"web {FAR}"}


def test_the_host_does_not_become_a_router(lab: Lab) -> None:
    """Forwarding is one switch for all links; what was apart before us stays apart."""
    lab.serve(lab.far, "far", 9000)
    assert ask(lab.lan, FAR, 9000) == "silence"
    lab.network("front")
    assert ask(lab.lan, FAR, 9000) == "silence"


def test_a_host_that_is_a_router_stays_one(lab: Lab) -> None:
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    lab.serve(lab.far, "far", 9000)
    lab.network("front")
    assert ask(lab.lan, FAR, 9000) == f"far {LAN}"


def test_names_with_shell_or_rule_syntax_reach_no_rule(lab: Lab) -> None:
    """What users name goes through hashes: no network name is ever part of a rule or a link's name."""
    name = 'x"; flush ruleset; #'
    try:
        network = lab.network(name)
    except ValueError:
        return
    assert name not in network["bridge"]
    assert name not in run("nft", "list", "ruleset")


def test_a_dead_containers_address_cannot_be_used_by_its_leftovers(lab: Lab) -> None:
    """A process that outlives its container keeps the namespace, and with it the link, but not the address."""
    network = lab.network("front")
    ghost, target = lab.container("ghost", network), lab.container("target", network)
    lab.serve(target, "target")
    lab.manager.detach(ghost.id)
    heir = lab.container("heir", network)
    assert heir.ip_address == ghost.ip_address
    assert ask(heir, target.ip_address, 80) == f"target {heir.ip_address}"
    assert ask(ghost, target.ip_address, 80) == "silence"
    lab.manager.ensure_all()
    assert ask(ghost, target.ip_address, 80) == "silence"


def test_a_container_on_two_networks_is_no_bridge_between_them(lab: Lab) -> None:
    front, inner = lab.network("front"), lab.network("inner", internal=True)
    both, evil, secret = lab.container("both", front, inner), lab.container("evil", front), lab.container("s", inner)
    lab.serve(secret, "secret")
    assert [both.sysctl(f"net/ipv4/conf/{link}/forwarding") for link in ("eth0", "eth1")] == ["0", "0"]
    # Even if it were made one.
    both.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    evil.run("ip", "route", "add", inner["subnet"], "via", both.ip_address)
    secret.run("ip", "route", "add", front["subnet"], "via", both.endpoints[1]["ip_address"])
    assert ask(evil, secret.ip_address, 80) == "silence"


def test_a_flush_on_an_older_kernel_is_mended_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.9 a table cannot be kept from others: the supervisor hears of the change and closes the gap."""
    # A flag that no kernel knows stands for one that this kernel does not know yet.
    monkeypatch.setattr(nfnetlink, "NFT_TABLE_F_PERSIST", 0x80)
    network = lab.network("front")
    assert not lab.manager.protected
    web = lab.container("web", network)
    lab.serve(web, "web")
    lab.publish(web, binding(8080, host_ip="0.0.0.0"))
    lab.lan.run("ip", "route", "add", network["subnet"], "via", HOST)
    changes = lab.manager.changes()
    assert changes is not None
    with changes:
        # Changes of our own are none.
        lab.publish(web, binding(8081, host_ip="0.0.0.0"), share="")
        assert select.select([changes], [], [], 1)[0]
        assert not lab.manager.mend(changes)
        run("nft", "add", "table", "ip", "mine")
        assert select.select([changes], [], [], 1)[0]
        assert not lab.manager.mend(changes)
        run("nft", "flush", "ruleset")
        assert select.select([changes], [], [], 1)[0]
        assert lab.manager.mend(changes)
    assert (ask(lab.lan, web.ip_address, 80), ask(lab.lan, HOST, 8080)) == ("silence", f"web {LAN}")
    # Whatever verb comes first after a flush that nobody saw mends it too.
    run("nft", "flush", "ruleset")
    lab.container("late", network)
    assert (ask(lab.lan, web.ip_address, 80), ask(lab.lan, HOST, 8081)) == ("silence", f"web {LAN}")


def test_without_libnftables_nothing_is_half_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "SONAME", "libnftables.so.none")
    before = traces()
    with pytest.raises(Unsupported) as caught:
        lab.network("front")
    assert caught.value.hint == "apt-get install nftables"
    assert (traces(), lab.store.networks()) == (before, [])
