"""How the processes talk: frames over a UNIX stream socket, with descriptors where a message has some.

A frame is one byte of kind, four bytes of length (big endian), and the payload: marshalled values for messages, raw
bytes for streams. Descriptors travel with the head (unix(7): ancillary data is a barrier of its own in a stream).

marshal and not json, whose import of `re` would be a fifth of a `run`. Both ends are root's (the socket has mode 0600
in a folder of root), and every Python since 3.4 reads version 4 of the format: who can write here needs no flaw in it.
What comes out of a container's namespaces never travels this way (container/execution.py).
"""

from __future__ import annotations

# `socket` costs 8 ms to import, `_socket` less than one: this module is on the way of every `run`.
import _socket
import marshal
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

HEAD = struct.Struct(">cI")
MESSAGE, STDIN, STDOUT, STDERR = b"M", b"I", b"1", b"2"
_FORMAT = 4  # of marshal
LARGEST = 64 << 20
MOST_DESCRIPTORS = 64


LONGEST_ADDRESS = 107  # bytes of sun_path (unix(7)) but for its NUL


def addressed(path: str, use: Callable[[str], None]) -> None:
    """Calls `use` with `path`, or where that is too long for a socket with one through its folder's descriptor."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        use(path)
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)


class Closed(ConnectionError):
    """The other side has closed the connection between two frames."""


class Connection:
    """One end of a connection. Not for several threads at once in one direction."""

    def __init__(self, descriptor: int) -> None:
        self.socket: socket.socket | _socket.socket = _socket.socket(fileno=descriptor)

    @classmethod
    def connect(cls, path: str) -> Connection:
        """A connection to the socket at `path`; OSError when nobody listens."""
        opened = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            addressed(path, opened.connect)
        except OSError:
            opened.close()
            raise
        return cls(opened.detach())

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def send(self, message: Any, descriptors: tuple[int, ...] | list[int] = ()) -> None:
        """Sends a message (plain values: what JSON knows, and bytes), with descriptors."""
        self.send_raw(MESSAGE, marshal.dumps(message, _FORMAT), descriptors)

    def send_raw(self, kind: bytes, payload: bytes, descriptors: tuple[int, ...] | list[int] = ()) -> None:
        """Sends a frame."""
        data = HEAD.pack(kind, len(payload)) + payload
        rights = struct.pack(f"{len(descriptors)}i", *descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if descriptors else []
        sent = self.socket.sendmsg([data], ancillary)
        if sent < len(data):
            self.socket.sendall(memoryview(data)[sent:])

    def receive_raw(self) -> tuple[bytes, bytes, list[int]]:
        """The next frame: kind, payload, descriptors (the caller's to close). Raises Closed at the end."""
        descriptors: list[int] = []
        head = b""
        size = _socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
        while len(head) < HEAD.size:
            part, ancillary, _, _ = self.socket.recvmsg(HEAD.size - len(head), size, _socket.MSG_CMSG_CLOEXEC)
            for level, kind, data in ancillary:
                if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                    descriptors += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
            if not part:
                raise Closed
            head += part
        kind_byte, length = HEAD.unpack(head)
        if length > LARGEST:
            raise ConnectionError(f"a message of {length} bytes is more than the {LARGEST} allowed")
        payload = bytearray(length)
        view, done = memoryview(payload), 0
        while done < length:
            count = self.socket.recv_into(view[done:])
            if not count:
                raise Closed
            done += count
        return kind_byte, bytes(payload), descriptors

    def receive(self) -> tuple[Any, list[int]]:
        """The next message and its descriptors."""
        kind, payload, descriptors = self.receive_raw()
        if kind != MESSAGE:
            raise ConnectionError(f"unexpected frame {kind!r}")
        return decoded(payload), descriptors


def decoded(payload: bytes) -> Any:
    """The message of a frame's payload; raises ConnectionError for anything else."""
    try:
        return marshal.loads(payload)  # noqa: S302 — see above who can write it
    except (EOFError, ValueError, TypeError) as error:
        raise ConnectionError(f"not a message: {error}") from None


def close_all(descriptors: list[int]) -> None:
    """Closes descriptors that came with a message and are not wanted."""
    for descriptor in descriptors:
        os.close(descriptor)
