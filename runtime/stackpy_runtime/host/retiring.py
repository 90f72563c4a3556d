"""How a supervisor makes room for one of another version, under running containers.

A client says which version it is. Where that is another one and nothing else is being carried out, the supervisor
answers with what the next keeper must hold (the controlling sides of terminals) and with the launch lock, tells its
keeper, and ends. The client starts a pair of processes of its own version under that lock. The keeper stays as the
parent of its containers until they have ended, and notes how; it starts no supervisor any more.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.lifecycle import Lifecycle


def lock(root: str) -> int:
    """The launch lock, held; -1 where somebody else holds it."""
    descriptor = os.open(f"{root}/run/launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor


def is_idle(lifecycle: Lifecycle) -> bool:
    """Whether no container is being started or ended."""
    with lifecycle.lock:
        return not any(live.launching or live.unfinished or live.ended is not None for live in lifecycle.lives.values())


def retire(lifecycle: Lifecycle, keeper: KeeperLink) -> tuple[list[str], list[int]]:
    """What the next keeper is to hold: names and descriptors; the keeper gives up what it listens on."""
    lifecycle.beginnings.spares.close()
    terminals = {f"io/{live.id}": live.terminal for live in list(lifecycle.lives.values()) if live.terminal >= 0}
    keeper.send({"op": "retire"})
    return list(terminals), list(terminals.values())
