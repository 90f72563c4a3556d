"""Which TCP and UDP sockets listen, in a process's network namespace, and who holds one of the host's: from /proc."""

from __future__ import annotations

import os

_LISTEN, _UNCONNECTED = "0A", "07"  # include/net/tcp_states.h: TCP_LISTEN, TCP_CLOSE for UDP


def listening(pid: int | str = "self", protocol: str = "tcp") -> frozenset[tuple[str, int]] | None:
    """(address, port) of the listening sockets that a process sees; None where that cannot be read."""
    rows = _rows(pid, protocol)
    return None if rows is None else frozenset((address, port) for address, port, _ in rows)


def holders(port: int, protocol: str = "tcp") -> list[str]:
    """The host's processes that hold a port, in words: `process 12 (nginx)`; their names only for who may see them."""
    inodes = {inode for _, number, inode in _rows("self", protocol) or () if number == port}
    if not inodes:
        return []
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            names = os.listdir(f"/proc/{entry}/fd")
            if any(_link(f"/proc/{entry}/fd/{name}") in wanted for name in names):
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(f"process {entry} ({words[:60] or 'a kernel thread'})")
        except OSError:
            continue  # it ended, or is another user's
    return found or ["a process that this user may not see"]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _rows(pid: int | str, protocol: str) -> list[tuple[str, int, str]] | None:
    """proc_net_tcp(5): local address in hexadecimal, each 32-bit word in the host's order; state; inode."""
    found = []
    seen = False
    for name in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/{pid}/net/{name}", encoding="ascii") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        seen = True
        for line in lines:
            fields = line.split()
            if fields[3] == (_LISTEN if protocol == "tcp" else _UNCONNECTED):
                host, _, port = fields[1].partition(":")
                found.append((_address(host), int(port, 16), fields[9]))
    return found if seen else None


def _address(text: str) -> str:
    import socket
    import struct

    words = [struct.pack("=I", int(text[place : place + 8], 16)) for place in range(0, len(text), 8)]
    packed = b"".join(words)
    if len(packed) == 16 and packed[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntoa(packed[12:])
    return socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed)
