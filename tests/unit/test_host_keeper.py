"""What the keeper looks at before it reads: it must never wait, and holds thousands of descriptors."""

from __future__ import annotations

import fcntl
import os
import resource

import pytest

from stackpy_runtime.host.keeper import MOST_ENDS, Keeper, readable
from stackpy_runtime.linux.proc import start_time


@pytest.fixture(name="pipe")
def pipe_fixture() -> tuple[int, int]:
    return os.pipe()


def test_an_empty_pipe_is_not_read(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    assert not readable(reading)
    os.write(writing, b"x")
    assert readable(reading)
    os.read(reading, 1)
    os.close(writing)
    assert readable(reading), "its end is something to read"
    os.close(reading)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1500, reason="few descriptors are allowed")
def test_descriptors_above_those_of_select(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 1200)
    assert not readable(high)
    os.write(writing, b"x")
    assert readable(high)
    for descriptor in (high, reading, writing):
        os.close(descriptor)


def test_one_that_is_announced_and_ends_at_once_can_still_be_told_from_others(pipe: tuple[int, int]) -> None:
    """Its announcement comes when those that lay unread have been heard, and before its end is collected."""
    reading, writing = pipe
    if not (test := os.fork()):
        keeper = Keeper.__new__(Keeper)
        keeper.supervisor, keeper.children, keeper.announcing, keeper.orphans = 0, {}, {}, {}
        pid = os.fork() or os._exit(7)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        heard: list[int] = []

        def hear() -> None:
            heard.append(start_time(pid, ended=True))
            if len(heard) == 2:
                keeper.children[pid] = {"start": heard[-1]}

        keeper.hear_announcements = hear  # type: ignore[method-assign]
        keeper.ended = lambda pid, code, number: os.write(writing, f"{heard[-1] > 0} {code}".encode())  # type: ignore
        keeper.reap()
        os._exit(0)
    os.waitpid(test, 0)
    os.close(writing)
    assert os.read(reading, 100) == b"True 7"
    os.close(reading)


def test_ends_of_executions_are_kept_for_clients_alone_and_not_for_ever() -> None:
    keeper = Keeper.__new__(Keeper)
    keeper.ends = {}
    keeper.keep_end({"kind": "exec", "ref": "probe", "of": "captured"}, {"code": 0})
    assert not keeper.ends
    for number in range(MOST_ENDS + 5):
        keeper.keep_end({"kind": "exec", "ref": str(number), "of": "exec/a/b"}, {"code": number})
    assert len(keeper.ends) == MOST_ENDS
    assert keeper.ends[str(MOST_ENDS + 4)]["code"] == MOST_ENDS + 4
