"""Processes that stand by to become a container's first stage.

Joining a control group waits for an RCU grace period in the kernel (5 to 20 ms on version 1, cgroup_attach_task), and a
user namespace needs a process of its own to be made: together more than all the rest of a start. So a few pairs of
processes have done that and more beforehand (container/standby.py), each in a group of its own name, with an ID range
and a network namespace of its own.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time

from stackpy_runtime.container import ranges
from stackpy_runtime.container.cgroups import Group, parent_name
from stackpy_runtime.errors import EngineError, EngineUnavailable, from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.standby import StandBy
    from stackpy_runtime.host.keeper_link import KeeperLink

READY = 2
# Seconds after a start until its place is taken by another: about as long as the start itself.
AFTER = 0.03
MOST = 16  # that are made ready for starts which are expected
# Seconds without a start after which nobody stands by any longer.
PATIENCE = 30.0


class Spare:
    """One process that stands by, or is about to: its group, its range of host IDs, and the line to it."""

    def __init__(self, root: str, keeper: KeeperLink, above: str = "") -> None:
        self.token = os.urandom(16).hex()
        self.group = Group(parent_name(root, above), self.token)
        self.standing = False
        self.network = -1  # its network namespace, once it stands; close it with `release_network`
        self.first_id = ranges.acquire()
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                plan: StandBy = {
                    "name": "spare",
                    "parent": self.group.parent,
                    "group": self.token,
                    "first_id": self.first_id,
                }
                keeper.spawn("container", self.token, plan, theirs.fileno(), -1, [])
        except BaseException:
            self.channel.close()
            ranges.release(self.first_id)
            raise

    def await_standing(self) -> None:
        """Waits until it has joined its group; raises what kept it from that."""
        if self.standing:
            return
        data, descriptors, _, _ = socket.recv_fds(self.channel, 1 << 16, 1)
        if not data:
            raise EngineUnavailable("a process to start in has ended before it was ready")
        message = json.loads(data)
        if "error" in message:
            raise from_wire(message["error"])
        [self.network] = descriptors
        self.standing = True

    def is_whole(self) -> bool:
        """Whether it still stands: it says nothing before it has a plan, but what it failed at."""
        try:
            self.channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def release_network(self) -> None:
        """Lets go of its network namespace, which lives as long as its processes then."""
        if self.network >= 0:
            os.close(self.network)
            self.network = -1

    def discard(self) -> None:
        """Ends it: it leaves when its line is closed."""
        try:
            self.await_standing()
        except (EngineError, OSError):
            # It has ended already; what it had made is cleared below as far as it got.
            pass
        self.channel.close()
        self.release_network()
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
        self.expected = 0  # starts that somebody has announced
        self.wanted = threading.Event()
        self.last_taken = time.monotonic()
        self.closed = False
        threading.Thread(target=self._fill, daemon=True).start()

    def expect(self, starts: int) -> None:
        """Has as many stand by as will soon be needed."""
        with self.lock:
            self.expected = min(starts, MOST)
            self.last_taken = time.monotonic()
        self.wanted.set()

    def take(self, above: str = "") -> Spare:
        """One of them, or a new one when all are taken, or it is to be in a group of the user's, `above`."""
        with self.lock:
            self.last_taken = time.monotonic()
            self.expected = max(0, self.expected - 1)
            spare = self.ready.pop(0) if self.ready and not above else None
        self.wanted.set()
        if spare is not None:
            try:
                spare.await_standing()
                if spare.is_whole():
                    return spare
            except (EngineError, OSError):
                pass
            # What it failed at may be over: it was made a while ago.
            spare.discard()
        spare = Spare(self.root, self.keeper, above)
        try:
            spare.await_standing()
        except BaseException:
            spare.discard()
            raise
        return spare

    def _fill(self) -> None:
        while True:
            self.wanted.wait()
            self.wanted.clear()
            if self.expected <= READY:
                # What runs now goes first.
                time.sleep(AFTER)
            while not self.closed and len(self.ready) < max(READY, self.expected):
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
            going, self.ready, self.expected = self.ready, [], 0
        for spare in going:
            spare.discard()

    def close(self) -> None:
        """Lets all go for good."""
        self.closed = True
        self.rest(now=True)
