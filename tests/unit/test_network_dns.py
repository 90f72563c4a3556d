"""Connections to the DNS server of containers, on loopback; the rest of it is looked at from inside containers."""

from __future__ import annotations

import asyncio
import socket
import warnings

from stackpy_runtime.network.dns import DnsServer


def test_a_connection_that_came_in_the_moment_of_the_stop_is_closed() -> None:
    async def stopped_at_once() -> bytes:
        server = DnsServer(lambda container_id, name: [])
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.create_server(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        server.serve("web", udp, tcp)
        with socket.create_connection(tcp.getsockname(), timeout=60) as connection:
            server._accept(server._clients["web"])
            server.stop("web")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return connection.recv(1)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert asyncio.run(stopped_at_once()) == b""
    assert [str(one.message) for one in told] == []
