"""Which connections of a container that leaves are waited for."""

from __future__ import annotations

import os
import socket

import pytest

from stackpy_runtime.linux import connections
from stackpy_runtime.linux.connections import CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, LISTEN, SYN_RECV, Socket

PEER = socket.inet_aton("10.0.0.1") + bytes(12)
OWN = socket.inet_aton("127.0.0.1") + bytes(12)
SERVER = Socket(LISTEN, 80, bytes(16), 0, 0, 0, False)
QUIET = Socket(ESTABLISHED, 80, PEER, 0, 1, 5000, True)


@pytest.mark.parametrize(
    ("each", "busy"),
    [
        (QUIET, False),
        (QUIET._replace(sent=9000), True),
        (QUIET._replace(sent=9000, state=CLOSE_WAIT), True),
        (QUIET._replace(sent=9000, peer=OWN), False),
        (QUIET._replace(sent=9000, peer=bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")), False),
        (QUIET._replace(sent=9000, peer=bytes(15) + b"\x01"), False),
        (QUIET._replace(sent=9000, port=40000), False),
        (QUIET._replace(unsent=1), True),
        (QUIET._replace(unsent=1, state=FIN_WAIT1), True),
        (QUIET._replace(state=FIN_WAIT1), False),
        (QUIET._replace(spoken=False, received=10), True),
        (QUIET._replace(spoken=False, received=5000), False),
        (QUIET._replace(state=SYN_RECV), True),
    ],
)  # fmt: skip
def test_what_is_under_way(each: Socket, busy: bool) -> None:
    assert connections.count([SERVER, each], 1.0) == busy


def test_the_kernels_own_answers() -> None:
    """Over loopback everything is the namespace's own, so the parsed sockets are looked at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in connections.listening(os.getpid())
        with (
            socket.create_connection(("127.0.0.1", port)) as client,
            server.accept()[0] as accepted,
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, connections.NETLINK_SOCK_DIAG) as channel,
        ):
            client.sendall(b"question")
            accepted.recv(8)
            found = [each for each in connections._sockets(channel, socket.AF_INET) if each.port == port]
            assert {each.state for each in found} == {LISTEN, ESTABLISHED}
            (side,) = [each for each in found if each.state == ESTABLISHED]
            assert side.spoken and side.peer == OWN
            assert connections.count([SERVER._replace(port=port), side._replace(peer=PEER, sent=9000)], 1.0) == 1
