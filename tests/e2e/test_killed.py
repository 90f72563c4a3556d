"""Whatever is killed during an apply, and at whatever step: the next plan is true, and the next apply is enough."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import STOP
from tests.mess_lab import OTHER, Mess, mess
from tests.waiting import wait_for

pytestmark = pytest.mark.root


@pytest.fixture(name="lab", scope="module")
def lab_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mess]:
    """The stack with every kind of change, as it is after an apply."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mess(tmp_path_factory.mktemp("killed"), port) as lab:
        yield lab


@pytest.mark.parametrize("operation", ["create_network", "up", "rename_volume", "remove_network"])
def test_an_apply_waits_for_what_a_killed_one_had_asked_for(lab: Mess, operation: str) -> None:
    """Else it would plan to make what the engine is about to make, and fail since there is one of that name."""
    state = OTHER[lab.state_wanted]
    lab.faults.arm(1, STOP, "supervisor", f"begin of {operation}")
    killed = lab.begin("apply", "--yes", state=state, armed=True, out="killed")
    wait_for(lambda: lab.faults.fired(), "a supervisor that stands still")
    (supervisor,) = lab.processes("supervisor")
    assert lab.history()[-1] == "running"
    os.kill(killed, signal.SIGKILL)
    lab.end(killed, "killed")
    assert lab.history()[-2:] == ["applied", "killed"], "nobody has taken the stack since"
    following = lab.begin("apply", "--yes", state=state)
    said = Path(lab.folder.parent / "out.err")
    wait_for(lambda: "waiting for" in said.read_text(), "whom it waits for")
    os.kill(supervisor, signal.SIGCONT)
    done = lab.end(following)
    assert done.code == 0, done
    assert "waiting for the engine, which finishes what `stackpy apply` (pid" in done.err
    assert f"(pid {killed}, since" in done.err
    assert lab.history()[-3:] == ["applied", "killed", "applied"]
    lab.converged(state, f"killed while the engine does {operation}")
