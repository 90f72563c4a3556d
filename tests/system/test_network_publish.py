"""Published ports: from the host, the LAN and other containers; who may have which; swaps and take-overs."""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import subprocess
import sys
import threading

import pytest

from stackpy_runtime.errors import Conflict, InvalidConfig
from stackpy_runtime.network.manager import Published
from tests.network_lab import (
    HOST,
    LAN,
    Container,
    Lab,
    ask,
    binding,
    lab_fixture,  # noqa: F401
    run,
    traces,
)

pytestmark = pytest.mark.root


def served(lab: Lab, name: str, *networks: object, port: int = 80, kind: str = "tcp") -> Container:
    container = lab.container(name, *networks)  # type: ignore[arg-type]
    lab.serve(container, name, port, kind=kind)
    return container


def test_on_loopback(lab: Lab) -> None:
    network = lab.network("front")
    web, other = served(lab, "web", network), lab.container("other", network)
    lab.publish(web, binding(8080))
    assert {
        "host": ask(None, "127.0.0.1", 8080),
        "host, another loopback address": ask(None, "127.0.0.2", 8080),
        "host, its LAN address": ask(None, HOST, 8080),
        "LAN": ask(lab.lan, HOST, 8080),
        "container, by the gateway": ask(other, network["gateway"], 8080),
    } == {
        "host": f"web {network['gateway']}",
        "host, another loopback address": "refused",
        "host, its LAN address": "refused",
        "LAN": "refused",
        "container, by the gateway": "refused",
    }
    lab.manager.unpublish(web.id)
    assert ask(None, "127.0.0.1", 8080) == "refused"
    socket.create_server(("127.0.0.1", 8080)).close()


@pytest.mark.parametrize("bridged", ["0", "1"])
def test_on_all_addresses(lab: Lab, bridged: str) -> None:
    with contextlib.suppress(AssertionError):
        run("sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={bridged}")
    network, second = lab.network("front"), lab.network("back")
    web, beside = served(lab, "web", network), lab.container("beside", network)
    elsewhere = lab.container("elsewhere", second)
    lab.publish(web, binding(8080, host_ip="0.0.0.0"))
    assert {
        "host": ask(None, "127.0.0.1", 8080),
        "host by its LAN address": ask(None, HOST, 8080),
        "LAN": ask(lab.lan, HOST, 8080),
        "itself": ask(web, HOST, 8080),
        "itself by the gateway": ask(web, network["gateway"], 8080),
        "beside": ask(beside, HOST, 8080),
        "beside by the gateway": ask(beside, network["gateway"], 8080),
        "elsewhere": ask(elsewhere, HOST, 8080),
        "elsewhere by its gateway": ask(elsewhere, second["gateway"], 8080),
    } == {
        "host": f"web {network['gateway']}",
        "host by its LAN address": f"web {HOST}",
        "LAN": f"web {LAN}",
        "itself": f"web {network['gateway']}",
        "itself by the gateway": f"web {network['gateway']}",
        "beside": f"web {network['gateway']}",
        "beside by the gateway": f"web {network['gateway']}",
        "elsewhere": f"web {network['gateway']}",
        "elsewhere by its gateway": f"web {network['gateway']}",
    }


def test_on_one_address_of_the_host(lab: Lab) -> None:
    web = served(lab, "web", lab.network("front"))
    lab.publish(web, binding(8080, host_ip=HOST))
    assert (ask(lab.lan, HOST, 8080), ask(None, "127.0.0.1", 8080)) == (f"web {LAN}", "refused")


def test_replicas_take_turns_and_leave_one_by_one(lab: Lab) -> None:
    network = lab.network("front")
    replicas = [served(lab, f"web{number}", network) for number in range(3)]
    for replica in replicas:
        lab.publish(replica, binding(8080, host_ip="0.0.0.0"), share="web")
    turns = collections.Counter(ask(lab.lan, HOST, 8080).split()[0] for _ in range(9))
    assert turns == {"web0": 3, "web1": 3, "web2": 3}
    lab.manager.detach(replicas[0].id)
    turns = collections.Counter(ask(None, "127.0.0.1", 8080).split()[0] for _ in range(8))
    assert turns == {"web1": 4, "web2": 4}
    for replica in replicas[1:]:
        lab.manager.detach(replica.id)
    assert ask(None, "127.0.0.1", 8080) == "refused"


def test_a_replacement_swaps_without_a_gap(lab: Lab) -> None:
    network = lab.network("front")
    old, new = served(lab, "old", network), served(lab, "new", network)
    lab.publish(old, binding(8080), share="web")
    answers: list[str] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            answers.append(ask(None, "127.0.0.1", 8080).split()[0])

    thread = threading.Thread(target=keep_asking)
    thread.start()
    for _ in range(10):
        lab.publish(new, binding(8080), share="web")
        lab.manager.unpublish(old.id)
        lab.publish(old, binding(8080), share="web")
        lab.manager.unpublish(new.id)
    lab.publish(new, binding(8080), share="web")
    lab.manager.unpublish(old.id)
    stop.set()
    thread.join()
    assert set(answers) == {"old", "new"}
    assert ask(None, "127.0.0.1", 8080).split()[0] == "new"


def test_udp_follows_a_replacement(lab: Lab) -> None:
    network = lab.network("front")
    old, new = served(lab, "old", network, kind="udp"), served(lab, "new", network, kind="udp")
    with lab.lan.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(60)
        client.connect((HOST, 5353))

        def answer() -> str:
            client.send(b"?")
            return client.recv(100).decode()

        client.send(b"too early")
        with pytest.raises(OSError, match="refused"):
            client.recv(100)
        lab.publish(old, binding(5353, host_ip="0.0.0.0", protocol="udp"))
        assert answer() == f"old {LAN}"
        lab.manager.unpublish(old.id)
        lab.publish(new, binding(5353, host_ip="0.0.0.0", protocol="udp"))
        # The same client socket: conntrack would keep sending it to the old container.
        assert answer() == f"new {LAN}"
    assert ask(None, "127.0.0.1", 5353, "udp") == f"new {network['gateway']}"


def test_a_port_in_use_names_its_holder(lab: Lab) -> None:
    web = served(lab, "web", lab.network("front"))
    program = "import socket,sys; s=socket.create_server(('127.0.0.1',8080)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        for address in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(Conflict) as caught:
                lab.publish(web, binding(8081), binding(8080, host_ip=address))
            assert str(caught.value).startswith(f"port {address}:8080 is in use by PID {server.pid} (")
        server.communicate()
    # All or none: the first of the two is free again.
    assert ask(None, "127.0.0.1", 8081) == "refused"
    socket.create_server(("127.0.0.1", 8081)).close()
    lab.publish(web, binding(8080))


def test_the_hosts_programs_cannot_take_a_published_port(lab: Lab) -> None:
    web = served(lab, "web", lab.network("front"))
    lab.publish(web, binding(8080, host_ip="0.0.0.0"), binding(5353, host_ip="0.0.0.0", protocol="udp"))
    for kind, port in ((socket.SOCK_STREAM, 8080), (socket.SOCK_DGRAM, 5353)):
        with socket.socket(socket.AF_INET, kind) as intruder:
            intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                intruder.bind(("127.0.0.1", port))


def test_containers_get_in_each_others_way(lab: Lab) -> None:
    network = lab.network("front")
    one, two = served(lab, "one", network), served(lab, "two", network)
    lab.publish(one, binding(8080), share="one")
    name = f"container {one.id[:12]}"
    for address, share, message in (
        ("127.0.0.1", "", f"port 127.0.0.1:8080 is taken: it is published by {name}"),
        ("127.0.0.1", "two", f"port 127.0.0.1:8080 is taken: it is published by {name}"),
        ("0.0.0.0", "one", f"port 0.0.0.0:8080 is taken: 127.0.0.1:8080 is published by {name}"),
    ):
        with pytest.raises(Conflict) as caught:
            lab.publish(two, binding(8080, host_ip=address), share=share)
        assert caught.value.message == message
    # Another address of the host, and the same number over UDP, are other ports.
    lab.publish(two, binding(8080, host_ip=HOST), binding(8080, protocol="udp"))
    assert ask(lab.lan, HOST, 8080) == f"two {LAN}"


def test_port_zero_becomes_a_free_one(lab: Lab) -> None:
    web = served(lab, "web", lab.network("front"))
    first, second = lab.publish(web, binding(0), binding(0))
    assert len({first["published"], second["published"], 0}) == 3
    assert ask(None, "127.0.0.1", first["published"]).startswith("web ")
    assert ask(None, "127.0.0.1", second["published"]).startswith("web ")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (binding(8080, host_ip="::1"), "not an IPv4 address"),
        (binding(8080, host_ip="192.0.2.77"), "not an address of this host"),
        (binding(70000), "70000 is not a host port"),
        (binding(8080, target=0), "0 is not a container port"),
        (binding(8080, protocol="sctp"), "protocol `sctp`"),
    ],
)
def test_what_cannot_be_published(lab: Lab, wrong: object, message: str) -> None:
    web = served(lab, "web", lab.network("front"))
    with pytest.raises(InvalidConfig, match=message):
        lab.publish(web, wrong)  # type: ignore[arg-type]


def test_a_successor_takes_over(lab: Lab) -> None:
    kept: dict[str, socket.socket] = {}
    first = lab.new_manager(hold=kept.__setitem__, release=lambda name: kept.pop(name).close())
    network = first.create({"name": "front"})
    web = lab.container("web", network, manager=first)
    lab.serve(web, "web")
    first.publish(web.id, [binding(8080), binding(8081)], web.ip_address, "")
    first.close()
    assert ask(None, "127.0.0.1", 8080).startswith("web ")

    second = lab.new_manager(hold=kept.__setitem__, release=lambda name: kept.pop(name).close())
    problems = second.restore([Published(web.id, [binding(8080)], web.ip_address, "")], list(kept))
    assert (problems, sorted(kept)) == ([], ["tcp-127.0.0.1-8080"])
    # 8081 was not among what should be there: gone, and free.
    assert (ask(None, "127.0.0.1", 8080), ask(None, "127.0.0.1", 8081)) == (f"web {network['gateway']}", "refused")
    # The port's own guard was taken over too: it leaves with its container.
    assert ask(web, network["gateway"], 1) == "refused"
    second.detach(web.id)
    web.close()
    second.remove(network)
    assert (traces()["links"], traces()["tables"], kept) == ([], "", {})


def test_a_successor_reports_a_port_that_was_lost(lab: Lab) -> None:
    network = lab.network("front")
    web = served(lab, "web", network)
    with socket.create_server(("127.0.0.1", 8080)):
        lab.manager.close()
        second = lab.new_manager()
        problems = second.restore([Published(web.id, [binding(8080)], web.ip_address, "")])
        assert [problem.message.partition(" (")[0] for problem in problems] == [
            f"port 127.0.0.1:8080 is in use by PID {os.getpid()}"
        ]
        # The container was there first.
        assert ask(None, "127.0.0.1", 8080) == f"web {network['gateway']}"


def test_two_roots_side_by_side(lab: Lab) -> None:
    other = lab.other_root("other")
    mine, theirs = lab.network("front"), other.create({"name": "front"})
    web, client = served(lab, "web", mine), lab.container("client", theirs, manager=other)
    lab.publish(web, binding(8080, host_ip="0.0.0.0"))
    assert {
        "published": ask(client, HOST, 8080).split()[0],
        "not published": ask(client, web.ip_address, 80),
        "LAN": ask(lab.lan, HOST, 8080),
    } == {"published": "web", "not published": "silence", "LAN": f"web {LAN}"}
    lab.manager.detach(web.id)
    lab.manager.remove(mine)
    assert len(traces()["tables"].splitlines()) == 2


def test_beside_a_forward_policy_of_drop(lab: Lab) -> None:
    """Docker's and ufw's way; an accept in our table alone would not help."""
    run("iptables", "-P", "FORWARD", "DROP")
    run("iptables", "-N", "DOCKER-USER")
    run("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    before = run("iptables", "-S")
    network = lab.network("front")
    web = served(lab, "web", network)
    lab.serve(lab.lan, "lan", 9000)
    lab.publish(web, binding(8080, host_ip="0.0.0.0"))
    assert (ask(lab.lan, HOST, 8080), ask(web, LAN, 9000)) == (f"web {LAN}", f"lan {HOST}")
    assert ask(lab.lan, web.ip_address, 80) == "silence"
    lab.manager.detach(web.id)
    lab.manager.remove(network)
    assert run("iptables", "-S") == before
