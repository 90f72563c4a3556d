"""What of a container changes while it runs: networks, ports, files, secrets, health check; and other names."""

from __future__ import annotations

import base64
import socket

import pytest

from stackpy_runtime.errors import Conflict
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

SERVER = "import http.server as h; h.HTTPServer(('', 80), h.SimpleHTTPRequestHandler).serve_forever()"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def port_of(published: int) -> dict[str, object]:
    return {"host_ip": "127.0.0.1", "published": published, "target": 80, "protocol": "tcp"}


def file_of(text: str) -> dict[str, object]:
    return {"target": "/etc/app", "content": base64.b64encode(text.encode()).decode(), "mode": 0o640}


def test_networks_ports_files_and_secrets_change_while_it_runs(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.engine.create_network({"name": name, "labels": {}})
    lab.engine.put_secret("key", b"first", {})
    first, second = free_port(), free_port()
    name = lab.up(
        ["python3", "-c", SERVER],
        networks={"one": {"aliases": ["a"]}},
        ports=[port_of(first)],  # type: ignore[list-item]
        files=[file_of("before")],
        secrets=[{"secret": "key", "target": "key"}],
        user="65534",
    )
    pid = lab.state(name)["pid"]
    wait_for(lambda: answers(first), "an answer at the first port", 60)

    networks = {"one": {"aliases": ["a"]}, "two": {"aliases": ["b"]}}
    lab.engine.update(name, {"networks": networks, "ports": [port_of(second)], "files": [file_of("after")]})
    assert sorted(lab.engine.container(name)["networks"]) == ["one", "two"]
    assert answers(second) and not answers(first)
    assert lab.exec(name, "cat", "/etc/app", user="0").out == "after"
    assert lab.exec(name, "stat", "-c", "%a %u", "/etc/app").out == "640 0\n"
    other = lab.up(["sleep", "1000"], networks={"two": {"aliases": []}})
    found = lab.exec(other, "python3", "-c", "import socket; print(socket.gethostbyname('b'))").out.strip()
    assert found == lab.engine.container(name)["networks"]["two"]["ip_address"]

    # The way out, and what the port leads to, go over to the network that is left.
    lab.engine.update(name, {"networks": {"two": {"aliases": ["c"]}}})
    assert list(lab.engine.container(name)["networks"]) == ["two"]
    routes = lab.exec(name, "cat", "/proc/net/route").out.splitlines()
    assert any(line.split()[1] == "00000000" for line in routes[1:])
    assert answers(second)
    lab.engine.remove_network("one")

    lab.engine.put_secret("key", b"second", {})
    lab.engine.refresh_secrets(name)
    assert lab.exec(name, "cat", "/run/secrets/key").out == "second"
    assert lab.exec(name, "stat", "-c", "%a %u", "/run/secrets/key").out == "400 65534\n"
    assert lab.exec(name, "touch", "/run/secrets/more", user="0").code != 0
    lab.engine.update(name, {"ports": None})
    assert not answers(second)
    assert lab.state(name)["pid"] == pid


def test_a_port_that_cannot_be_had_leaves_the_one_that_was(lab: Lab) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = int(taken.getsockname()[1])
        name = lab.up(["python3", "-c", SERVER], networks={}, ports=[port_of(port)])  # type: ignore[list-item]
        wait_for(lambda: answers(port), "an answer", 60)
        with pytest.raises(Conflict, match="in use"):
            lab.engine.update(name, {"ports": [port_of(other)]})
        assert answers(port)
        assert [one["published"] for one in lab.engine.container(name)["config"]["ports"]] == [port]


def test_another_health_check_is_asked_at_once(lab: Lab) -> None:
    probe = {"interval": 0.2, "timeout": 30.0, "retries": 1, "start_period": 0.0, "start_interval": 0.2}
    name = lab.up(["sleep", "1000"], healthcheck={"test": ["true"], **probe})
    wait_for(lambda: lab.state(name)["health"] == "healthy", "health", 60)
    lab.engine.update(name, {"healthcheck": {"test": ["false"], **probe}})
    wait_for(lambda: lab.state(name)["health"] == "unhealthy", "the other check's verdict", 60)
    lab.engine.update(name, {"healthcheck": {"test": ["NONE"]}})
    assert lab.state(name)["health"] == ""


def test_a_health_check_goes_on_when_something_else_changes(lab: Lab) -> None:
    probe = {"interval": 0.2, "timeout": 30.0, "retries": 1, "start_period": 0.0, "start_interval": 0.2}
    healthy_without = ["python3", "-c", "import os, sys; sys.exit(os.path.exists('/ill'))"]
    name = lab.up(["sleep", "1000"], healthcheck={"test": healthy_without, **probe})
    wait_for(lambda: lab.state(name)["health"] == "healthy", "health", 60)
    lab.engine.update(name, {"mem_limit": 256 * 1024 * 1024})
    assert lab.state(name)["health"] == "healthy"
    lab.exec(name, "touch", "/ill")
    wait_for(lambda: lab.state(name)["health"] == "unhealthy", "a verdict after the change", 60)


def test_networks_and_volumes_get_other_names_in_use(lab: Lab) -> None:
    lab.engine.create_network({"name": "old", "labels": {}})
    lab.engine.create_volume("data", {})
    name = lab.up(
        ["sleep", "1000"],
        networks={"old": {"aliases": []}},
        mounts=[{"type": "volume", "source": "data", "target": "/data", "read_only": False}],
    )
    assert lab.exec(name, "sh", "-c", "echo kept > /data/file").code == 0
    lab.engine.rename_network("old", "new")
    lab.engine.rename_volume("data", "other")
    container = lab.engine.container(name)
    assert (list(container["networks"]), list(container["config"]["networks"])) == (["new"], ["new"])
    assert lab.exec(name, "cat", "/data/file").out == "kept\n"
    lab.engine.restart(name)
    assert lab.exec(name, "cat", "/data/file").out == "kept\n"
    assert [volume["name"] for volume in lab.engine.volumes()] == ["other"]
    lab.engine.create_volume("third", {})
    with pytest.raises(Conflict, match="in use"):
        lab.engine.rename_volume("other", "third")
