"""The end of everything that runs, for as long as our processes are away: at shutdown, or when a user stops the engine.

What is stopped so is no user's stop: the next supervisor starts it again where its policy says what a reboot would.
"""

from __future__ import annotations

import sys
import threading

from stackpy_runtime.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import Asked


def halt(lifecycle: Lifecycle, by: str, *, host: bool) -> list[str]:
    """Stops all containers at the same time, each with its stop signal and grace period; the names of those that ran.

    by: the user who asks; host: it is being shut down

    Raises EngineError when one does not end, once all others have.
    """
    asked: Asked = {"verb": "shutdown" if host else "system stop", "by": by}
    stopped: list[str] = []
    failed: list[EngineError] = []

    def stop(live: Live) -> None:
        try:
            lifecycle.halt(live, asked)
            stopped.append(live.name)
        except EngineError as error:
            failed.append(error)
            print(f"container {live.name} could not be stopped for a shutdown: {error}", file=sys.stderr)

    threads = [
        threading.Thread(target=stop, args=(live,)) for live in lifecycle.running() if live.container["image_id"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sorted(stopped)
