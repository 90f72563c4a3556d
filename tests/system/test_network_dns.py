"""The DNS server, asked from inside containers' namespaces, with a fake resolver of the host beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest

from stackpy_runtime.network.dns import DnsServer
from stackpy_runtime.network.upstream import Upstream
from tests.network_lab import Container, Lab, lab_fixture  # noqa: F401
from tests.waiting import wait_for

pytestmark = pytest.mark.root

Answer = Callable[[bytes, bool], list[bytes]]


def reply(query: bytes, *addresses: str, code: int = 0) -> bytes:
    answer = dnslib.DNSRecord.parse(query).reply()
    for address in addresses:
        answer.add_answer(dnslib.RR(answer.q.qname, dnslib.QTYPE.A, ttl=60, rdata=dnslib.A(address)))
    answer.header.rcode = code
    return bytes(answer.pack())


class Resolver:
    """A resolver of the host: answers as told, and notes what it was asked. UDP and TCP on one port of 127.0.0.1."""

    def __init__(self, address: str = "127.0.0.53", port: int = 5300) -> None:
        self.asked: list[tuple[str, str]] = []
        self.sources: list[int] = []
        self.identities: list[int] = []
        self.answer: Answer = lambda query, stream: [reply(query, "192.0.2.80")]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.tcp = socket.create_server((address, port))
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._datagrams, self._streams)]
        for thread in self.threads:
            thread.start()

    def _note(self, query: bytes, kind: str, port: int) -> None:
        record = dnslib.DNSRecord.parse(query)
        self.asked.append((kind, str(record.q.qname)))
        self.sources.append(port)
        self.identities.append(record.header.id)

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, client = self.udp.recvfrom(4096)
                if not query:
                    return
                self._note(query, "udp", client[1])
                for data in self.answer(query, False):
                    self.udp.sendto(data, client)

    def _streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, client = self.tcp.accept()
                with connection:
                    query = connection.recv(4096)[2:]
                    self._note(query, "tcp", client[1])
                    for data in self.answer(query, True):
                        connection.sendall(len(data).to_bytes(2, "big") + data)

    def close(self) -> None:
        for channel in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
            channel.close()
        for thread in self.threads:
            thread.join(1)


class Names:
    """Who may ask for what: container → name → addresses; `internal` ones hear of nothing else."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, list[str]]] = {}
        self.internal: set[str] = set()

    def lookup(self, container: str, name: str) -> list[str] | None:
        found = self.known.get(container, {}).get(name)
        return found or ([] if container in self.internal else None)

    def reverse(self, container: str, address: str) -> str | None:
        for name, addresses in self.known.get(container, {}).items():
            if address in addresses:
                return name
        return None


class World:
    """A lab, the server on a loop of its own thread, and the host's resolver."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.names = lab, Names()
        self.resolver = Resolver()
        self.conf = folder / "resolv.conf"
        self.conf.write_text("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
        self.loop = asyncio.new_event_loop()
        self.server = DnsServer(self.names.lookup, self.names.reverse, Upstream(str(self.conf), 5300))
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.ids: list[str] = []

    def call(self, work: Callable[..., Any], *arguments: Any) -> None:
        done = threading.Event()

        def run() -> None:
            work(*arguments)
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(60)

    def serve(self, container: Container) -> Container:
        udp, tcp = self.lab.manager.prepare_dns(container.fd)
        self.call(self.server.serve, container.id, udp, tcp)
        self.ids.append(container.id)
        return container

    def close(self) -> None:
        for identity in self.ids:
            self.call(self.server.stop, identity)
        # Cancelled conversations get their turn to close what they hold.
        self.call(lambda: None)
        self.call(lambda: None)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.resolver.close()


@pytest.fixture(name="world")
def world_fixture(lab: Lab, tmp_path: Path) -> Iterator[World]:
    world = World(lab, tmp_path)
    try:
        yield world
    finally:
        world.close()


def query(container: Container, name: str, kind: str = "A", *, stream: bool = False, raw: bytes = b"") -> Any:
    """The answer that a program in the container gets at 127.0.0.11:53, None for none."""
    data = raw or bytes(dnslib.DNSRecord.question(name, kind).pack())
    with container.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    with client:
        client.settimeout(60 if not raw else 0.3)
        client.connect(("127.0.0.11", 53))
        try:
            if stream:
                client.sendall(len(data).to_bytes(2, "big") + data)
                length = int.from_bytes(client.recv(2), "big")
                answer = b""
                while len(answer) < length:
                    answer += client.recv(length - len(answer))
            else:
                client.send(data)
                answer = client.recv(65535)
        except TimeoutError:
            return None
    record = dnslib.DNSRecord.parse(answer)
    if not raw:
        assert record.header.id == int.from_bytes(data[:2], "big")
    return record


def addresses(record: Any) -> list[str]:
    return [str(entry.rdata) for entry in record.rr]


def status(record: Any) -> str:
    return str(dnslib.RCODE[record.header.rcode])


@pytest.mark.parametrize("stream", [False, True])
def test_names_of_the_networks(world: World, stream: bool) -> None:
    network = world.lab.network("front")
    web, db = world.serve(world.lab.container("web", network)), world.lab.container("db", network)
    world.names.known[web.id] = {"db": [db.ip_address], "web": [f"10.201.0.{number}" for number in range(7, 10)]}
    aaaa, mail = query(web, "db", "AAAA", stream=stream), query(web, "db", "MX", stream=stream)
    turns = {tuple(addresses(query(web, "web", stream=stream))) for _ in range(6)}
    pointer = query(web, ".".join(reversed(db.ip_address.split("."))) + ".in-addr.arpa", "PTR", stream=stream)
    assert {
        "A": addresses(query(web, "db", stream=stream)),
        "whatever the case": addresses(query(web, "dB.", stream=stream)),
        "its case comes back": str(query(web, "dB.", stream=stream).q.qname),
        "ttl": query(web, "db", stream=stream).rr[0].ttl,
        "AAAA": (status(aaaa), addresses(aaaa)),
        "MX": (status(mail), addresses(mail)),
        "PTR": addresses(pointer),
        "replicas": turns,
        "asked outside": world.resolver.asked,
    } == {
        "A": [db.ip_address],
        "whatever the case": [db.ip_address],
        "its case comes back": "dB.",
        "ttl": 2,
        "AAAA": ("NOERROR", []),
        "MX": ("NOERROR", []),
        "PTR": ["db."],
        "replicas": {
            ("10.201.0.7", "10.201.0.8", "10.201.0.9"),
            ("10.201.0.8", "10.201.0.9", "10.201.0.7"),
            ("10.201.0.9", "10.201.0.7", "10.201.0.8"),
        },
        "asked outside": [],
    }


def test_port_53_stays_the_containers(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    world.names.known[web.id] = {"db": ["10.201.0.9"]}
    with web.inside():
        sockets = [
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        ]
    for own in sockets:
        own.bind(("0.0.0.0", 53))
        own.close()
    # And a server of its own is heard, beside ours.
    world.lab.serve(web, "mine", 53, kind="udp")
    with web.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(60)
        client.sendto(b"?", ("127.0.0.1", 53))
        assert client.recv(100) == b"mine 127.0.0.1"
    assert addresses(query(web, "db")) == ["10.201.0.9"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_ours_goes_to_the_hosts_resolver(world: World, stream: bool) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    assert addresses(query(web, "example.org", stream=stream)) == ["192.0.2.80"]
    assert world.resolver.asked == [("tcp" if stream else "udp", "example.org.")]


def test_a_change_of_resolv_conf_is_seen(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    assert addresses(query(web, "example.org")) == ["192.0.2.80"]
    other = Resolver("127.0.0.54")
    other.answer = lambda data, stream: [reply(data, "192.0.2.54")]
    try:
        fresh = world.conf.with_suffix(".new")
        fresh.write_text("nameserver 127.0.0.54\n")
        os.replace(fresh, world.conf)
        assert addresses(query(web, "example.org")) == ["192.0.2.54"]
    finally:
        other.close()


def test_the_next_resolver_is_asked_when_one_fails(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    other = Resolver("127.0.0.54")
    other.answer = lambda data, stream: [reply(data, code=2)]
    world.conf.write_text("nameserver 127.0.0.99\nnameserver 127.0.0.54\nnameserver 127.0.0.53\n")
    try:
        assert addresses(query(web, "example.org")) == ["192.0.2.80"]
        assert other.asked == [("udp", "example.org.")]
    finally:
        other.close()
    world.conf.write_text("nameserver 127.0.0.99\n")
    assert status(query(web, "example.org")) == "SERVFAIL"


def test_a_long_answer_is_asked_for_again_over_tcp(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    many = [f"192.0.2.{number}" for number in range(1, 200)]

    def answer(data: bytes, stream: bool) -> list[bytes]:
        whole = dnslib.DNSRecord.parse(reply(data, *many))
        if not stream:
            whole.rr, whole.header.tc = [], 1
        return [bytes(whole.pack())]

    world.resolver.answer = answer
    assert query(web, "many.example.org").header.tc == 1
    assert len(addresses(query(web, "many.example.org", stream=True))) == 199
    # Our own, too.
    world.names.known[web.id] = {"web": many}
    short = query(web, "web")
    assert (short.header.tc, len(addresses(short)), str(short.q.qname)) == (1, 30, "web.")
    assert len(addresses(query(web, "web", stream=True))) == 199


def test_unsolicited_answers_are_ignored(world: World) -> None:
    """What an attacker on the way could try: another ID, another question, a query as an answer, noise; then truth."""
    web = world.serve(world.lab.container("web", world.lab.network("front")))

    def answer(data: bytes, stream: bool) -> list[bytes]:
        lie = reply(data, "192.0.2.66")
        another = bytearray(lie)
        another[13] ^= 1
        return [
            bytes([lie[0] ^ 1]) + lie[1:],
            bytes(another),
            data,
            b"",
            lie[:11],
            b"\xff" * 40,
            reply(data, "192.0.2.80"),
        ]

    world.resolver.answer = answer
    for _ in range(8):
        assert addresses(query(web, "example.org")) == ["192.0.2.80"]
    # Guessing takes both the port and the ID, each time anew.
    assert len(set(world.resolver.sources)) > 6
    assert len(set(world.resolver.identities)) > 6


def test_2024_29018_internal_only_containers_ask_nobody_outside(world: World) -> None:
    inner = world.lab.network("inner", internal=True)
    web = world.serve(world.lab.container("web", inner))
    world.names.internal.add(web.id)
    world.names.known[web.id] = {"db": ["10.201.0.9"]}
    assert {
        "ours": addresses(query(web, "db")),
        "outside": status(query(web, "secret.example.org")),
        "over TCP": status(query(web, "secret.example.org", stream=True)),
        "TXT": status(query(web, "secret.example.org", "TXT")),
        "PTR": status(query(web, "8.8.8.8.in-addr.arpa", "PTR")),
        "asked outside": world.resolver.asked,
    } == {
        "ours": ["10.201.0.9"],
        "outside": "NXDOMAIN",
        "over TCP": "NXDOMAIN",
        "TXT": "NXDOMAIN",
        "PTR": "NXDOMAIN",
        "asked outside": [],
    }


def test_each_hears_of_its_own_networks_only(world: World) -> None:
    front, back = world.lab.network("front"), world.lab.network("back")
    one, two = world.serve(world.lab.container("one", front)), world.serve(world.lab.container("two", back))
    world.names.known = {one.id: {"db": ["10.201.0.9"]}, two.id: {"db": ["10.201.16.9"]}}
    assert (addresses(query(one, "db")), addresses(query(two, "db"))) == (["10.201.0.9"], ["10.201.16.9"])


def test_junk_gets_no_answer_and_breaks_nothing(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    world.names.known[web.id] = {"db": ["10.201.0.9"]}
    header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    for junk in (
        b"x",
        header,
        header + b"\xc0\x0c\x00\x01\x00\x01",  # a name that points to itself
        header + b"\x3fshort",
        b"\x12\x34\x81\x80" + header[4:] + b"\x02db\x00\x00\x01\x00\x01",  # an answer
        b"\x12\x34\x01\x00\x00\x02" + header[6:] + b"\x02db\x00\x00\x01\x00\x01" * 2,
    ):
        assert query(web, "", raw=junk) is None
    chaos = query(web, "", raw=header + b"\x07version\x04bind\x00\x00\x10\x00\x03")
    update = query(web, "", raw=b"\x12\x34\x29\x00" + header[4:] + b"\x02db\x00\x00\x06\x00\x01")
    assert (status(chaos), status(update)) == ("REFUSED", "NOTIMP")
    assert addresses(query(web, "db")) == ["10.201.0.9"]
    assert world.resolver.asked == []


def test_many_questions_and_connections_are_bounded(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    world.names.known[web.id] = {"db": ["10.201.0.9"]}
    world.resolver.answer = lambda data, stream: []
    before = len(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as stack:
        with web.inside():
            flood = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        flood.connect(("127.0.0.11", 53))
        for number in range(1500):
            flood.send(bytes(dnslib.DNSRecord.question(f"n{number}.example.org").pack()))
        connections = []
        for _ in range(100):
            with web.inside():
                connections.append(stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
            connections[-1].settimeout(60)
            with contextlib.suppress(OSError):
                connections[-1].connect(("127.0.0.11", 53))
        assert addresses(query(web, "db")) == ["10.201.0.9"]
        assert len(os.listdir("/proc/self/fd")) < before + 100 + 450
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before + 1, "descriptors given back")


def test_after_stop_nobody_answers(world: World) -> None:
    web = world.serve(world.lab.container("web", world.lab.network("front")))
    world.call(world.server.stop, web.id)
    assert query(web, "", raw=bytes(dnslib.DNSRecord.question("db").pack())) is None
    with pytest.raises(ConnectionRefusedError):
        query(web, "db", stream=True)
