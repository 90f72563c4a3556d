"""The host's resolvers, asked on a container's behalf from the host's own namespace.

So a resolver on the host's loopback (systemd-resolved, dnsmasq) works, whatever the container could reach itself.
Each question leaves from a port of its own, connected to the server, with an ID of its own: an answer counts only
when address, port, ID and question fit. /etc/resolv.conf is read again when it changes (resolv.conf(5)).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLV_CONF = "/etc/resolv.conf"
PORT = 53
_MAX_SERVERS = 3  # MAXNS of resolv.h
_TIMEOUT_SECONDS, _ATTEMPTS = 2.5, 2
_MAX_MESSAGE = 65535
_SERVFAIL, _REFUSED = 2, 5
_HEADER = 12


class Settings(NamedTuple):
    """What resolv.conf says that matters here."""

    servers: list[str]
    timeout: float
    attempts: int


def settings(text: str) -> Settings:
    """The servers and options in a resolv.conf. Pure."""
    servers: list[str] = []
    timeout, attempts = _TIMEOUT_SECONDS, _ATTEMPTS
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif words and words[0] == "options":
            for option in words[1:]:
                name, _, value = option.partition(":")
                if name == "timeout" and value.isdigit():
                    timeout = float(min(max(int(value), 1), 30))
                elif name == "attempts" and value.isdigit():
                    attempts = min(max(int(value), 1), 5)
    # None named: the one on this machine, as resolv.conf(5) says.
    return Settings(servers[:_MAX_SERVERS] or ["127.0.0.1"], timeout, attempts)


def question(message: bytes) -> bytes:
    """The bytes of a message's first question, b"" when it has none or they are broken. Pure."""
    offset = _HEADER
    if len(message) < _HEADER or message[4:6] != b"\0\1":
        return b""
    while offset < len(message) and message[offset]:
        if message[offset] > 63:
            return b""
        offset += message[offset] + 1
    return message[_HEADER : offset + 5] if offset + 5 <= len(message) else b""


class Upstream:
    """Forwards questions. path, port: of another resolv.conf and server port than the host's, for tests."""

    def __init__(self, path: str = RESOLV_CONF, port: int = PORT) -> None:
        self._path, self._port = path, port
        self._read: tuple[int, int, int] | None = None
        self._settings = settings("")

    async def ask(self, query: bytes, *, stream: bool, servers: Sequence[str] = ()) -> bytes | None:
        """The answer to a container's query, with the query's ID; None when no resolver gave one.

        servers: to ask instead of the host's resolvers
        """
        current = self._current()
        last: bytes | None = None
        asked = question(query)
        if not asked:
            return None
        for _ in range(current.attempts):
            for server in servers or current.servers:
                identity = secrets.token_bytes(2)
                asking = (self._over_tcp if stream else self._over_udp)(server, identity + query[2:], asked)
                try:
                    answer = await asyncio.wait_for(asking, current.timeout)
                except (OSError, TimeoutError, EOFError):
                    continue
                last = query[:2] + answer[2:]
                # As glibc: a server that cannot or will not is no reason not to ask the next.
                if answer[3] & 0xF not in (_SERVFAIL, _REFUSED):
                    return last
            if last is not None:
                return last
        return None

    async def _over_udp(self, server: str, query: bytes, asked: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(_family(server), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as channel:
            channel.connect(self._address(server))
            await loop.sock_sendall(channel, query)
            while True:
                answer = await loop.sock_recv(channel, _MAX_MESSAGE)
                if _answers(answer, query, asked):
                    return answer

    async def _over_tcp(self, server: str, query: bytes, asked: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(_family(server), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as channel:
            await loop.sock_connect(channel, self._address(server))
            await loop.sock_sendall(channel, len(query).to_bytes(2, "big") + query)
            while True:
                length = int.from_bytes(await _exactly(channel, 2), "big")
                answer = await _exactly(channel, length)
                if _answers(answer, query, asked):
                    return answer

    def _address(self, server: str) -> tuple[str, int] | tuple[str, int, int, int]:
        if ":" not in server:
            return server, self._port
        host, _, zone = server.partition("%")
        return host, self._port, 0, socket.if_nametoindex(zone) if zone else 0

    def _current(self) -> Settings:
        try:
            found = os.stat(self._path)
            state = (found.st_mtime_ns, found.st_ino, found.st_size)
            if state != self._read:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._settings = settings(file.read())
                self._read = state
        except OSError:
            self._settings, self._read = settings(""), None
        return self._settings


def _family(server: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server else socket.AF_INET


def _answers(answer: bytes, query: bytes, asked: bytes) -> bool:
    """Whether a message is a reply to this query and no other."""
    return answer[:2] == query[:2] and len(answer) > _HEADER and bool(answer[2] & 0x80) and question(answer) == asked


async def _exactly(channel: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        part = await loop.sock_recv(channel, count - len(data))
        if not part:
            raise EOFError
        data += part
    return data
