"""Starts what notes the system calls and capabilities of a container with `learn` (host/learner.py)."""

from __future__ import annotations

import os
import select
import time

from stackpy_runtime.errors import EngineError
from stackpy_runtime.host.launch import interpreter
from stackpy_runtime.linux import notifications

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.live import Live

_PATIENCE = 10.0
_CODE = (
    "import sys; sys.path[:0] = {path!r}; "
    "from stackpy_runtime.host import learner; learner.main({listener}, {pid}, {file!r}, {name!r}, beneath={beneath})"
)


def begin(live: Live, pid: int, pidfd: int) -> None:
    """Has somebody note what a process does that has just been told to go on; it waits for that in its first call.

    Raises EngineError when it holds nothing that could be noted by.
    """
    # These cost the supervisor a megabyte, and few containers learn.
    import subprocess
    import threading

    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    end = time.monotonic() + _PATIENCE
    while (listener := notifications.listener_of(pid, pidfd)) < 0:
        if ended.poll(2):
            return  # it says itself why
        if time.monotonic() > end:
            raise EngineError("its system calls cannot be noted", subject=f"container {live.name}")
    try:
        code = _CODE.format(
            path=_path(),
            listener=listener,
            pid=pid,
            file=f"{live.folder}/learned",
            name=live.name,
            beneath=live.config.get("init", False),
        )
        learner = subprocess.Popen(
            interpreter(code), pass_fds=(listener,), stdin=subprocess.DEVNULL, start_new_session=True, cwd="/"
        )
    finally:
        os.close(listener)
    threading.Thread(target=learner.wait, daemon=True).start()


def _path() -> list[str]:
    import sys

    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [package, *[other for other in sys.path if other.endswith("-packages") and other != package]]
