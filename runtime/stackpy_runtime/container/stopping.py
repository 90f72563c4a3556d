"""Whether PID 1 of a container can take a signal at all: one that it cannot is not waited for.

PID 1 of a namespace ignores a signal for which it has no handler (pid_namespaces(7)). A handler stands in SigCgt of
/proc/PID/task/*/status; a program that blocks the signal and waits for it (tini, dumb-init) has it in SigBlk, or is in
rt_sigtimedwait, which /proc/PID/task/*/syscall tells.
"""

from __future__ import annotations

import os
import platform

_RT_SIGTIMEDWAIT = {"x86_64": 128, "aarch64": 137}


def takes(signal: int, status: str, syscall: str, waiting: int | None) -> bool:
    """Whether a thread with this status and syscall file does something with the signal."""
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key in ("SigCgt", "SigBlk") and int(value, 16) >> (signal - 1) & 1:
            return True
    return waiting is not None and syscall.split(" ", 1)[0] == str(waiting)


def can_take(pid: int, signal: int) -> bool:
    """Whether any thread of a process takes the signal; True when /proc does not tell."""
    waiting = _RT_SIGTIMEDWAIT.get(platform.machine())
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True
    for thread in threads:
        texts = []
        for name in ("status", "syscall"):
            try:
                with open(f"/proc/{pid}/task/{thread}/{name}", encoding="ascii", errors="replace") as file:
                    texts.append(file.read())
            except OSError:
                texts.append("")
        if not texts[0] or takes(signal, texts[0], texts[1], waiting):
            return True
    return False
