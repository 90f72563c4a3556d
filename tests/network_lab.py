"""A small network for tests: this process moves into a namespace that plays the host, with a neighbour on its LAN.

    lan 198.51.100.2 ── 198.51.100.1 eth0 [host: bridges, containers]
                            203.0.113.1 eth1 ── 203.0.113.2 far

Nothing touches the machine's own namespace; what is made goes with the descriptors. Containers are bare namespaces:
what the kernel does for them is real, what runs in them is a thread of the test.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.linux import sysctl
from stackpy_runtime.linux.namespaces import CLONE_NEWNET, entered, setns, unshare
from stackpy_runtime.model import EndpointInfo, Network, PortBinding
from stackpy_runtime.network import forwarding
from stackpy_runtime.network.manager import NetworkManager
from stackpy_runtime.store.store import Store
from tests.waiting import wait_for

HOST, LAN, HOST_FAR, FAR = "198.51.100.1", "198.51.100.2", "203.0.113.1", "203.0.113.2"
QUICK, SURE = 0.1, 0.25  # seconds after which a first and a second attempt count as unanswered; answers take one ms


class Space:
    """A network namespace that lives as long as its descriptor."""

    def __init__(self) -> None:
        made: list[int] = []

        def make() -> None:
            unshare(CLONE_NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        self.fd = made[0]
        self.ip_address = ""

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def inside(self) -> contextlib.AbstractContextManager[None]:
        return entered(self.fd, CLONE_NEWNET)

    def run(self, *words: str) -> str:
        """A program in the namespace; its output."""
        with self.inside():
            return run(*words)

    def sysctl(self, name: str) -> str:
        with self.inside():
            return sysctl.read(name)


class Container(Space):
    """A namespace attached to a network by the manager."""

    def __init__(self, identity: str) -> None:
        super().__init__()
        self.id = identity
        self.endpoints: list[EndpointInfo] = []


class Server:
    """Answers each TCP connection, or UDP packet, with `name client-address`."""

    def __init__(self, space: Space | None, name: str, port: int, address: str = "0.0.0.0", kind: str = "tcp") -> None:
        stream = kind == "tcp"
        with space.inside() if space else contextlib.nullcontext():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        if stream:
            self.socket.listen(64)
        self.name = name
        self.thread = threading.Thread(target=self._streams if stream else self._datagrams, daemon=True)
        self.thread.start()

    def _streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, client = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(f"{self.name} {client[0]}".encode())

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, client = self.socket.recvfrom(2048)
                if not data:
                    return
                self.socket.sendto(f"{self.name} {client[0]}".encode(), client)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(1)


def run(*words: str) -> str:
    """A program; its output. Fails the test with what it said."""
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, f"{' '.join(words)}: {result.stderr}{result.stdout}"
    return result.stdout


def all_had_a_turn() -> None:
    """Waits until threads that are ready to run have run: while a machine stands still, silence means nothing."""
    for _ in range(3):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        time.sleep(0.01)


def ask(space: Space | None, address: str, port: int, kind: str = "tcp", source: str = "") -> str:
    """What a server answers from within `space` (None: the host); "refused", "unreachable" or, twice, "silence"."""
    answer = _asked(space, address, port, kind, source, QUICK)
    if answer == "silence":
        all_had_a_turn()
        answer = _asked(space, address, port, kind, source, SURE)
    return answer


def _asked(space: Space | None, address: str, port: int, kind: str, source: str, timeout: float) -> str:
    stream = kind == "tcp"
    with space.inside() if space else contextlib.nullcontext():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    with client:
        client.settimeout(timeout)
        try:
            if source:
                client.bind((source, 0))
            client.connect((address, port))
            if not stream:
                client.send(b"?")
            return client.recv(2048).decode() or "closed"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silence"
        except OSError as error:
            return f"unreachable ({error.strerror})"


def binding(port: int, target: int = 80, host_ip: str = "127.0.0.1", protocol: str = "tcp") -> PortBinding:
    return {"host_ip": host_ip, "published": port, "target": target, "protocol": protocol}


class Lab:
    """The host with its neighbours, and a manager on a root of its own."""

    def __init__(self, folder: Path) -> None:
        self.spaces: list[Space] = []
        self.servers: list[Server] = []
        self.managers: list[NetworkManager] = []
        self.folder = folder
        self.store = Store(str(folder / "root"), create=True)
        self.lan, self.far = self.space(), self.space()
        for name, peer, host, other in (("eth0", self.lan, HOST, LAN), ("eth1", self.far, HOST_FAR, FAR)):
            run("ip", "link", "add", name, "type", "veth", "peer", "name", "up0")
            run("ip", "link", "set", "up0", "netns", f"/proc/{os.getpid()}/fd/{peer.fd}")
            run("ip", "address", "add", f"{host}/24", "dev", name)
            run("ip", "link", "set", name, "up")
            peer.run("ip", "address", "add", f"{other}/24", "dev", "up0")
            peer.run("ip", "link", "set", "up0", "up")
            peer.run("ip", "link", "set", "lo", "up")
            peer.run("ip", "route", "add", "default", "via", host)
        run("ip", "route", "add", "default", "via", LAN)
        for name in ("eth0", "eth1"):
            wait_for(lambda name=name: "state UP" in run("ip", "link", "show", name), f"{name} is up")
        self.manager = self.new_manager()

    def new_manager(self, store: Store | None = None, **how: Any) -> NetworkManager:
        manager = NetworkManager(store or self.store, **how)
        self.managers.append(manager)
        return manager

    def other_root(self, name: str) -> NetworkManager:
        return self.new_manager(Store(str(self.folder / name), create=True))

    def space(self) -> Space:
        space = Space()
        self.spaces.append(space)
        return space

    def network(self, name: str, *, internal: bool = False, subnet: str = "") -> Network:
        return self.manager.create({"name": name, "internal": internal, **({"subnet": subnet} if subnet else {})})

    def container(self, name: str, *networks: Network, manager: NetworkManager | None = None) -> Container:
        container = Container(name.encode().hex().ljust(64, "0"))
        self.spaces.append(container)
        for index, network in enumerate(networks):
            info = (manager or self.manager).attach(
                container.id, container.fd, network, {"aliases": [name]}, f"eth{index}"
            )
            container.endpoints.append(info)
        if networks:
            container.ip_address = container.endpoints[0]["ip_address"]
        return container

    def serve(
        self, space: Space | None, name: str, port: int = 80, address: str = "0.0.0.0", kind: str = "tcp"
    ) -> Server:
        server = Server(space, name, port, address, kind)
        self.servers.append(server)
        return server

    def publish(self, container: Container, *bindings: PortBinding, share: str = "") -> list[PortBinding]:
        return self.manager.publish(container.id, list(bindings), container.ip_address, share)

    def close(self) -> None:
        for server in self.servers:
            server.close()
        for manager in self.managers:
            manager.close()
        for space in self.spaces:
            space.close()


@contextlib.contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    """A lab in a namespace of its own; the calling thread plays the host."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    shared, forwarding.STATE = forwarding.STATE, str(folder / "run")
    try:
        unshare(CLONE_NEWNET)
        run("ip", "link", "set", "lo", "up")
        # A new namespace starts with what the machine's own has.
        sysctl.write("net/ipv4/ip_forward", "0")
        lab = Lab(folder)
        try:
            yield lab
        finally:
            lab.close()
    finally:
        forwarding.STATE = shared
        setns(home, CLONE_NEWNET)
        os.close(home)


@pytest.fixture(name="lab")
def lab_fixture(tmp_path: Path) -> Iterator[Lab]:
    """A fresh lab."""
    with laboratory(tmp_path) as lab:
        yield lab


def traces() -> dict[str, Any]:
    """All that the network room could leave behind in the namespace of the caller."""
    names = [line.split(":")[1].split("@")[0].strip() for line in run("ip", "-o", "link").splitlines()]
    return {
        "links": sorted(name for name in names if name.startswith(("sp-", "sv"))),
        "tables": run("nft", "list", "tables"),
        "forward": sysctl.read("net/ipv4/ip_forward"),
        "routes": run("ip", "route", "show", "table", "all"),
    }
