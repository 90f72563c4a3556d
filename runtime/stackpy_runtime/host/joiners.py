"""Processes that stand by to become a further process in a container: what the second `exec` in it does not wait for.

Joining a control group waits for an RCU grace period in the kernel (5 to 20 ms on version 1), which is longer than all
the rest of an exec. So after one in a container another process joins its groups at once, in none of its namespaces and
so seen by nothing in it, and waits a while for the next. It counts in the container's limits: one with few processes or
little memory has none.
"""

from __future__ import annotations

import os
import socket
import threading
import time

from stackpy_runtime.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.live import Live

PATIENCE = 10.0  # seconds without an exec after which it leaves
MOST = 4  # containers that have one
LEAST_MEMORY = 64 << 20


class Joiner:
    """One of them. start: of the container's first process, in clock ticks after boot"""

    def __init__(self, keeper: KeeperLink, live: Live, plan: dict[str, Any]) -> None:
        self.token, self.start, self.since = os.urandom(8).hex(), live.start, time.monotonic()
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                keeper.spawn("exec", self.token, plan, theirs.fileno(), -1, [])
        except BaseException:
            self.line.close()
            raise


class Joiners:
    """Those that stand by, at most one for a container. Safe from several threads."""

    def __init__(self, keeper: KeeperLink) -> None:
        self.keeper = keeper
        self.lock = threading.Lock()
        self.standing: dict[str, Joiner] = {}

    def take(self, live: Live) -> Joiner | None:
        """The one of a container that still runs as it did; it is the caller's to let go."""
        with self.lock:
            joiner = self.standing.pop(live.id, None)
        if joiner is not None and joiner.start != live.start:
            joiner.line.close()
            return None
        return joiner

    def prepare(self, live: Live) -> None:
        """Has one stand by for a container in which something was executed."""
        config, group = live.config, live.group
        memory = config.get("mem_limit") or LEAST_MEMORY
        if config.get("pids_limit") or config.get("runtime") or memory < LEAST_MEMORY or not live.container["image_id"]:
            return
        with self.lock:
            if group is None or not live.pid or live.id in self.standing or len(self.standing) >= MOST:
                return
            cgroups = [f"{path}/cgroup.procs" for path in dict.fromkeys(group.paths().values())]
            plan = {"name": live.name, "stands_by": True, "cgroups": cgroups}
            try:
                self.standing[live.id] = Joiner(self.keeper, live, plan)
            except (EngineError, OSError):
                # The next exec will say what is wrong.
                pass

    def discard(self, identity: str) -> None:
        """Lets the one of a container go, which has ended."""
        with self.lock:
            joiner = self.standing.pop(identity, None)
        if joiner is not None:
            joiner.line.close()

    def rest(self, *, now: bool = False) -> None:
        """Lets those go that nobody has needed for a while; all of them `now`."""
        before = time.monotonic() - PATIENCE
        with self.lock:
            old = [identity for identity, joiner in self.standing.items() if now or joiner.since < before]
        for identity in old:
            self.discard(identity)
