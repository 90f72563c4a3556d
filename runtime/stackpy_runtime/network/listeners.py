"""Who on the host holds a port: for the message that says so."""

from __future__ import annotations

import os


def holder(protocol: str, host_ip: str, port: int) -> str:
    """`PID 12 (nginx)` of a process whose socket keeps `host_ip`:`port` taken, or "" when it cannot be found out."""
    inodes = {
        inode
        for name in (protocol, f"{protocol}6")
        for inode, address in _sockets(name, port)
        if _meets(address, host_ip)
    }
    return _process(inodes) if inodes else ""


def only_waiting(protocol: str, port: int) -> bool:
    """Whether a TCP port is taken by nothing but closed connections (TIME_WAIT), which have no inode."""
    return protocol == "tcp" and not any(inode for name in ("tcp", "tcp6") for inode, _ in _sockets(name, port))


def _sockets(name: str, port: int) -> list[tuple[int, str]]:
    """Inode and local address (hexadecimal, as /proc/net has it) of the sockets on a port."""
    try:
        with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return []
    wanted = f":{port:04X}"
    return [(int(row[9]), row[1].rpartition(":")[0]) for row in rows if row[1].endswith(wanted)]


def _meets(address: str, host_ip: str) -> bool:
    """Whether a socket bound to `address` is in the way of one bound to `host_ip`."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(host_ip.split(".")))
    return not address.strip("0") or host_ip == "0.0.0.0" or address.endswith(wanted)


def _process(inodes: set[int]) -> str:
    targets = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if not targets.isdisjoint(_links(f"/proc/{pid}/fd")):
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return f"PID {pid} ({file.read().strip()})"
            except OSError:
                return f"PID {pid}"
    return ""


def _links(folder: str) -> set[str]:
    """What the descriptors in a /proc/PID/fd stand for; those that are closed meanwhile are left out."""
    found = set()
    try:
        for name in os.listdir(folder):
            try:
                found.add(os.readlink(f"{folder}/{name}"))
            except OSError:
                continue
    except OSError:
        # It ended, or is not ours to look into.
        pass
    return found
