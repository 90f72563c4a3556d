"""Networks, names, published ports and health checks through the engine."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime import labels
from stackpy_runtime.errors import Conflict, EngineError, NotFound, ProcessFailed
from tests.engine_lab import Lab
from tests.system.test_engine_survival import SERVER, ask, binding, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.root

RESOLVE = (
    "import socket, sys\ntry: print(sorted(socket.gethostbyname_ex(sys.argv[1])[2]))\nexcept OSError: print('none')"
)


def resolved(lab: Lab, name: str, wanted: str) -> str:
    """What `wanted` is to a container."""
    return lab.exec(name, "python3", "-c", RESOLVE, wanted).out.strip()


def address(lab: Lab, name: str, network: str) -> str:
    return lab.engine.container(name)["networks"][network]["ip_address"]


# --- networks and names ---------------------------------------------------------------------------------------------


def test_names_addresses_and_borders(lab: Lab) -> None:
    lab.engine.create_network({"name": "front"})
    lab.engine.create_network({"name": "back", "internal": True, "labels": {"a": "b"}})
    idle = ["sleep", "600"]
    web = lab.up(idle, networks={"front": {"aliases": ["www", "shared"]}, "back": {"aliases": []}})
    data = lab.up(idle, networks={"back": {"aliases": ["db", "shared"]}})
    other = lab.up(idle, networks={"front": {"aliases": ["shared"]}})
    alone = lab.up(idle, network_mode="none")
    assert resolved(lab, web, "db") == str([address(lab, data, "back")])
    assert resolved(lab, data, web) == str([address(lab, web, "back")])
    assert resolved(lab, other, "www") == str([address(lab, web, "front")])
    assert resolved(lab, other, "shared") == str(sorted(address(lab, name, "front") for name in (web, other)))
    assert resolved(lab, other, "db") == resolved(lab, other, data) == "none"
    assert resolved(lab, data, "www") == "none"
    assert resolved(lab, web, lab.engine.container(data)["id"][:12]) == str([address(lab, data, "back")])
    assert lab.exec(alone, "sh", "-c", "cat /proc/net/route | wc -l; cat /proc/net/dev | grep -c eth").out == "1\n0\n"
    routes = lab.exec(data, "cat", "/proc/net/route").out
    assert "00000000" not in [line.split()[1] for line in routes.splitlines()[1:]]
    with pytest.raises(Conflict, match=data):
        lab.engine.remove_network("back")
    lab.engine.remove(data, force=True)
    assert resolved(lab, web, "db") == "none"
    with pytest.raises(NotFound):
        lab.engine.network("no-such")
    with pytest.raises(Conflict):
        lab.engine.create_network({"name": "front"})


def test_a_fixed_address_and_one_that_is_taken(lab: Lab) -> None:
    network = lab.engine.create_network({"name": "net", "subnet": "10.213.7.0/28"})
    assert (network["subnet"], network["gateway"]) == ("10.213.7.0/28", "10.213.7.1")
    name = lab.up(["sleep", "600"], networks={"net": {"aliases": [], "ipv4_address": "10.213.7.9"}})
    assert address(lab, name, "net") == "10.213.7.9"
    for wanted in ("10.213.7.9", "10.213.7.1", "10.213.7.15", "10.213.8.1", "nonsense"):
        assert lab.reason(["true"], networks={"net": {"aliases": [], "ipv4_address": wanted}})
    for _ in range(12):
        lab.up(["sleep", "600"], networks={"net": {"aliases": []}})
    assert "10.213.7.0/28" in lab.reason(["true"], networks={"net": {"aliases": []}})


def test_an_address_moves_while_the_container_runs_and_others_keep_off_it(lab: Lab) -> None:
    lab.engine.create_network({"name": "net", "subnet": "10.213.7.0/28"})
    other = lab.up(["sleep", "600"], networks={"net": {"aliases": [], "avoid": ["10.213.7.2", "10.213.7.3"]}})
    assert address(lab, other, "net") == "10.213.7.4"
    name = lab.up(["sleep", "600"], networks={"net": {"aliases": ["x"], "ipv4_address": "10.213.7.2"}})
    with pytest.raises(Conflict, match=f"10.213.7.4 is in use by container {other}"):
        lab.engine.update(name, {"networks": {"net": {"aliases": ["x"], "ipv4_address": "10.213.7.4"}}})
    assert resolved(lab, other, "x") == "['10.213.7.2']"
    lab.engine.update(name, {"networks": {"net": {"aliases": ["x"], "ipv4_address": "10.213.7.9"}}})
    assert resolved(lab, other, "x") == "['10.213.7.9']"
    assert "10.213.7.9\t" in lab.exec(name, "cat", "/etc/hosts").out
    assert way_out(lab, name) == "eth0"
    lab.up(["sleep", "600"], networks={"net": {"aliases": [], "ipv4_address": "10.213.7.2"}})
    assert lab.engine.addresses("net")["10.213.7.9"] == lab.engine.container(name)["id"]


def test_which_network_leads_out_and_what_its_link_is_called(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.engine.create_network({"name": name})
    both: dict[str, Any] = {"one": {"aliases": []}, "two": {"aliases": [], "gw_priority": 1, "interface_name": "wan"}}
    name = lab.up(["sleep", "600"], networks=both)
    assert (way_out(lab, name), links_of(lab, name)) == ("wan", ["eth0", "lo", "wan"])
    lab.engine.update(name, {"networks": {**both, "one": {"aliases": [], "gw_priority": 2}}})
    assert way_out(lab, name) == "eth0"
    lab.engine.update(name, {"networks": {"one": {"aliases": [], "interface_name": "lan"}, "two": both["two"]}})
    assert (way_out(lab, name), links_of(lab, name)) == ("wan", ["lan", "lo", "wan"])
    for wrong in ("lo", "a/b", "sixteen-letters-"):
        assert "link" in lab.reason(["true"], networks={"one": {"aliases": [], "interface_name": wrong}})
    twice = {name: {"aliases": [], "interface_name": "x"} for name in ("one", "two")}
    assert "two networks with a link `x`" in lab.reason(["true"], networks=twice)


def way_out(lab: Lab, name: str) -> str:
    """The link that a container's default route leads through."""
    rows = [line.split() for line in lab.exec(name, "cat", "/proc/net/route").out.splitlines()[1:]]
    return next(row[0] for row in rows if row[1] == "00000000")


def links_of(lab: Lab, name: str) -> list[str]:
    return sorted(
        line.partition(":")[0].strip() for line in lab.exec(name, "grep", ":", "/proc/net/dev").out.split("\n") if line
    )


def test_containers_reach_each_other_and_the_loopback_is_their_own(lab: Lab) -> None:
    lab.engine.create_network({"name": "net"})
    server = lab.up(["python3", "-c", SERVER], hostname="server", networks={"net": {"aliases": ["server"]}})
    fetch = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())"
    client = lab.up(["sleep", "600"], networks={"net": {"aliases": []}})
    wait_for(lambda: lab.exec(client, "python3", "-c", fetch, "http://server:8000").out == "server\n", "the server")
    assert lab.exec(client, "python3", "-c", fetch, "http://127.0.0.1:8000").code == 1
    assert lab.exec(server, "python3", "-c", fetch, "http://localhost:8000").out == "server\n"
    # Low ports are free for anybody in there, and port 53 is the container's own.
    bind = "import socket; s = socket.socket(); s.bind(('', 53)); u = socket.socket(type=2); u.bind(('', 53))"
    bind += "; print('bound')"
    assert lab.exec(client, "python3", "-c", bind, user="1000").out == "bound\n"


def test_a_bridge_goes_with_the_last_container_of_a_network_that_will_be_removed(lab: Lab) -> None:
    bridge = lab.engine.create_network({"name": "front"})["bridge"]
    idle, on_front = ["sleep", "600"], {"front": {"aliases": []}}
    first, second = lab.up(idle, networks=on_front), lab.up(idle, networks=on_front)
    lab.engine.expect(0, ["front", "no-such"])
    lab.engine.down(first)
    assert os.path.exists(f"/sys/class/net/{bridge}")
    lab.engine.down(second)
    wait_for(lambda: not os.path.exists(f"/sys/class/net/{bridge}"), "the bridge to go")
    lab.engine.remove_network("front")
    with pytest.raises(NotFound):
        lab.engine.network("front")


def test_a_network_that_was_to_be_removed_serves_who_comes_after_all(lab: Lab) -> None:
    bridge = lab.engine.create_network({"name": "front"})["bridge"]
    idle, on_front = ["sleep", "600"], {"front": {"aliases": ["www"]}}
    for _ in range(5):
        lab.engine.expect(2, ["front"])
        first = lab.up(idle, networks=on_front)
        lab.engine.expect(0, ["front"])
        lab.engine.down(first)
        # while the kernel takes the bridge away
        web, other = lab.up(idle, networks=on_front), lab.up(idle, networks=on_front)
        assert resolved(lab, other, "www") == str(sorted(address(lab, name, "front") for name in (web, other)))
        assert os.path.exists(f"/sys/class/net/{bridge}")
        lab.engine.down(web)
        lab.engine.down(other)
    lab.engine.remove_network("front")
    assert not os.path.exists(f"/sys/class/net/{bridge}")


def test_host_network(lab: Lab) -> None:
    port = free_port()
    code = SERVER.replace("8000", str(port))
    name = lab.up(["python3", "-c", code], network_mode="host", hostname="on-host")
    wait_for(lambda: ask(port) == "on-host", "the server on the host's network")
    assert os.readlink(f"/proc/{lab.state(name)['pid']}/ns/net") == os.readlink("/proc/self/ns/net")
    assert lab.exec(name, "cat", "/etc/resolv.conf").out == Path("/etc/resolv.conf").read_text()
    assert "sysfs" in lab.exec(name, "grep", " /sys ", "/proc/self/mountinfo").out
    lab.engine.stop(name)
    assert ask(port, 0.3) == ""


# --- published ports ------------------------------------------------------------------------------------------------


def replica(number: int, port: int) -> dict[str, Any]:
    """Fields of one of several containers behind one port."""
    return {
        "hostname": f"r{number}",
        "networks": {"net": {"aliases": ["web"]}},
        "ports": [binding(port)],
        "labels": {labels.STACK: "lab", labels.RESOURCE: "container.web", labels.REPLICA: str(number)},
    }


def test_replicas_share_a_port(lab: Lab) -> None:
    port = free_port()
    lab.engine.create_network({"name": "net"})
    names = [lab.up(["python3", "-c", SERVER], **replica(number, port)) for number in (1, 2)]
    wait_for(lambda: {ask(port) for _ in range(8)} == {"r1", "r2"}, "both answer")
    shares = [ask(port) for _ in range(60)]
    assert set(shares) == {"r1", "r2"} and 15 < shares.count("r1") < 45
    with pytest.raises(EngineError, match=str(port)):
        lab.engine.up(lab.config(["true"], networks={"net": {"aliases": []}}, ports=[binding(port)]))
    lab.kill("supervisor")
    assert set(filter(None, (ask(port) for _ in range(40)))) == {"r1", "r2"}
    lab.engine.client.call("ping")
    lab.engine.remove(names[0], force=True)
    assert {ask(port) for _ in range(20)} == {"r2"}
    third = lab.up(["python3", "-c", SERVER], **replica(3, port))
    wait_for(lambda: {ask(port) for _ in range(8)} == {"r2", "r3"}, "the new one answers")
    for name in (names[1], third):
        lab.engine.remove(name, force=True)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    # The port is free for others.
    with socket.create_server(("127.0.0.1", port)):
        assert str(port) in lab.reason(["true"], networks={"net": {"aliases": []}}, ports=[binding(port)])


def test_a_free_port_is_found_and_shown(lab: Lab) -> None:
    name = lab.up(["python3", "-c", SERVER], network_mode="bridge", ports=[binding(0)], hostname="free")
    (bound,) = lab.engine.container(name)["config"]["ports"]
    assert bound["published"] > 1023
    wait_for(lambda: ask(bound["published"]) == "free", "the server")
    assert re.search(rf"127.0.0.1:{bound['published']}->8000", lab.cli("ps").out)


def test_the_bridge_comes_with_its_first_container_and_goes_with_the_last(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], network_mode="bridge")
    bridge = lab.engine.network("bridge")
    assert os.path.exists(f"/sys/class/net/{bridge['bridge']}")
    lab.engine.remove(name, force=True)
    lab.engine.tidy()
    assert lab.engine.networks() == []
    assert not os.path.exists(f"/sys/class/net/{bridge['bridge']}")


# --- health ---------------------------------------------------------------------------------------------------------


def probe(**fields: Any) -> dict[str, Any]:
    return {
        "interval": 0.3,
        "timeout": 2.0,
        "retries": 2,
        "start_period": 0.0,
        "start_interval": 0.2,
        **fields,
    }


@pytest.mark.parametrize(
    "check",
    [
        {"test": ["python3", "-c", "import urllib.request as u; u.urlopen('http://localhost:8000', timeout=1)"]},
        {"http": "http://localhost:8000/up"},
        {"http": "http://127.0.0.1:8000/", "status": 200},
        {"tcp": 8000},
    ],
)
@pytest.mark.parametrize("mode", ["none", "bridge"])
def test_health_is_seen_soon(lab: Lab, check: dict[str, Any], mode: str) -> None:
    slow = probe(**check, interval=600.0, start_period=600.0, start_interval=300.0)
    late = "import time; time.sleep(0.4)\n" + SERVER
    name = lab.up(["python3", "-c", late], healthcheck=slow, network_mode=mode)
    assert lab.state(name)["health"] == "starting"
    container = lab.engine.await_state(name, "healthy", 60)  # not an interval later
    assert container["state"]["health"] == "healthy"


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"test": ["sh", "-c", "echo no good; exit 3"]}, "exit code 3: no good"),
        ({"test": ["sleep", "60"], "timeout": 0.2}, "did not end within"),
        ({"test": ["no-such-program"]}, "not in the image"),
        ({"http": "http://localhost:8001/"}, "refused"),
        ({"http": "http://localhost:8000/", "status": 204}, "answered 200"),
        ({"tcp": 8001}, "refused"),
    ],
)
def test_what_is_unhealthy_is_said_with_its_reason(lab: Lab, check: dict[str, Any], said: str) -> None:
    name = lab.up(["python3", "-c", SERVER], healthcheck=probe(**check))
    with pytest.raises(ProcessFailed, match=re.escape(said)):
        lab.engine.await_state(name, "healthy", 60)
    assert lab.state(name)["health"] == "unhealthy"
    # Nothing of a check that took too long is left.
    wait_for(lambda: "sleep" not in lab.exec(name, "sh", "-c", "cat /proc/[0-9]*/comm").out, "the checks' end")


def test_health_changes_and_outlives_a_supervisor(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "touch /ok; sleep 600"], healthcheck=probe(test=["cat", "/ok"]))
    lab.engine.await_state(name, "healthy", 60)
    lab.kill("supervisor")
    assert lab.exec(name, "rm", "/ok").code == 0
    wait_for(lambda: lab.state(name)["health"] == "unhealthy", "it is seen")
    lab.exec(name, "touch", "/ok")
    wait_for(lambda: lab.state(name)["health"] == "healthy", "it is well again")
    lab.engine.stop(name)
    assert lab.state(name)["health"] == ""


def test_waiting_for_what_cannot_come(lab: Lab) -> None:
    fails = lab.up(["sh", "-c", "echo the reason >&2; exit 4"])
    with pytest.raises(ProcessFailed) as raised:
        lab.engine.await_state(fails, "completed", 60)
    assert (raised.value.exit_code, raised.value.output) == (4, "the reason\n")
    done = lab.up(["true"])
    assert lab.engine.await_state(done, "completed", 60)["state"]["exit_code"] == 0
    runs = lab.up(["sleep", "600"])
    assert lab.engine.await_state(runs, "healthy", 60)["state"]["status"] == "running"
    with pytest.raises(EngineError, match="not completed after"):
        lab.engine.await_state(runs, "completed", 0.3)
