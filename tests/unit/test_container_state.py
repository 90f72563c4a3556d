"""A container's state, read from the store, the keeper's files and /proc."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container import cgroups, ending, ranges, state
from stackpy_runtime.linux.proc import boot_id, has_executed, start_time
from stackpy_runtime.model import ContainerState


def test_a_process_that_nobody_has_collected_yet_is_not_one_that_ended_unseen(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        os._exit(7)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    start = start_time(pid, ended=True)
    stored: ContainerState = {
        **state.initial(),
        "status": "running",
        "pid": pid,
        "pid_start": start,
        "boot": boot_id(),
    }
    try:
        assert start_time(pid) == 0
        assert state.live(stored, str(tmp_path))["status"] == "running"
        (tmp_path / "exit").write_text(json.dumps({"pid": pid, "code": 7, "time": 0.0}))
    finally:
        os.waitpid(pid, 0)
    ended = state.live(stored, str(tmp_path))
    assert (ended["status"], ended["exit_code"]) == ("exited", 7)
    (tmp_path / "exit").unlink()
    unseen = state.live(stored, str(tmp_path))
    assert (unseen["status"], unseen["exit_code"], unseen["error"]) == ("exited", None, ending.UNKNOWN)


BEFORE = {"exit_code": 3, "pid_start": 1, "boot": "b", "started_at": "then", "finished_at": "then", "restart_count": 2}


@pytest.mark.parametrize("status", ["created", "exited", "restarting"])
def test_a_start_that_the_store_has_not_heard_of(tmp_path: Path, status: str) -> None:
    """Whatever it was before: were it taken for what it was, it could be started a second time."""
    before: Any = {**state.initial(), "status": status, **(BEFORE if status != "created" else {})}
    me = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id(), "time": 0.0, "group": "g"}
    (tmp_path / "process").write_text(json.dumps(me))
    now = state.live(before, str(tmp_path))
    assert (now["status"], now["pid"], now["group"], now["exit_code"]) == ("running", os.getpid(), "g", None)
    assert now["started_at"].startswith("1970") and not now["finished_at"]
    assert now["restart_count"] == (3 if status == "restarting" else 0)
    (tmp_path / "process").write_text("{")
    assert state.live(before, str(tmp_path)) is before


def test_the_run_whose_end_the_store_knows_says_nothing_more(tmp_path: Path) -> None:
    me = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id(), "time": 0.0}
    (tmp_path / "process").write_text(json.dumps(me))
    known: Any = {**state.initial(), "status": "exited", "pid_start": me["start"], "boot": me["boot"]}
    assert state.live(known, str(tmp_path)) is known


def test_a_start_is_none_before_its_program_is_executed(tmp_path: Path) -> None:
    """What a fork waits for may never come; then it ends, and nothing has been started."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        os.read(reading, 1)
        os._exit(125)
    created = state.initial()
    start = start_time(pid)
    (tmp_path / "process").write_text(json.dumps({"pid": pid, "start": start, "boot": boot_id(), "time": 0.0}))
    try:
        assert state.live(created, str(tmp_path)) is created
        assert state.beginning(created, str(tmp_path)) == (pid, start)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not has_executed(pid), "one that nobody has collected still tells"
        document = {"pid": pid, "code": 137, "signal": 9, "time": 0.0, "executed": False}
        (tmp_path / "exit").write_text(json.dumps(document))
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(pid, 0)
    assert state.live(created, str(tmp_path)) is created
    assert state.beginning(created, str(tmp_path)) == (0, 0)
    (tmp_path / "exit").write_text(json.dumps({**document, "executed": True}))
    ended = state.live(created, str(tmp_path))
    assert (ended["status"], ended["exit_code"]) == ("exited", 137)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC])
def test_want_of_descriptors_is_nobody_s_end(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that came up so took what ran for ended, and killed it with its control group."""
    me: Any = {"pid": os.getpid(), "pid_start": start_time(os.getpid()), "boot": boot_id()}
    running: Any = {**state.initial(), "status": "running", **me}

    def refuse(*arguments: Any, **named: Any) -> Any:
        raise OSError(code, os.strerror(code))

    looks = (
        lambda: state.live(running, str(tmp_path)),
        lambda: state.live({**running, "status": "exited"}, str(tmp_path)),
        lambda: cgroups.of_process("/root", os.getpid()),
        lambda: ranges.of_process(os.getpid()),
    )
    monkeypatch.setattr("builtins.open", refuse)
    for look in looks:
        with pytest.raises(OSError, match=os.strerror(code)):
            look()
