"""What the last health checks of a container have found, kept in its folder, where `inspect` finds it without us.

Docker's State.Health: the last five results, 4,096 bytes of output of each.
"""

from __future__ import annotations

import os

from stackpy_runtime import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import HealthLog, HealthResult

KEPT = 5
OUTPUT_KEPT = 4096


def empty() -> HealthLog:
    """Before the first check."""
    return {"failing_streak": 0, "log": []}


def added(log: HealthLog, result: HealthResult, failing_streak: int) -> HealthLog:
    """The log with one more result."""
    return {"failing_streak": failing_streak, "log": [*log["log"][1 - KEPT :], result]}


def write(folder: str, log: HealthLog) -> None:
    """Keeps the log; a full disk costs nothing but the log."""
    try:
        with open(f"{folder}/health.new", "w", encoding="utf-8") as file:
            file.write(json_text.dumps(log))
        os.rename(f"{folder}/health.new", f"{folder}/health")
    except OSError:
        return


def read(folder: str) -> HealthLog:
    """What is kept of a container's checks."""
    try:
        with open(f"{folder}/health", encoding="utf-8") as file:
            log: HealthLog = json_text.loads(file.read())
        return log if isinstance(log, dict) and "log" in log else empty()
    except (OSError, ValueError):
        return empty()
