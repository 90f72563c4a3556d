"""Pausing containers: what stands still, what still works, and who may have them go on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from stackpy_runtime.container import cgroups
from stackpy_runtime.errors import Conflict
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

COUNTS = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"]
CATCHES = ["sh", "-c", "trap 'echo term; exit 3' TERM; trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done"]


def stands(lab: Lab, name: str) -> bool:
    """Whether a container that counts has written nothing for ten of its rounds."""
    before = lab.log(name)
    time.sleep(0.2)
    return lab.log(name) == before


def frozen(lab: Lab, name: str) -> bool:
    """What the kernel says."""
    group = cgroups.of_process(lab.root, lab.state(name)["pid"])
    assert group is not None
    return group._stands(group.paths().get("freezer") or group.paths()[""])


def test_a_paused_container_stands_still_and_goes_on(lab: Lab) -> None:
    name = lab.up(COUNTS)
    lab.said(name, "3")
    lab.engine.pause(name)
    pid = lab.state(name)["pid"]
    assert (lab.state(name)["status"], pid > 0, frozen(lab, name)) == ("paused", True, True)
    # What it had written before is in the log.
    wait_for(lambda: stands(lab, name), "it stands")
    lab.engine.unpause(name)
    assert (lab.state(name)["status"], lab.state(name)["pid"]) == ("running", pid)
    wait_for(lambda: not stands(lab, name), "it goes on")
    numbers = lab.log(name).split()
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]


def test_what_cannot_be_paused_or_unpaused(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    with pytest.raises(Conflict, match="it is not paused"):
        lab.engine.unpause(name)
    lab.engine.pause(name)
    with pytest.raises(Conflict, match="paused already"):
        lab.engine.pause(name)
    with pytest.raises(Conflict, match="it is paused"):
        lab.engine.start(name)
    with pytest.raises(Conflict, match="it is paused"):
        lab.engine.remove(name)
    done = lab.exec(name, "true")
    assert (done.code, "it is paused" in done.err) == (1, True)
    assert "stackpy unpause" in done.err
    lab.engine.stop(name)
    with pytest.raises(Conflict, match="it is not running"):
        lab.engine.pause(name)


def test_a_paused_container_is_stopped_as_it_is_meant_to(lab: Lab) -> None:
    name = lab.up(CATCHES)
    lab.said(name, "up")
    lab.engine.pause(name)
    assert lab.engine.stop(name) == "stopped by SIGTERM"
    assert (lab.state(name)["status"], lab.state(name)["exit_code"]) == ("exited", 3)
    assert lab.log(name) == "up\nterm\n"


@pytest.mark.parametrize("how", ["kill", "remove", "stop at once", "restart", "end"])
def test_whatever_ends_a_paused_container_ends_it(lab: Lab, how: str) -> None:
    name = lab.up(["sleep", "600"])
    pid = lab.state(name)["pid"]
    lab.engine.pause(name)
    if how == "kill":
        lab.engine.kill(name)
        assert lab.engine.wait(name) == 137
    elif how == "remove":
        lab.engine.remove(name, force=True)
    elif how == "restart":
        lab.engine.restart(name)
        assert lab.state(name)["status"] == "running"
    elif how == "end":
        # By somebody who knows nothing of it; version 1 delivers it when it goes on.
        os.kill(pid, signal.SIGKILL)
        if lab.state(name)["status"] == "paused":
            lab.engine.unpause(name)
        assert lab.engine.wait(name) == 137
    else:
        lab.engine.stop(name, 0)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "its process is gone")


def test_only_a_signal_that_may_end_it_has_it_go_on(lab: Lab) -> None:
    """Docker's rule: any does where no stop signal is configured, else that one and SIGKILL."""
    name = lab.up(CATCHES, stop_signal="TERM")
    lab.said(name, "up")
    lab.engine.pause(name)
    lab.engine.kill(name, "HUP")
    assert (lab.state(name)["status"], lab.log(name)) == ("paused", "up\n")
    lab.engine.unpause(name)
    lab.said(name, "hup")
    other = lab.up(CATCHES)
    lab.said(other, "up")
    lab.engine.pause(other)
    lab.engine.kill(other, "HUP")
    lab.said(other, "hup")
    assert lab.state(other)["status"] == "running"


@pytest.mark.parametrize("victim", ["supervisor", "keeper", ""])
def test_it_stays_paused_whoever_is_killed(lab: Lab, victim: str) -> None:
    name, other = lab.up(COUNTS), lab.up(COUNTS)
    lab.said(name, "2")
    lab.engine.pause(name)
    pid = lab.state(name)["pid"]
    lab.kill(victim)
    assert (lab.state(name)["status"], lab.state(name)["pid"]) == ("paused", pid)
    lab.engine.update(other, {"pids_limit": 30})
    wait_for(lambda: len(lab.processes()) == 2, "two processes")
    assert (lab.state(name)["status"], frozen(lab, name), lab.state(other)["status"]) == ("paused", True, "running")
    lab.engine.unpause(name)
    wait_for(lambda: not stands(lab, name), "it goes on")
    assert lab.state(name)["pid"] == pid


def test_what_was_to_be_paused_when_the_supervisor_died_is_paused_by_the_next(lab: Lab) -> None:
    name = lab.up(COUNTS)
    lab.said(name, "2")
    # As if it had died between the word and the deed.
    lab.kill("supervisor")
    store = lab.engine.store
    identity = store.container(name)["id"]
    store.update_container(identity, state={**store.container(name)["state"], "status": "paused"})
    wait_for(lambda: frozen(lab, name), "the next supervisor pauses it")
    lab.engine.unpause(name)
    assert not frozen(lab, name)


def test_health_is_not_asked_while_it_stands(lab: Lab) -> None:
    probe = {"interval": 0.1, "timeout": 5.0, "retries": 1, "start_period": 0.0, "start_interval": 0.1}
    name = lab.up(["sleep", "600"], healthcheck={"test": ["true"], **probe})
    wait_for(lambda: lab.state(name)["health"] == "healthy", "it is healthy")
    lab.engine.pause(name)
    last = lab.engine.health_log(name)
    time.sleep(0.5)  # five times as long as from one to the next
    assert lab.engine.health_log(name) == last
    assert (lab.state(name)["status"], lab.state(name)["health"]) == ("paused", "healthy")
    lab.engine.unpause(name)
    wait_for(lambda: lab.engine.health_log(name) != last, "the next check")
    assert (lab.state(name)["status"], lab.state(name)["health"]) == ("running", "healthy")


def test_a_commit_leaves_a_paused_container_paused(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    lab.engine.pause(name)
    image = lab.engine.commit(name, reference="of-a-paused-one")
    assert (lab.state(name)["status"], frozen(lab, name)) == ("paused", True)
    lab.engine.remove(name, force=True)
    lab.engine.remove_image(image["id"], force=True)


def test_the_namespaces_of_a_paused_container_can_be_shared(lab: Lab) -> None:
    """As with docker, for which a paused container runs."""
    name = lab.up(["sleep", "600"])
    lab.engine.pause(name)
    done = lab.run(["sh", "-c", "readlink /proc/self/ns/net; exit 3"], network_mode=f"container:{name}")
    assert (done.code, done.out.startswith("net:[")) == (3, True)
    assert lab.state(name)["status"] == "paused"
