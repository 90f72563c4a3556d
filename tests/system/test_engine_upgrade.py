"""Another version of stackpy takes over under running containers, and nothing of them is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from stackpy_runtime.container.cgroups import layout, parent_name
from stackpy_runtime.host import client
from stackpy_runtime.version import VERSION
from tests.engine_lab import REPOSITORY, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

COUNTS = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"]


def test_the_version_is_the_package_s() -> None:
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == VERSION


@pytest.fixture(name="newer")
def newer_fixture(lab: Lab, tmp_path: Path) -> Callable[..., str]:
    """Runs a command of another version on the lab's root; returns what it printed."""
    for name, below in (("stackpy", "stackpy"), ("runtime", "runtime")):
        shutil.copytree(REPOSITORY / below, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "runtime/stackpy_runtime/version.py"
    path.write_text(re.sub(r'VERSION = "[^"]*"', 'VERSION = "99.0.0"', path.read_text()))

    def run(*words: str) -> str:
        environment = {**lab.environment, "PYTHONPATH": f"{tmp_path}:{tmp_path}/runtime"}
        command = [sys.executable, "-m", "stackpy.cli.main", "--root", lab.root, *words]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, cwd="/", check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_newer_version_takes_over(lab: Lab, newer: Callable[..., str]) -> None:
    lab.engine.create_network({"name": "net"})
    fifo = lab.image(None, lambda top: os.mkfifo(top / "go"))
    counts = lab.up(COUNTS, networks={"net": {"aliases": ["counter"]}})
    typed = lab.up(COUNTS, tty=True)
    ends = lab.up(["sh", "-c", "read x < /go; exit 23"], image=fifo, networks={"net": {"aliases": []}})
    again = lab.up(["sleep", "600"], restart="always")
    reads = lab.up(["cat"], stdin_open=True)
    lab.said(counts, "5\n")
    lab.said(typed, "5\r\n")
    names = (counts, typed, ends, again, reads)
    pids = {name: lab.state(name)["pid"] for name in names}
    (keeper,), (supervisor,) = lab.processes("keeper"), lab.processes("supervisor")
    assert newer("exec", counts, "sh", "-c", "echo from inside") == "from inside\n"
    assert lab.processes("supervisor") != [supervisor]
    assert keeper in lab.processes("keeper"), "the parent of what runs stays"
    successor = lab.processes("supervisor")
    newer("exec", counts, "true")
    assert lab.processes("supervisor") == successor, "it is of that version"
    assert {name: lab.state(name)["pid"] for name in names} == pids, "nothing was started anew"
    # All goes on: names, logs, terminals, exit codes, restarts.
    resolve = "import socket; print(socket.gethostbyname('counter') != '')"
    assert newer("exec", ends, "python3", "-c", resolve) == "True\n"
    for name, newline in ((counts, "\n"), (typed, "\r\n")):
        seen = len(lab.log(name))
        wait_for(lambda name=name, seen=seen: len(lab.log(name)) > seen + 20, "it writes on")  # type: ignore[misc]
        lines = lab.log(name).split(newline)[:-1]
        assert lines == [str(n) for n in range(1, len(lines) + 1)], "a hole in the log"
    newer("exec", ends, "sh", "-c", "echo > /go")
    wait_for(lambda: lab.state(ends)["exit_code"] == 23, "the exit code that its old parent saw")
    with subprocess.Popen(lab.command("attach", reads), env=lab.environment, stdin=subprocess.PIPE, cwd="/") as client_:
        assert client_.stdin
        client_.stdin.write(b"still read\n")
        client_.stdin.flush()
        lab.said(reads, "still read", 60)
        client_.kill()
    os.kill(pids[again], signal.SIGKILL)
    wait_for(lambda: lab.state(again)["pid"] not in (0, pids[again]), "the restart")
    for name in names:
        newer("rm", "-f", name)
    wait_for(lambda: keeper not in lab.processes("keeper"), "the old keeper leaves with its last container")
    wait_for(lambda: len(lab.processes()) == 2, "two processes")


def test_it_waits_for_what_is_being_carried_out(lab: Lab, newer: Callable[..., str]) -> None:
    name = lab.up(["sleep", "600"])
    (supervisor,) = lab.processes("supervisor")
    waiting = subprocess.Popen(lab.command("wait", name), env=lab.environment, stdout=subprocess.DEVNULL, cwd="/")
    try:
        wait_for(lambda: _sockets(waiting.pid), "the client that waits")
        time.sleep(0.3)  # it has asked, and the supervisor hears of it
        newer("exec", name, "true")
        assert lab.processes("supervisor") == [supervisor], "it would have lost its client"
        lab.engine.stop(name, 0)
        assert waiting.wait(60) == 0
    finally:
        waiting.kill()
        waiting.wait()
    newer("start", name)
    assert lab.processes("supervisor") != [supervisor]


def _sockets(pid: int) -> set[str]:
    """The sockets that a process has open."""
    found = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def test_an_older_client_is_served(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says no version."""
    name = lab.up(["sleep", "600"])
    (supervisor,) = lab.processes("supervisor")
    monkeypatch.setattr(client, "VERSION", VERSION)
    lab.engine.stop(name, 0)
    assert lab.processes("supervisor") == [supervisor]


def test_control_groups_that_an_earlier_version_did_not_join_are_joined(lab: Lab) -> None:
    """What was executed in a container of 0.1.0 has to go into all of them, and its figures are read there."""
    if layout().version == 2:
        return  # one hierarchy, which every version joins
    name = lab.up(["sleep", "600"])
    pid = lab.state(name)["pid"]
    mount = layout().mounts["cpuacct"]
    group = next(Path(mount, parent_name(lab.root)).glob(f"*{lab.state(name)['group']}"))
    (Path(mount) / "cgroup.procs").write_text(str(pid))
    lab.kill("supervisor")
    wait_for(lambda: not (group / "cgroup.procs").read_text(), "its processes to be elsewhere")
    lab.back()
    group.rmdir()
    lab.kill("supervisor")
    lab.back()
    assert lab.exec(name, "true").code == 0
    assert str(pid) in (group / "cgroup.procs").read_text().split()
