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


def wanted(policy: str, exit_code: int, restarts: int, *, stopped: bool, unhealthy: bool = False) -> bool:
    """Whether to start it again.

    stopped: a user has stopped it; unhealthy: it was ended by its health check, with `on_unhealthy` restart
    """
    name, _, count = policy.partition(":")
    if stopped:
        return False
    if unhealthy:
        return True
    if name == "no":
        return False
    if name == "on-failure":
        return exit_code != 0 and (not count or restarts < int(count))
    return True


def after_reboot(policy: str, *, stopped: bool) -> bool:
    """Whether a container that had ended before the host was restarted is started then.

    docs.docker.com, restart policies: `always` starts one that was stopped by hand, `unless-stopped` does not, and
    `on-failure` starts none when the daemon does. One that ran goes by `wanted`.
    """
    return policy == "always" or (policy == "unless-stopped" and not stopped)


def pause(previous: float, ran: float) -> float:
    """Seconds to wait before the next start: doubled after each short run, 0.1 s after a long one."""
    if ran >= SETTLED or not previous:
        return FIRST_PAUSE
    return min(previous * 2, LONGEST_PAUSE)
