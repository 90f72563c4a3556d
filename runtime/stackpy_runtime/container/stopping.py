"""Whether PID 1 of a container can take a signal at all: one that it cannot is not waited for.

PID 1 of a namespace ignores a signal for which it has no handler (pid_namespaces(7)). A handler stands in SigCgt of
/proc/PID/task/*/status; a program that blocks the signal and waits for it (tini, dumb-init) has it in SigBlk, or is in
rt_sigtimedwait, which /proc/PID/task/*/syscall tells. A shell blocks all for the moment in which it starts a command:
what is only blocked is looked at again.
"""

from __future__ import annotations

import os
import platform
import signal
import time

from stackpy_runtime.errors import InvalidConfig


def signal_number(name: str) -> int:
    """The number of a signal given as `TERM`, `SIGTERM`, `RTMIN+3` or `15`; raises InvalidConfig when there is none."""
    text = name.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit() and 0 < int(text[:4]) <= signal.SIGRTMAX:
        return int(text)
    word, sign, offset = text.partition("-" if text.startswith("RTMAX") else "+")
    number = getattr(signal, f"SIG{word}", None)
    if isinstance(number, signal.Signals):
        if not sign:
            return int(number)
        if word in ("RTMIN", "RTMAX") and offset.isascii() and offset.isdigit():
            real_time = number + int(offset[:4]) * (1 if sign == "+" else -1)
            if signal.SIGRTMIN <= real_time <= signal.SIGRTMAX:
                return real_time
    raise InvalidConfig(f"`{name}` is not a signal", hint="TERM, INT, HUP, KILL, RTMIN+3, or a number")


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; those without a name of their own are counted from SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


LOOKS, LOOK_PAUSE = 10, 0.005  # seconds between two looks at a signal that is blocked
_RT_SIGTIMEDWAIT = {"x86_64": 128, "aarch64": 137}


def takes(number: int, status: str, syscall: str, waiting: int | None) -> str:
    """What a thread with this status and syscall file does with the signal: `takes`, `blocks`, or nothing ("")."""
    if _mask(status, "SigCgt") >> (number - 1) & 1 or (
        waiting is not None and syscall.split(" ", 1)[0] == str(waiting)
    ):
        return "takes"
    return "blocks" if _mask(status, "SigBlk") >> (number - 1) & 1 else ""


def _mask(status: str, name: str) -> int:
    """Signals of a thread, a bit each, as its status file has them."""
    _, found, rest = f"\n{status}".partition(f"\n{name}:")
    return int(rest.split("\n", 1)[0], 16) if found else 0


def handled(pid: int) -> list[int]:
    """The signals among those that usually stop a program for which a process has a handler, or which it waits for."""
    usual = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    text = _read(f"/proc/{pid}/status")
    caught, blocked = _mask(text, "SigCgt"), _mask(text, "SigBlk")
    if all(blocked >> (number - 1) & 1 for number in usual):
        blocked = 0  # a shell that is starting a command
    return [number for number in usual if (caught | blocked) >> (number - 1) & 1]


def _read(path: str) -> str:
    """A file of /proc; "" where it has gone, or may not be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def remedy(pid: int, number: int) -> str:
    """What makes a container stoppable whose first process does not take its stop signal."""
    others = [signal_name(other) for other in handled(pid) if other != number]
    init = "init=True (`run --init`)"
    return f"{init}, or stop_signal={others[0]}, for which it has a handler" if others else init


def _is_first(pid: int) -> bool:
    """Whether a process is PID 1 of its namespace: the one of a container that shares another's is not."""
    _, found, rest = _read(f"/proc/{pid}/status").partition("\nNSpid:")
    return not found or rest.split("\n", 1)[0].split()[-1] == "1"


def can_take(pid: int, number: int) -> bool:
    """Whether any thread of a process takes the signal; True when /proc does not tell."""
    if not _is_first(pid):
        return True
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_PAUSE)
        found = _look(pid, number)
        if found != {"blocks"}:
            return "takes" in found
    return True


def _look(pid: int, number: int) -> set[str]:
    """What the threads of a process do with the signal, {"takes"} when /proc does not tell, {} for nothing."""
    waiting = _RT_SIGTIMEDWAIT.get(platform.machine())
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return {"takes"}
    found = set()
    for thread in threads:
        status, syscall = (_read(f"/proc/{pid}/task/{thread}/{name}") for name in ("status", "syscall"))
        if not status:
            return {"takes"}
        found.add(takes(number, status, syscall, waiting))
    return found - {""}
