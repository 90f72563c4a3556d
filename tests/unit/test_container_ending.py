"""Why a run has ended, from what was seen and what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.container import ending, restart, stopping
from stackpy_runtime.container.ending import Memory

MIB = 1 << 20
STOP = {"verb": "stop", "by": "alice"}
CHILDREN = "the kernel had killed 2 processes of it for want of memory (limit 6 MiB, peak 6 MiB)"
HOST = "no limit of its own: the host's was used up"
CRASH = "which nothing of stackpy has sent"


@pytest.mark.parametrize(
    ("code", "number", "asked", "memory", "cause", "text"),
    [
        (0, 0, None, (), "exit", "exited with 0"),
        (3, 0, None, (), "exit", "exited with 3"),
        (143, 0, None, (), "exit", "exited with 143 (SIGTERM)"),
        (None, 0, STOP, (), "unknown", ending.UNKNOWN),
        (139, 11, None, (), "signal", "killed by SIGSEGV: it crashed"),
        (137, 9, None, (), "signal", f"killed by SIGKILL, {CRASH}"),
        (159, 31, None, (), "signal", "killed by SIGSYS: it made a system call that its seccomp profile forbids"),
        (137, 9, None, (1, 64 * MIB, 64 * MIB), "out-of-memory", "out of memory (limit 64 MiB, peak 64 MiB)"),
        # a shell whose child was killed
        (137, 0, None, (1, 64 * MIB, 0), "out-of-memory", "out of memory (limit 64 MiB)"),
        (137, 9, None, (1, 0, 3 << 30), "out-of-memory", f"out of memory ({HOST}, peak 3 GiB)"),
        (1, 0, None, (2, 6 * MIB, 6 * MIB), "out-of-memory", f"exited with 1 after {CHILDREN}"),
        # it has got over it
        (0, 0, None, (2, 6 * MIB, 6 * MIB), "exit", "exited with 0"),
        (143, 15, STOP, (), "stopped", "stopped by `stackpy stop` of alice"),
        (7, 0, STOP, (), "stopped", "stopped by `stackpy stop` of alice, exited with 7"),
        (137, 9, {**STOP, "signal": "SIGKILL", "how": "killed: it did not end within 10 s of SIGTERM"}, (1, MIB, MIB),
         "stopped", "stopped by `stackpy stop` of alice, killed: it did not end within 10 s of SIGTERM"),
        (137, 9, {"verb": "kill", "by": "bob", "signal": "SIGKILL"}, (), "stopped",
         "killed by SIGKILL from `stackpy kill` of bob"),
        (0, 0, {"verb": "kill", "signal": "SIGHUP"}, (), "stopped", "exited with 0 after SIGHUP from `stackpy kill`"),
        # another signal than the one that was sent
        (137, 9, {"verb": "kill", "by": "bob", "signal": "SIGHUP"}, (), "signal", f"killed by SIGKILL, {CRASH}"),
        (143, 15, {"verb": "health", "how": "no\n answer"}, (), "unhealthy", "stopped as unhealthy: no answer"),
        (143, 15, {"verb": "hook", "how": "post_start `x` exited with 1"}, (), "hook", "post_start `x` exited with 1"),
    ],
)  # fmt: skip
def test_why(code: int | None, number: int, asked: Any, memory: tuple[int, ...], cause: str, text: str) -> None:
    found = ending.explain(code, number, asked, Memory(*memory))
    assert (found["cause"], found["text"]) == (cause, text)


def test_what_is_a_crash() -> None:
    def crash(code: int | None, number: int = 0, asked: Any = None) -> bool:
        return ending.is_crash(ending.explain(code, number, asked, Memory()), code)

    assert not crash(0)
    assert not crash(None)
    assert not crash(143, 15, STOP)
    assert crash(1)
    assert crash(139, 11)
    assert crash(143, 15, {"verb": "health", "how": "x"})


def test_after_a_reboot() -> None:
    assert ending.explain(None, 0, None, Memory(), rebooted=True)["text"] == ending.REBOOTED
    wanted = {
        (policy, stopped): restart.after_reboot(policy, stopped=stopped)
        for policy in ("no", "on-failure", "unless-stopped", "always")
        for stopped in (False, True)
    }
    assert [key for key, value in wanted.items() if value] == [
        ("unless-stopped", False),
        ("always", False),
        ("always", True),
    ]


def test_an_unhealthy_one_is_restarted_whatever_its_policy() -> None:
    assert restart.wanted("no", 0, 5, stopped=False, unhealthy=True)
    assert not restart.wanted("always", 0, 5, stopped=True, unhealthy=True)


STATUS = "Name:\tx\nSigBlk:\t{block:016x}\nSigIgn:\t0000000000000000\nSigCgt:\t{catch:016x}\n"


@pytest.mark.parametrize(
    ("block", "catch", "syscall", "takes"),
    [
        (0, 0, "202 0x1", ""),  # sleep
        (0, 0, "running", ""),
        (0, 1 << 14, "0 0x3", "takes"),  # a handler
        (1 << 14, 0, "128 0x7ffd", "takes"),  # dumb-init: blocks it and waits
        (0, 0, "128 0x7ffd", "takes"),  # tini, whose set of signals is where nobody looks: it waits for some
        (1 << 14, 0, "7 0x7ffd", "blocks"),  # signalfd(2) and poll
        (1 << 1, 1 << 1, "61 0xffff", ""),  # a shell: SIGINT alone
        ((1 << 64) - 1, 1 << 1, "58 0x0", "blocks"),  # the same, while it forks
    ],
)
def test_which_first_process_takes_sigterm(block: int, catch: int, syscall: str, takes: str) -> None:
    assert stopping.takes(15, STATUS.format(block=block, catch=catch), syscall, 128) == takes


@pytest.mark.parametrize(
    ("looks", "can"),
    [
        ([set()], False),
        ([{"takes", "blocks"}], True),
        ([{"blocks"}, set()], False),  # a shell that was starting a command
        ([{"blocks"}] * stopping.LOOKS, True),
    ],
)
def test_what_is_only_blocked_is_looked_at_again(
    looks: list[set[str]], can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(looks)
    monkeypatch.setattr(stopping, "_is_first", lambda pid: True)
    monkeypatch.setattr(stopping, "_look", lambda pid, number: left.pop(0))
    assert stopping.can_take(1, 15) is can
    assert not left
