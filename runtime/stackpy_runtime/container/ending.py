"""Why a container's run has ended: what was seen of it and what was asked for in, words and data out. Pure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from stackpy_runtime.container.stopping import signal_name

if TYPE_CHECKING:
    from stackpy_runtime.model import Asked, Ending

UNKNOWN = "it ended while nothing of the engine was running: its exit code is not known"
REBOOTED = "the host was restarted while it ran: its exit code is not known"
# What a program brings upon itself (signal(7), action Core but for QUIT, which a user types).
_FAULTS = (
    signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGXCPU,
    signal.SIGXFSZ,
)  # fmt: skip
_LONGEST = 200  # characters of a health check's output
_MORE_MEMORY = "raise mem_limit, or find what takes the memory"


class Memory(NamedTuple):
    """What a control group says of its memory: processes killed for want of it, bytes allowed (0: all) and used."""

    kills: int = 0
    limit: int = 0
    peak: int = 0


def explain(
    code: int | None, number: int, asked: Asked | None, memory: Memory | None, *, rebooted: bool = False
) -> Ending:
    """Why it ended.

    code: its exit code, 128 + n for signal n; None when nobody saw it
    number: the signal that ended it; 0 when it exited by itself, or nobody knows
    asked: who wanted it to end, where somebody did
    memory: None where nobody has looked, so that want of it may be the reason
    rebooted: the host was restarted since it began
    """
    if memory is None and number == signal.SIGKILL and code is not None and not asked:
        return _ending("signal", "killed by SIGKILL", number)
    memory = memory or Memory()
    if code is None:
        return _ending("unknown", REBOOTED if rebooted else UNKNOWN, 0)
    if memory.kills and _by_kernel(code, number, asked):
        text = f"out of memory ({_bounds(memory)})"
        return _ending("out-of-memory", text, number, _MORE_MEMORY, **_amounts(memory))
    if asked and (found := _asked(code, number, asked)):
        return found
    if number:
        return _ending("signal", _killed(number), number)
    text = f"exited with {code}"
    if 128 < code <= 128 + signal.SIGRTMAX:
        text += f" ({signal_name(code - 128)})"
    if code and memory.kills:
        what = "a process" if memory.kills == 1 else f"{memory.kills} processes"
        text += f" after the kernel had killed {what} of it for want of memory ({_bounds(memory)})"
        return _ending("out-of-memory", text, 0, _MORE_MEMORY, **_amounts(memory))
    return _ending("exit", text, 0)


def is_crash(ending: Ending, code: int | None) -> bool:
    """Whether it is worth keeping why: nobody has asked for this end, and it was not the end of the work."""
    return ending["cause"] not in ("stopped", "unknown") and not (ending["cause"] == "exit" and code == 0)


def requester(asked: Asked) -> str:
    """Who asked, and by what: `stackpy stop` of alice."""
    by = asked.get("by", "")
    return f"`stackpy {asked['verb']}`" + (f" of {by}" if by else "")


def _ending(cause: Any, text: str, number: int, hint: str = "", **more: Any) -> Ending:
    ending: Any = {"cause": cause, "text": text, "hint": hint, **more}
    if number:
        ending["signal"] = signal_name(number)
    made: Ending = ending
    return made


def _by_kernel(code: int, number: int, asked: Asked | None) -> bool:
    """Whether the first process was killed for want of memory: SIGKILL that nobody asked for.

    A shell that is the first process exits with 137 when its child was killed.
    """
    sent = asked is not None and asked.get("signal") == "SIGKILL"
    return not sent and (number == signal.SIGKILL or code == 128 + signal.SIGKILL)


def _amounts(memory: Memory) -> dict[str, int]:
    return {"memory_limit": memory.limit, "memory_peak": memory.peak}


def _bounds(memory: Memory) -> str:
    limit = f"limit {_size(memory.limit)}" if memory.limit else "no limit of its own: the host's was used up"
    return f"{limit}, peak {_size(memory.peak)}" if memory.peak else limit


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{round(value, 1):g} {unit}"


def _asked(code: int, number: int, asked: Asked) -> Ending | None:
    """The end that somebody asked for; None for one that came from elsewhere."""
    verb, sent = asked["verb"], asked.get("signal", "")
    if verb in ("kill", "run"):
        if number and signal_name(number) != sent:
            return None
        who = requester(asked)
        text = f"killed by {sent} from {who}" if number else f"exited with {code} after {sent} from {who}"
        return _ending("stopped", text, number)
    if verb == "health":
        return _ending("unhealthy", f"stopped as unhealthy: {_short(asked.get('how', ''))}", number)
    if verb == "hook":
        return _ending("hook", asked.get("how", ""), number)
    text = "stopped for the shutdown of the host" if verb == "shutdown" else f"stopped by {requester(asked)}"
    if how := asked.get("how", ""):
        text += f", {how}"
    elif code and not number:
        text += f", exited with {code}"
    return _ending("stopped", text, number, asked.get("hint", ""))


def _short(text: str) -> str:
    """A health check's output on one line; the health log has all of it."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _killed(number: int) -> str:
    name = signal_name(number)
    if number == signal.SIGSYS:
        return f"killed by {name}: it made a system call that its seccomp profile forbids"
    if number in _FAULTS:
        return f"killed by {name}: it crashed"
    return f"killed by {name}, which nothing of stackpy has sent"
