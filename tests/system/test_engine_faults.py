"""Any call of an operation fails, or kills its process: what it was about is whole or gone, and nothing leaks.

A sample of the calls, since there are some seven hundred of them; STACKPY_FAULTS=all fails each, in hours.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store.store import Store
from tests.engine_lab import Lab
from tests.fault_lab import Faulty, attempt, attempt_coming_up
from tests.faults import ERRORS, HOLD, KILL
from tests.waiting import wait_for

pytestmark = pytest.mark.root

EVERY = os.environ.get("STACKPY_FAULTS") == "all"
LONGEST = 400  # more calls than any operation makes


@pytest.fixture(name="faulty", scope="module")
def faulty_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    lab = Faulty(tmp_path_factory.mktemp("faulty"))
    with lab.faults.installed():
        lab.ready()
        yield lab
        lab.leave()
        shutil.rmtree(lab.root)


@pytest.fixture(autouse=True)
def apart(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test that fails has left is not waited for in vain by those that follow."""
    if "faulty" not in request.fixturenames:
        yield
        return
    lab: Faulty = request.getfixturevalue("faulty")
    yield
    lab.before |= lab.left()


SAMPLE = [
    ("create", "supervisor", range(1, 14, 3)),
    ("start", "supervisor", (1, 9, 18, 25, 26, 33, 41, 44, 48, 49, 52, 55)),
    ("start", "stage", (1, 14, 43, 75, 90, 160, 197, 210, 233)),
    ("start", "keeper", (1, 2)),
    ("stop", "supervisor", (1, 3, 6, 9, 12, 14, 17)),
    ("remove", "supervisor", (1, 2, 4, 6, 8, 10, 12)),
    ("exec", "supervisor", (2,)),
    ("exec", "stage", (7, 37, 54, 68)),
    ("kill", "supervisor", (1,)),
    ("pause", "supervisor", (1,)),
    ("rename", "supervisor", (1,)),
    ("update", "supervisor", (3,)),
    ("network create", "supervisor", (1, 4)),
    ("network remove", "supervisor", (2,)),
    ("volume create", "supervisor", (2,)),
    ("volume remove", "supervisor", (3,)),
]


@pytest.mark.parametrize(("operation", "role", "numbers"), SAMPLE, ids=lambda value: str(value).partition("(")[0])
def test_a_call_that_fails(faulty: Faulty, operation: str, role: str, numbers: Any) -> None:
    for action in (*ERRORS, errno.EINTR) if EVERY else ():
        for number in range(1, LONGEST):
            if not attempt(faulty, operation, number, action, role):
                break
    for place, number in enumerate(numbers):
        attempt(faulty, operation, number, ERRORS[place % len(ERRORS)], role)


@pytest.mark.parametrize(("operation", "number"), [("start", 12), ("exec", 3)])
def test_a_call_that_is_interrupted(faulty: Faulty, operation: str, number: int) -> None:
    assert attempt(faulty, operation, number, errno.EINTR, "stage")


KILLS = [
    ("create", "supervisor", (8,)),
    ("start", "supervisor", (26, 47)),
    ("start", "stage", (80, 150)),
    ("exec", "stage", (8, 29)),
    ("start", "keeper", (1,)),
    ("stop", "supervisor", (10,)),
    ("remove", "supervisor", (5,)),
]


@pytest.mark.parametrize(("operation", "role", "numbers"), KILLS, ids=lambda value: str(value).partition("(")[0])
def test_a_call_that_kills(faulty: Faulty, operation: str, role: str, numbers: Any) -> None:
    for number in range(1, LONGEST) if EVERY else numbers:
        if not attempt(faulty, operation, number, KILL, role) and EVERY:
            break


MADE_COMING_UP = 170  # calls, until the first answer; what follows are starts, which have sweeps of their own
COMING_UP = [
    ("supervisor", [(18, errno.ENOSPC), (34, errno.EMFILE), (52, KILL)]),
    ("keeper", [(5, KILL)]),
]


@pytest.mark.parametrize(("role", "sample"), COMING_UP, ids=lambda value: value if isinstance(value, str) else "")
def test_a_call_of_what_comes_up_under_containers(faulty: Faulty, role: str, sample: list[tuple[int, int]]) -> None:
    for action in (KILL, *ERRORS, errno.EINTR) if EVERY else ():
        for number in range(1, MADE_COMING_UP):
            if not attempt_coming_up(faulty, number, action, role):
                break
    for number, action in sample:
        assert attempt_coming_up(faulty, number, action, role)


COUNTED = ["sh", "-c", "echo begun; exec sleep 6000"]


@pytest.mark.parametrize("before", ["created", "exited", "restarting"])
def test_what_was_told_to_begin_is_adopted_and_begins_once(faulty: Faulty, before: str) -> None:
    """The supervisor is killed between the word to go on and the index: what runs is not what the index says."""
    config = faulty.config(COUNTED, restart="always" if before == "restarting" else "no")
    name = config["name"]
    faulty.engine.create(config)
    begun = 1
    if before != "created":
        faulty.engine.start(name)
        faulty.said(name, "begun")
        begun = 2
    commit = 1
    if before == "exited":
        faulty.engine.stop(name, 0)
    if before == "restarting":
        commit = 2  # after that of the end
    faulty.faults.arm(commit, KILL, "supervisor", "sqlite commit")
    if before == "restarting":
        os.kill(faulty.state(name)["pid"], signal.SIGKILL)
    else:
        with pytest.raises(EngineError):
            faulty.engine.client.call("start", {"container": name})
    wait_for(faulty.faults.fired, "the kill")
    faulty.faults.disarm()
    wait_for(lambda: faulty.state(name)["status"] == "running", lambda: faulty.seen(name))
    pid = faulty.state(name)["pid"]
    faulty.back()
    faulty.engine.start(name)  # as whoever has been told that the engine was killed does
    state = faulty.state(name)
    assert (state["status"], state["pid"], state["exit_code"]) == ("running", pid, None)
    assert state["started_at"] and not state["finished_at"]
    assert state["restart_count"] == (1 if before == "restarting" else 0)
    wait_for(lambda: faulty.log(name).count("begun") == begun, lambda: faulty.log(name))
    assert faulty.engine.stop(name)
    assert faulty.state(name)["ending"]["cause"] == "stopped"
    faulty.engine.remove(name)


@pytest.mark.parametrize("code", [0, 125])
def test_an_end_right_after_the_word_to_begin_is_told(faulty: Faulty, code: int) -> None:
    """Also with the exit code by which our own processes say that there is no container."""
    name = faulty.config_of_much()["name"]
    faulty.engine.create({**faulty.config(["sh", "-c", f"echo ran; exit {code}"]), "name": name})
    faulty.faults.arm(1, KILL, "supervisor", "sqlite commit")
    with pytest.raises(EngineError):
        faulty.engine.client.call("start", {"container": name})
    assert faulty.faults.disarm()
    faulty.back()
    assert faulty.engine.wait(name) == code
    wait_for(lambda: faulty.log(name) == "ran\n", lambda: faulty.log(name))
    faulty.engine.remove(name)


def test_one_killed_before_its_program_was_executed_has_not_been_started(faulty: Faulty) -> None:
    config = faulty.config(COUNTED)
    name = config["name"]
    identity = faulty.engine.create(config)
    faulty.faults.arm(1, HOLD, "stage", "libc.capset")
    with ThreadPoolExecutor() as pool:
        start = pool.submit(faulty.engine.start, name)
        wait_for(faulty.faults.fired, "the word to go on")
        process = json.loads(Path(f"{faulty.root}/containers/{identity}/process").read_text())
        seen = faulty.state(name)["status"]
        os.kill(process["pid"], signal.SIGKILL)
        with pytest.raises(EngineError, match=f"{name}: .* was killed by SIGKILL before it had executed the program"):
            start.result(60)
    faulty.faults.disarm()
    assert seen == "created", "it was none that runs"
    state = faulty.state(name)
    assert (state["status"], state["exit_code"], state["ending"]["cause"]) == ("exited", 125, "start")
    faulty.engine.start(name)
    faulty.said(name, "begun")
    for flags in ([], ["-d"]):
        faulty.faults.arm(1, KILL, "stage", "libc.capset")
        done = faulty.cli("exec", *flags, name, "true")
        assert faulty.faults.disarm()
        assert done.code == 137, (flags, done)
        assert f"{name}: the process was killed before it had executed its program" in done.err
    faulty.engine.remove(name, force=True)


def test_a_fifo_that_an_end_could_not_remove_goes_with_its_container(faulty: Faulty) -> None:
    name = faulty.up(["sleep", "600"])
    identity = faulty.engine.container(name)["id"]
    left = Path(f"{faulty.root}/run/io")
    faulty.faults.arm(1, errno.EIO, "supervisor", "unlink")
    faulty.engine.stop(name, 0)
    wait_for(faulty.faults.disarm, "the fault")
    assert list(left.glob(f"{identity}.*"))
    faulty.engine.remove(name)
    assert not list(left.glob(f"{identity}.*"))


def test_a_start_cut_off_behind_its_name_server_leaves_no_link(faulty: Faulty) -> None:
    """The keeper holds the sockets for the supervisor after this one, and they the network's namespace."""
    name = faulty.config_of_much()["name"]
    faulty.engine.create({**faulty.config_of_much(), "name": name})
    links = faulty.links()
    # That of the container's addresses on its networks, of which its name server's sockets are.
    faulty.faults.arm(2, KILL, "supervisor", "sqlite commit")
    with pytest.raises(EngineError):
        faulty.engine.client.call("start", {"container": name})
    assert faulty.faults.disarm()
    [keeper] = faulty.processes("keeper")
    assert any("socket:" in os.readlink(f"/proc/{keeper}/fd/{entry}") for entry in os.listdir(f"/proc/{keeper}/fd"))
    faulty.back()
    assert faulty.state(name)["status"] == "created"
    wait_for(lambda: faulty.links() <= links, lambda: f"{faulty.links()} links, and there were {links}")
    faulty.engine.remove(name, volumes=True)


def test_many_cycles_leak_nothing(faulty: Faulty) -> None:
    def cycle() -> None:
        config = faulty.config_of_much()
        faulty.engine.up(config)
        faulty.engine.remove(config["name"], force=True, volumes=True)

    cycle()
    wait_for(lambda: not faulty.left() - faulty.before - {"volumes/kept"}, "all is gone")
    descriptors, links, ranges = faulty.descriptors(), faulty.links(), faulty.ranges()
    for _ in range(500 if EVERY else 25):
        cycle()
    wait_for(lambda: not faulty.left() - faulty.before - {"volumes/kept"}, "all is gone")
    wait_for(lambda: faulty.groups() <= 4, "control groups")
    wait_for(
        lambda: faulty.descriptors() <= descriptors + 8, lambda: f"descriptors: {descriptors}, {faulty.descriptors()}"
    )
    wait_for(lambda: faulty.links() <= links + 2, "links")
    # Containers of other roots that were killed leave some as well, until somebody takes them.
    wait_for(lambda: faulty.ranges() <= ranges + 15, "ranges of host IDs")


def test_after_a_reboot(tmp_path: Path) -> None:
    """Everything killed, the runtime folder cleared, and another boot: the unit's line starts what Docker would start.

    And what was stopped with the host comes back as well, having got its stop signal.
    """
    lab = Lab(str(tmp_path / "root"))
    lab.build()
    assert lab.cli("system", "install", "--destdir", str(tmp_path / "host")).code == 0
    (unit,) = (tmp_path / "host/etc/systemd/system").glob("*.service")
    lines = dict(line.partition("=")[::2] for line in unit.read_text().splitlines() if "=" in line)
    policies = ("no", "on-failure", "unless-stopped", "always")
    ran = {policy: lab.up(["sleep", "600"], restart=policy) for policy in policies}
    stopped = {policy: lab.up(["sleep", "600"], restart=policy) for policy in policies}
    for name in stopped.values():
        lab.engine.stop(name, 0)
    pids = [lab.state(name)["pid"] for name in ran.values()]
    lab.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "their ends")
    shutil.rmtree(f"{lab.root}/run")
    store = Store(lab.root)
    for container in store.containers():
        store.update_container(container["id"], state={**container["state"], "boot": "another"})
    store.close()
    (row,) = [each for each in lab.engine.containers() if each["name"] == ran["no"]]
    assert row["state"]["ending"]["text"] == "the host was restarted while it ran: its exit code is not known"
    subprocess.run(shlex.split(lines["ExecStart"]), env=lab.environment, check=True)
    running = {*(ran[policy] for policy in ("unless-stopped", "always")), stopped["always"]}

    def all_run() -> bool:
        return {each["name"] for each in lab.engine.containers() if each["state"]["status"] == "running"} == running

    wait_for(all_run, "those that are to run", 60)
    ends = lab.up(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"], restart="always")
    lab.said(ends, "up", 60)
    subprocess.run(shlex.split(lines["ExecStop"]), env=lab.environment, check=True)
    assert not all_run()
    assert "bye" in lab.log(ends)
    assert lab.state(ends)["ending"]["text"] == "stopped by `stackpy system stop` of root"
    subprocess.run(shlex.split(lines["ExecStart"]), env=lab.environment, check=True)
    running.add(ends)
    wait_for(all_run, "those that ran before", 60)
    lab.engine.stop(stopped["always"], 0)
    lab.kill("supervisor")
    wait_for(lambda: lab.processes("supervisor"), "another supervisor")
    lab.engine.client.call("ping")
    assert lab.state(stopped["always"])["status"] == "exited", "the host has not been restarted since"
    lab.leave()
