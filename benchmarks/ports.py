"""Published ports: bytes, requests on one connection, and new connections, as a client on the same host meets them."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import Row, said
from benchmarks.terminals import Engine

if TYPE_CHECKING:
    from benchmarks.peers import Docker

PORT = 18080
GIGABYTE, REQUESTS, CONNECTIONS = 1_000_000_000, 10_000, 1_000

# A line asks for so many bytes.
SERVER = """
import socket, threading
block = bytes(1 << 20)
def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as asked:
        for line in asked:
            left = int(line)
            while left > 0:
                left -= connection.send(block[:left])
listening = socket.create_server(("", 8000), backlog=512)
while True:
    threading.Thread(target=serve, args=listening.accept()[:1], daemon=True).start()
"""

CLIENT = f"""
import socket, time
def connect():
    connection = socket.create_connection(("127.0.0.1", {PORT}))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
def ask(connection, amount):
    connection.sendall(b"%d\\n" % amount)
    while amount:
        got = connection.recv_into(place)
        assert got, "the connection was closed"
        amount -= got
place = bytearray(1 << 20)
for attempt in range(100):  # until the server listens
    try:
        with connect() as connection:
            ask(connection, 1)
        break
    except (OSError, AssertionError):
        time.sleep(0.1)
with connect() as connection:
    times = [time.perf_counter()]
    ask(connection, {GIGABYTE})
    times.append(time.perf_counter())
    for number in range({REQUESTS}):
        ask(connection, 1)
    times.append(time.perf_counter())
for number in range({CONNECTIONS}):
    with connect() as connection:
        ask(connection, 1)
times.append(time.perf_counter())
print(*[(after - before) * 1000 for before, after in zip(times, times[1:])])
"""


class Ports:
    """image: with Python in it, and known to both."""

    def __init__(self, image: str, ours: list[str], environment: dict[str, str], docker: Docker) -> None:
        self.image = image
        self.ours, self.theirs = Engine(ours, environment), Engine(["docker"], docker.environment)
        self.enter = ["nsenter", "-t", str(docker.process.pid), "-n"]

    def rows(self, rounds: int) -> list[Row]:
        """All of them."""
        for engine in (self.ours, self.theirs):
            words = ("-p", f"127.0.0.1:{PORT}:8000", self.image, "python3", "-c", SERVER)
            engine.call("run", "-d", "--name", "ports", *words)
        try:
            found = [(self._client([]), self._client(self.enter)) for _ in range(rounds)]
        finally:
            for engine in (self.ours, self.theirs):
                engine.call("rm", "-f", "ports")
        works = ("1 GB through", f"{REQUESTS:,} requests on one connection to", f"{CONNECTIONS:,} new connections to")
        rows = []
        for index, work in enumerate(works):
            ours, theirs = (statistics.median(side[index] for side in sides) for sides in zip(*found, strict=True))
            names = ("stackpy run -p", "docker run -p")
            rows.append(said(Row(f"{work} a published port", *names, ours, theirs, ours / theirs, 1.0, rounds)))
        return rows

    def _client(self, before: list[str]) -> list[float]:
        result = subprocess.run([*before, sys.executable, "-c", CLIENT], capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"the client of the published port has failed\n{result.stderr}")
        return [float(word) for word in result.stdout.split()]
