"""The DNS server that containers find at 127.0.0.11.

It answers from sockets that were made inside each container's namespace, so it knows who asks by the socket that the
question came through, and no neighbour can ask in another's place. What is not ours goes to the host's resolvers,
unless the container has no way out: then nothing leaves the host on its behalf.
"""

from __future__ import annotations

import asyncio

from stackpy_runtime.network import answers
from stackpy_runtime.network.upstream import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from stackpy_runtime.network.answers import Lookup, Question, Reverse

# What one container may keep us busy with, in questions on their way to the host's resolvers and in connections.
MAX_PENDING, MAX_STREAMS = 256, 32
_MAX_ALL_PENDING = 2048
_IDLE_SECONDS = 15.0
_BURST = 64  # questions read from one socket before others have their turn


class _Client:
    """One container: its sockets and what it waits for."""

    def __init__(
        self, container_id: str, datagrams: socket.socket, stream: socket.socket, servers: Sequence[str]
    ) -> None:
        self.id, self.datagrams, self.stream, self.servers = container_id, datagrams, stream, servers
        self.tasks: set[asyncio.Task[None]] = set()
        self.pending = self.streams = 0


class DnsServer:
    """Serves containers, on the running loop.

    lookup: (container ID, name in lower case) → its addresses; [] for a name that does not exist and may not be asked
        for outside; None to ask the host's resolvers
    reverse: (container ID, address) → a name, or None
    upstream: who is asked else
    """

    def __init__(self, lookup: Lookup, reverse: Reverse | None = None, upstream: Upstream | None = None) -> None:
        self._lookup = lookup
        self._reverse: Reverse = reverse or (lambda container_id, address: None)
        self._upstream = upstream or Upstream()
        self._clients: dict[str, _Client] = {}
        self._turn = self._pending = 0

    def serve(self, container_id: str, udp: socket.socket, tcp: socket.socket, servers: Sequence[str] = ()) -> None:
        """Answers what comes through a container's sockets (tcp: listening) from now on; takes the sockets over.

        servers: to ask for this container instead of the host's resolvers
        """
        self.stop(container_id)
        client = self._clients[container_id] = _Client(container_id, udp, tcp, servers)
        loop = asyncio.get_running_loop()
        for channel in (udp, tcp):
            channel.setblocking(False)
        loop.add_reader(udp.fileno(), self._read, client)
        loop.add_reader(tcp.fileno(), self._accept, client)

    def stop(self, container_id: str) -> None:
        """Answers no more, and closes the sockets."""
        client = self._clients.pop(container_id, None)
        if client is None:
            return
        loop = asyncio.get_running_loop()
        for channel in (client.datagrams, client.stream):
            loop.remove_reader(channel.fileno())
            channel.close()
        for task in client.tasks:
            task.cancel()

    # --- UDP --------------------------------------------------------------------------------------------------------

    def _read(self, client: _Client) -> None:
        for _ in range(_BURST):
            try:
                data, sender = client.datagrams.recvfrom(answers.EDNS_LIMIT * 4)
            except OSError:
                # Nothing more to read; or an ICMP error about a client that is gone.
                return
            question = answers.parse(data)
            if question is None:
                continue
            reply = self._own(client, question)
            if reply is not None:
                self._send(client, reply, sender)
            elif self._may_ask(client):
                self._start(client, self._forward_datagram(client, question, data, sender))
            else:
                refusal = answers.refusal(question, answers.SERVFAIL)
                self._send(client, answers.packed(question, refusal, stream=False), sender)

    async def _forward_datagram(
        self, client: _Client, question: Question, data: bytes, sender: tuple[str, int]
    ) -> None:
        self._send(client, await self._forwarded(client, question, data, stream=False), sender)

    @staticmethod
    def _send(client: _Client, data: bytes, sender: tuple[str, int]) -> None:
        try:
            client.datagrams.sendto(data, sender)
        except OSError:
            # The asker is gone, or does not read: it will ask again, if it cares.
            pass

    # --- TCP --------------------------------------------------------------------------------------------------------

    def _accept(self, client: _Client) -> None:
        try:
            connection, _ = client.stream.accept()
        except OSError:
            return
        if client.streams >= MAX_STREAMS:
            connection.close()
            return
        client.streams += 1
        connection.setblocking(False)
        task = self._start(client, self._converse(client, connection))

        # Not by the conversation itself: one that is stopped before its first step never comes to its end.
        def close(_: object) -> None:
            client.streams -= 1
            connection.close()

        task.add_done_callback(close)

    async def _converse(self, client: _Client, connection: socket.socket) -> None:
        """Questions on one connection, one after the other (RFC 7766), until the client or patience ends it."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                length = int.from_bytes(await self._exactly(connection, 2), "big")
                data = await self._exactly(connection, length)
                question = answers.parse(data)
                if question is None:
                    return
                reply = self._own(client, question, stream=True)
                if reply is None and self._may_ask(client):
                    reply = await self._forwarded(client, question, data, stream=True)
                elif reply is None:
                    refusal = answers.refusal(question, answers.SERVFAIL)
                    reply = answers.packed(question, refusal, stream=True)
                framed = len(reply).to_bytes(2, "big") + reply
                await asyncio.wait_for(loop.sock_sendall(connection, framed), _IDLE_SECONDS)
        except (OSError, TimeoutError, EOFError):
            # Hung up, or silent for too long.
            pass

    @staticmethod
    async def _exactly(connection: socket.socket, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < count:
            part = await asyncio.wait_for(loop.sock_recv(connection, count - len(data)), _IDLE_SECONDS)
            if not part:
                raise EOFError
            data += part
        return data

    # --- both -------------------------------------------------------------------------------------------------------

    def _own(self, client: _Client, question: Question, *, stream: bool = False) -> bytes | None:
        self._turn += 1
        reply = answers.answer(client.id, question, self._lookup, self._reverse, self._turn)
        return None if reply is None else answers.packed(question, reply, stream=stream)

    def _may_ask(self, client: _Client) -> bool:
        return client.pending < MAX_PENDING and self._pending < _MAX_ALL_PENDING

    async def _forwarded(self, client: _Client, question: Question, data: bytes, *, stream: bool) -> bytes:
        client.pending += 1
        self._pending += 1
        try:
            answer = await self._upstream.ask(data, stream=stream, servers=client.servers)
        finally:
            client.pending -= 1
            self._pending -= 1
        if answer is None:
            answer = answers.packed(question, answers.refusal(question, answers.SERVFAIL), stream=stream)
        return answer

    @staticmethod
    def _start(client: _Client, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        client.tasks.add(task)
        task.add_done_callback(client.tasks.discard)
        return task
