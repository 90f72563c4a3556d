"""Processes that stand by to become a container's first stage.

Joining a control group waits for an RCU grace period in the kernel (5 to 20 ms on version 1, cgroup_attach_task), and a
user namespace needs a process of its own to be made: together more than all the rest of a start. So a few processes
have done both beforehand, each in a group of its own name and with an ID range of its own.
"""

from __future__ import annotations

import os
import socket
import threading
import time

from stackpy_runtime.container import ranges
from stackpy_runtime.container.cgroups import Group, Limits
from stackpy_runtime.container.sandbox import StandBy
from stackpy_runtime.errors import EngineError
from stackpy_runtime.host.keeper_link import KeeperLink

READY = 2
# Seconds without a start after which nobody stands by any longer.
PATIENCE = 30.0


class Spare:
    """One process that stands by: its group, its range of host IDs, and the line to it."""

    def __init__(self, root: str, keeper: KeeperLink) -> None:
        self.token = os.urandom(16).hex()
        self.group = Group(root, self.token)
        procs = self.group.create(Limits())
        self.first_id = 0
        try:
            self.first_id = ranges.acquire()
            plan: StandBy = {"name": "spare", "first_id": self.first_id, "cgroups": procs}
            self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                keeper.spawn("container", self.token, plan, theirs.fileno(), -1, [])
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Ends it: it leaves when its line is closed."""
        if hasattr(self, "channel"):
            self.channel.close()
        if self.first_id:
            ranges.release(self.first_id)
        self.group.kill()
        deadline = time.monotonic() + 1.0
        while not self.group.remove() and time.monotonic() < deadline:
            time.sleep(0.002)


class Spares:
    """Those that stand by. `take` never waits for another's start."""

    def __init__(self, root: str, keeper: KeeperLink) -> None:
        self.root, self.keeper = root, keeper
        self.lock = threading.Lock()
        self.ready: list[Spare] = []
        self.wanted = threading.Event()
        self.last_taken = time.monotonic()
        self.closed = False
        threading.Thread(target=self._fill, daemon=True).start()

    def take(self) -> Spare:
        """One of them, or a new one when all are taken."""
        with self.lock:
            self.last_taken = time.monotonic()
            spare = self.ready.pop(0) if self.ready else None
        self.wanted.set()
        return spare or Spare(self.root, self.keeper)

    def _fill(self) -> None:
        while True:
            self.wanted.wait()
            self.wanted.clear()
            # What runs now goes first.
            time.sleep(0.02)
            while not self.closed and len(self.ready) < READY:
                try:
                    spare = Spare(self.root, self.keeper)
                except (EngineError, OSError):
                    # The start that needs one will say why there is none.
                    break
                with self.lock:
                    if not self.closed:
                        self.ready.append(spare)
                        continue
                spare.discard()

    def rest(self, *, now: bool = False) -> None:
        """Lets them go when nothing has been started for a while, or `now`."""
        if not now and time.monotonic() - self.last_taken < PATIENCE:
            return
        with self.lock:
            going, self.ready = self.ready, []
        for spare in going:
            spare.discard()

    def close(self) -> None:
        """Lets all go for good."""
        self.closed = True
        self.rest(now=True)
