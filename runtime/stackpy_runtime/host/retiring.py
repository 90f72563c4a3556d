"""How a supervisor makes room for one of another version, under running containers.

A client says which version it is. Where that is another one and nothing else is being carried out, the supervisor
answers with what the next keeper must hold (terminals and pipes of input) and with the launch lock, tells its
keeper, and ends. The client starts a pair of processes of its own version under that lock. The keeper stays as the
parent of its containers until they have ended, and notes how; it starts no supervisor any more.
"""

from __future__ import annotations

import fcntl
import os

from stackpy_runtime.host.wire import MOST_DESCRIPTORS

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
    lives = list(lifecycle.lives.values())
    held = {f"io/{live.id}": live.terminal for live in lives if live.terminal >= 0}
    # Whoever reads standard input would see its end, were nobody left who could write.
    held |= {f"stdin/{live.id}": live.stdin for live in lives if live.stdin >= 0}
    keeper.send({"op": "retire"})
    return list(held), list(held.values())


def parts(names: list[str], descriptors: list[int]) -> list[tuple[list[str], list[int]]]:
    """The same in messages, each with as many descriptors as one may have but for one of the caller's."""
    step = MOST_DESCRIPTORS - 1
    starts = range(0, max(1, len(names)), step)
    return [(names[start : start + step], descriptors[start : start + step]) for start in starts]
