"""How containers live and end: hooks, health as it was found, and why a run has ended."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Hook(TypedDict):
    """A command of a container's life: before its main process, after that has started, before it is stopped."""

    command: list[str]
    user: NotRequired[str]  # absent: the container's
    privileged: NotRequired[bool]  # every capability of the container's user namespace, and no seccomp filter
    working_dir: NotRequired[str]  # absent: the container's
    environment: NotRequired[dict[str, str]]  # beside the container's


class HealthResult(TypedDict):
    """What one health check has found."""

    start: str
    end: str
    exit_code: int  # 0 healthy, 1 unhealthy, or the command's; -1: it did not end in time
    output: str


class HealthLog(TypedDict):
    """The last health checks of a container."""

    failing_streak: int
    log: list[HealthResult]  # the newest last


class Asked(TypedDict):
    """Who has asked for the end of a container."""

    verb: str  # stop, restart, kill, rm, run (a signal passed on); health and hook: we ourselves
    by: NotRequired[str]  # a user of the host
    signal: NotRequired[str]  # the last that was sent
    at: NotRequired[float]  # when a signal was sent, seconds since 1970
    how: NotRequired[str]  # what was unusual about it, for people
    hint: NotRequired[str]


class Ending(TypedDict):
    """Why the last run of a container has ended."""

    cause: Literal["exit", "signal", "out-of-memory", "stopped", "unhealthy", "hook", "start", "unknown"]
    text: str
    hint: str
    signal: NotRequired[str]  # that ended it: SIGKILL
    memory_limit: NotRequired[int]  # bytes; 0: none
    memory_peak: NotRequired[int]


class Crash(TypedDict):
    """An end that nobody has asked for, kept when its container has long been replaced."""

    id: str
    name: str
    resource: str  # an address
    image: str
    started_at: str
    finished_at: str
    exit_code: int | None
    restart_count: int
    ending: Ending
    output: list[str]  # the last lines that it wrote
    health: NotRequired[HealthLog]
