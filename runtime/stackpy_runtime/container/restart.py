"""When a container that has ended is started again (Compose `restart`, Docker's back-off)."""

from __future__ import annotations

from stackpy_runtime.errors import InvalidConfig

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
# A run of at least this long starts the back-off anew (Docker: 10 s).
SETTLED = 10.0


def check(policy: str) -> str:
    """The policy, or InvalidConfig."""
    name, _, count = policy.partition(":")
    if name in ("no", "always", "unless-stopped") and not count:
        return policy
    if name == "on-failure" and (not count or count.isdigit()):
        return policy
    raise InvalidConfig(
        f"unknown restart policy `{policy}`", hint="one of no, always, unless-stopped, on-failure, on-failure:N"
    )


def wanted(policy: str, exit_code: int, restarts: int, *, stopped: bool) -> bool:
    """Whether to start it again; `stopped`: a user has stopped it."""
    name, _, count = policy.partition(":")
    if stopped or name == "no":
        return False
    if name == "on-failure":
        return exit_code != 0 and (not count or restarts < int(count))
    return True


def pause(previous: float, ran: float) -> float:
    """Seconds to wait before the next start: doubled after each short run, 0.1 s after a long one."""
    if ran >= SETTLED or not previous:
        return FIRST_PAUSE
    return min(previous * 2, LONGEST_PAUSE)
