"""Agents of ssh for RUN steps: a socket that forwards to the user's agent what a step may ask of it, and no more.

The agent's own socket is not shown: agents refuse peers of other users (a container's root is one), and a step could
lock the agent, or take its keys away. As BuildKit, the forwarder lets keys be listed and used to sign, and refuses all
else (draft-miller-ssh-agent, section 3; BuildKit's readOnlyAgent).
"""

from __future__ import annotations

import os
import socket
import struct
import threading

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.store.root import Root

_LIST, _SIGN = 11, 13  # SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST
_REFUSED = struct.pack(">IB", 1, 5)  # SSH_AGENT_FAILURE
_LENGTH = struct.Struct(">I")
_LONGEST = 256 << 10  # bytes of a message, as OpenSSH's agent
_AT_ONCE = 32  # connections


class forwarded:
    """A context manager: the path of a socket that forwards to the agent at `agent` meanwhile.

    mode, owner: of the socket, as inside
    Raises EngineError when no agent listens.
    """

    def __init__(self, root: Root, agent: str, mode: int, owner: tuple[int, int]) -> None:
        self._root, self._agent, self._mode, self._owner = root, agent, mode, owner
        self._open = threading.Semaphore(_AT_ONCE)
        self._lines: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._closed = False

    def __enter__(self) -> str:
        self._connect().close()
        self._folder = layers.reserve(self._root)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # A path through the descriptor, since that of the folder may be too long for an address (unix(7)).
                self._listener.bind(f"/proc/self/fd/{folder}/agent")
            finally:
                os.close(folder)
            path = f"{self._folder}/agent"
            os.chown(path, *self._owner)
            os.chmod(path, self._mode)
            self._listener.listen(_AT_ONCE)
        except BaseException:
            self._listener.close()
            layers.discard(self._root, self._folder)
            raise
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return path

    def __exit__(self, *exception: object) -> None:
        with self._guard:
            self._closed = True
            lines = list(self._lines)
        for line in (self._listener, *lines):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended already
        self._thread.join()
        self._listener.close()
        layers.discard(self._root, self._folder)

    def _connect(self) -> socket.socket:
        agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            agent.connect(self._agent)
        except OSError as error:
            agent.close()
            reason = (error.strerror or str(error)).lower()
            raise EngineError(f"no agent listens at `{self._agent}`: {reason}", hint="check --ssh") from None
        return agent

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with self._guard:
                if self._closed:
                    line.close()
                    return
                self._lines.add(line)
            if not self._open.acquire(blocking=False):
                self._leave(line)
                continue
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _leave(self, line: socket.socket) -> None:
        with self._guard:
            self._lines.discard(line)
        line.close()

    def _serve(self, line: socket.socket) -> None:
        try:
            with self._connect() as agent:
                while (request := _message(line)) is not None:
                    if request[:1] not in (bytes([_LIST]), bytes([_SIGN])):
                        line.sendall(_REFUSED)
                        continue
                    agent.sendall(_LENGTH.pack(len(request)) + request)
                    answer = _message(agent)
                    if answer is None:
                        return
                    line.sendall(_LENGTH.pack(len(answer)) + answer)
        except (OSError, EngineError):
            pass  # either side has gone: the step sees its connection end
        finally:
            self._open.release()
            self._leave(line)


def _message(line: socket.socket) -> bytes | None:
    """The next message, without its length; None at the end, and for one that is too long."""
    head = _exactly(line, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    return _exactly(line, length) if 0 < length <= _LONGEST else None


def _exactly(line: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = line.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data
