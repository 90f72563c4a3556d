"""Who is at the other end of a connection: a user of the host, by the name under which they logged in."""

from __future__ import annotations

import socket
import struct

_NOBODY = 2**32 - 1  # loginuid of what no login has started


def user(descriptor: int) -> str:
    """The user's name, or number; the one who logged in where they became root by sudo or su (/proc/PID/loginuid)."""
    line = socket.socket(fileno=descriptor)
    try:
        pid, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    finally:
        line.detach()
    try:
        with open(f"/proc/{pid}/loginuid", encoding="ascii") as file:
            login = int(file.read())
    except (OSError, ValueError):
        login = _NOBODY
    return _name(uid if login == _NOBODY else login)


def _name(uid: int) -> str:
    try:
        with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
            for entry in file:
                fields = entry.split(":", 3)
                if len(fields) == 4 and fields[2] == str(uid):
                    return fields[0]
    except OSError:
        pass
    return str(uid)
