"""What a process that stands by is told to become."""

from __future__ import annotations

import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hand_over(line: socket.socket, document: dict[str, Any], descriptors: list[int]) -> bool:
    """Sends a document through a memory file, since a message has no room for it; False when nobody is there."""
    memory = os.memfd_create("plan", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(json.dumps(document).encode())
        socket.send_fds(line, [b"p"], [memory, *descriptors])
    except (BrokenPipeError, ConnectionResetError):
        return False
    finally:
        os.close(memory)
    return True
