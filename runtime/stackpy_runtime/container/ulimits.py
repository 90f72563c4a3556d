"""Resource limits of a container's processes (getrlimit(2)), by the names that Docker gives them.

A hard limit can be raised by whoever has CAP_SYS_RESOURCE in the host's user namespace alone, so that is done while a
process still has the host's rights. Lowering is left to the last moment: what the engine itself still does in the
process must not meet a container's limits.
"""

from __future__ import annotations

import os
import resource

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.model import Ulimit

# include/uapi/asm-generic/resource.h; x86 and arm64 have no others
NUMBERS = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}
_CAP_SYS_RESOURCE = 24


def check(ulimits: Mapping[str, Ulimit]) -> None:
    """Raises InvalidConfig for a limit that no process has, or above what this host lets us give."""
    for name, ulimit in ulimits.items():
        if name not in NUMBERS:
            import difflib

            near = difflib.get_close_matches(name, NUMBERS, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(NUMBERS))}"
            raise InvalidConfig(f"unknown ulimit `{name}`", hint=hint)
        soft, hard = ulimit["soft"], ulimit["hard"]
        if min(soft, hard) < -1:
            raise InvalidConfig(f"ulimit {name} is negative", hint="-1 is no limit")
        if hard != -1 and not 0 <= soft <= hard:
            raise InvalidConfig(f"ulimit {name}: the soft limit {_shown(soft)} is above the hard limit {hard}")
        most = _most(name)
        if most != -1 and (hard == -1 or hard > most):
            raise InvalidConfig(
                f"ulimit {name}: {_shown(hard)} is above {most}, which this host allows at most",
                hint=f"choose at most {most}, or raise the host's own hard limit before the engine starts",
            )


def _shown(limit: int) -> str:
    return "unlimited" if limit == -1 else str(limit)


def _most(name: str) -> int:
    """The highest hard limit that a process of ours can be given; -1: any."""
    hard = resource.getrlimit(NUMBERS[name])[1]
    if os.geteuid():
        # A plan by somebody who is not root: what the engine's limits are is not theirs to know.
        return -1
    if may_raise():
        # Descriptors have a limit of their own, for everybody.
        return _nr_open() if name == "nofile" else -1
    return hard


def _nr_open() -> int:
    try:
        with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return -1


def may_raise() -> bool:
    """Whether this process may raise hard limits, and lower an OOM score."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def raise_hard(ulimits: Mapping[str, Ulimit], pid: int = 0) -> None:
    """Raises the hard limits of a process, the caller's own for 0, where they are lower than asked for.

    That process has what the caller has: even to ask it takes CAP_SYS_RESOURCE in its user namespace.
    """
    for name, ulimit in ulimits.items():
        number, hard = NUMBERS[name], ulimit["hard"]
        soft, now = resource.getrlimit(number)
        if now != -1 and (hard == -1 or hard > now):
            try:
                resource.prlimit(pid, number, (soft, hard))
            except (OSError, ValueError):
                raise InvalidConfig(
                    f"ulimit {name}: {_shown(hard)} is above {now}, which this host allows at most",
                    hint=f"choose at most {now}, or raise the host's own hard limit before the engine starts",
                ) from None


def set_own(ulimits: Mapping[str, Ulimit]) -> None:
    """Sets the caller's limits, whose hard ones are high enough."""
    for name, ulimit in ulimits.items():
        resource.setrlimit(NUMBERS[name], (ulimit["soft"], ulimit["hard"]))
