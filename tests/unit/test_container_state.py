"""A container's state, read from the store, the keeper's files and /proc."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stackpy_runtime.container import ending, state
from stackpy_runtime.linux.proc import boot_id, start_time
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


def test_a_start_that_the_store_has_not_heard_of(tmp_path: Path) -> None:
    me = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id()}
    (tmp_path / "process").write_text(json.dumps(me))
    assert state.live(state.initial(), str(tmp_path))["status"] == "running"
    (tmp_path / "process").write_text("{")
    assert state.live(state.initial(), str(tmp_path))["status"] == "created"
