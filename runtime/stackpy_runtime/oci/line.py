"""The line of a container's first process: to `create` until all is set, then to whoever starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from stackpy_runtime.container.execution import ENGINE_FAILED, Channel

if TYPE_CHECKING:
    from types import FrameType

WORD = 1 << 16  # bytes of what `create` answers
# Of those that a process of ours obeys while it waits; PID 1 of a namespace would take none of them by default.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Line(Channel):
    """Messages are those of Channel, besides {"at": "namespaces"}, answered by the container's state.

    listener: the socket on which `start` is awaited, or -1 for a process that runs at once
    agent: connected to a seccomp agent, or -1
    """

    def __init__(self, descriptor: int, listener: int = -1, agent: int = -1) -> None:
        super().__init__(descriptor)
        self.listener, self.agent = listener, agent
        self.kept: list[int] = []
        self.told: dict[str, Any] = {}

    def descriptors(self) -> list[int]:
        """All that it needs until execve."""
        return [each for each in (self.fileno(), self.listener, self.agent, *self.kept) if each >= 0]

    def ask(self, at: str) -> dict[str, Any]:
        """Says how far it is and waits for the answer; the process ends when nobody is there to give one."""
        self.send({"at": at})
        data = self.socket.recv(WORD)
        if not data:
            os._exit(ENGINE_FAILED)
        found: dict[str, Any] = json.loads(data)
        return found

    def wait(self) -> None:
        """Says that all is set, and waits until somebody starts the container."""
        self.told = self.ask("ready")
        if self.listener < 0:
            return
        for number in ENDING:
            signal.signal(number, _end)
        with socket.socket(fileno=self.listener) as listener:
            self.socket.close()
            self.socket = listener.accept()[0]
        self.listener = -1
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)

    def hand_on(self, listener: int) -> None:
        """Gives a filter's listener to the agent with its document (config-linux.md, "Container Process State")."""
        with socket.socket(fileno=self.agent) as agent:
            socket.send_fds(agent, [json.dumps(self.told["process"]).encode()], [listener])
        self.agent = -1
        os.close(listener)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
