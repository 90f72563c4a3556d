"""Limits of containers and of the engine itself: memory, processors, processes, descriptors."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from stackpy_runtime.container import cgroups
from stackpy_runtime.container.cgroups import parent_name
from stackpy_runtime.errors import EngineError
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root


def test_many_requests_leave_no_descriptor(lab: Lab) -> None:
    """A connection to the index for each thread that has ever served one would exhaust them after some 500 commands."""
    name = lab.up(["sleep", "60"])
    (pid,) = lab.processes("supervisor")

    def count() -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    for _ in range(20):
        lab.engine.update(name, {"labels": {"a": "b"}})
    before = count()
    for number in range(150):
        lab.engine.update(name, {"labels": {"a": str(number)}})
    wait_for(lambda: count() <= before + 3, lambda: f"{before} descriptors, not {count()}")


def test_more_containers_than_descriptors_are_allowed_at_first(tmp_path: Path) -> None:
    """The soft limit of most systems is 1,024, which a hundred containers need: the engine raises its own."""
    lab = Lab(str(tmp_path / "root"))
    lab.build()
    try:
        first = lab.config(["sleep", "600"])
        start = f"from stackpy_runtime.engine import Engine; print(Engine({lab.root!r}).up({first!r}))"
        program = ["prlimit", "--nofile=128:8192", os.sys.executable, "-c", start]  # type: ignore[attr-defined]
        subprocess.run(program, env=lab.environment, check=True, capture_output=True)
        names = [lab.up(["sleep", "600"]) for _ in range(25)]
        assert {lab.state(name)["status"] for name in names} == {"running"}
        limits = lab.exec(names[-1], "sh", "-c", "ulimit -Sn; ulimit -Hn").out.split()
        assert limits == ["1024", "8192"]
    finally:
        lab.leave()
        shutil.rmtree(lab.root)


def test_descriptors_of_a_container(lab: Lab) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert lab.shell("ulimit -Sn; ulimit -Hn").out.split() == [str(min(1024, hard)), str(hard)]


def _group(lab: Lab, name: str) -> dict[str, Path]:
    """The folders of a container's control group by controller."""
    pid = lab.state(name)["pid"]
    layout = cgroups.layout()
    rows = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    paths = {word: path for _, controllers, path in rows for word in controllers.split(",")}
    return {controller: Path(mount + paths[controller]) for controller, mount in layout.mounts.items()}


def _values(lab: Lab, name: str) -> dict[str, str]:
    """What the kernel holds a container to, in the words of version 2."""
    group = _group(lab, name)
    if cgroups.layout().version == 2:
        folder = group[""]
        found = {key: (folder / f"{key}.max").read_text().strip() for key in ("memory", "pids", "cpu")}
        return {**found, "cpu": found["cpu"].split()[0]}
    memory = int((group["memory"] / "memory.limit_in_bytes").read_text())
    quota = int((group["cpu"] / "cpu.cfs_quota_us").read_text())
    pids = (group["pids"] / "pids.max").read_text().strip()
    return {
        "memory": "max" if memory > 1 << 60 else str(memory),
        "pids": pids,
        "cpu": "max" if quota < 0 else str(quota),
    }


def test_limits_are_set_and_updated_in_place(lab: Lab) -> None:
    name = lab.up(["sleep", "60"], mem_limit=64 << 20, cpus=0.5, pids_limit=50)
    pid = lab.state(name)["pid"]
    assert _values(lab, name) == {"memory": str(64 << 20), "cpu": "50000", "pids": "50"}
    lab.engine.update(name, {"mem_limit": 32 << 20, "cpus": 1.0, "pids_limit": 20})
    assert _values(lab, name) == {"memory": str(32 << 20), "cpu": "100000", "pids": "20"}
    lab.engine.update(name, {"mem_limit": 128 << 20})
    assert _values(lab, name) == {"memory": str(128 << 20), "cpu": "100000", "pids": "20"}
    lab.engine.update(name, {"mem_limit": None, "cpus": None, "pids_limit": None})
    assert _values(lab, name) == {"memory": "max", "cpu": "max", "pids": "max"}
    assert lab.state(name)["pid"] == pid
    for wrong in ({"mem_limit": 1}, {"cpus": -1.0}, {"pids_limit": -2}, {"nothing": 1}, {"cpus": "x"}):
        with pytest.raises(EngineError):
            lab.engine.update(name, wrong)
    assert _values(lab, name) == {"memory": "max", "cpu": "max", "pids": "max"}
    config = lab.engine.container(name)["config"]
    assert not {"mem_limit", "cpus", "pids_limit"} & set(config)


def test_limits_updated_while_stopped_hold_at_the_next_start(lab: Lab) -> None:
    name = lab.up(["sleep", "60"])
    lab.engine.stop(name)
    lab.engine.update(name, {"mem_limit": 48 << 20, "pids_limit": 9})
    lab.engine.start(name)
    assert _values(lab, name) == {"memory": str(48 << 20), "cpu": "max", "pids": "9"}
    lab.kill("supervisor")
    lab.engine.update(name, {"pids_limit": 10})
    assert _values(lab, name)["pids"] == "10"


def test_what_takes_too_much_memory_is_killed_and_said_so(lab: Lab) -> None:
    name = lab.up(["python3", "-c", "x = bytearray(200 << 20); print(len(x))"], mem_limit=48 << 20)
    lab.engine.wait(name)
    state = lab.state(name)
    assert (state["exit_code"], state["oom_killed"], lab.log(name)) == (137, True, "")
    assert state["ending"]["cause"] == "out-of-memory"
    assert state["ending"]["memory_limit"] == 48 << 20 >= state["ending"]["memory_peak"] > 40 << 20
    fine = lab.up(["python3", "-c", "x = bytearray(16 << 20); print(len(x))"], mem_limit=48 << 20)
    lab.engine.wait(fine)
    assert (lab.state(fine)["exit_code"], lab.state(fine)["oom_killed"]) == (0, False)
    with pytest.raises(EngineError, match="out of memory"):
        lab.engine.await_state(name, "completed", 5)


FORKS = """
import os, signal
children = []
try:
    while len(children) < 100:
        if not (child := os.fork()):
            signal.pause()
        children.append(child)
except BlockingIOError:
    pass
print(len(children))
for child in children:
    os.kill(child, 9)
"""


def test_limits_hold_for_processes_of_exec(lab: Lab) -> None:
    name = lab.up(
        ["sleep", "600"],
        init=True,
        mem_limit=48 << 20,
        pids_limit=20,
        cpuset="0",
        ulimits={"nofile": {"soft": 40, "hard": 50}},
    )
    assert int(lab.exec(name, "python3", "-c", FORKS).out) < 20
    assert "no further process" in lab.exec(lab.up(["sleep", "600"], pids_limit=1), "true").err
    assert "Cpus_allowed_list:\t0\n" in lab.exec(name, "cat", "/proc/self/status").out
    assert lab.exec(name, "sh", "-c", "ulimit -Sn; ulimit -Hn").out.split() == ["40", "50"]
    assert lab.exec(name, "python3", "-c", "x = bytearray(200 << 20)").code == 137
    lab.engine.stop(name, 0)
    assert lab.state(name)["oom_killed"]


def _file(lab: Lab, name: str, controller: str, file: str) -> str:
    """A file of a container's control group on version 1."""
    pid = lab.state(name)["pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"{cgroups.layout().mounts[controller]}{path}/{file}").read_text().strip()
    raise AssertionError(controller)


@pytest.mark.skipif(cgroups.layout().version == 2, reason="the files are those of version 1")
def test_every_limit_is_set_changed_and_taken_away_while_it_runs(lab: Lab) -> None:
    device = min(f"/dev/{name}" for name in os.listdir("/sys/block"))
    number = (Path("/sys/block") / device[5:] / "dev").read_text().strip()
    first = {
        "mem_limit": 64 << 20, "memswap_limit": 96 << 20, "mem_reservation": 32 << 20, "mem_swappiness": 7,
        "cpu_period": 50000, "cpu_quota": 20000, "cpu_shares": 200, "cpuset": "0", "cpu_rt_runtime": 5000,
        "blkio_config": {"weight": 300, "device_write_iops": [{"path": device, "rate": 100}]},
        "oom_kill_disable": True,
    }  # fmt: skip
    name = lab.up(["sleep", "600"], **first)
    pid = lab.state(name)["pid"]

    def values() -> list[str]:
        return [
            _file(lab, name, "memory", "memory.limit_in_bytes"),
            _file(lab, name, "memory", "memory.memsw.limit_in_bytes"),
            _file(lab, name, "memory", "memory.soft_limit_in_bytes"),
            _file(lab, name, "memory", "memory.swappiness"),
            _file(lab, name, "memory", "memory.oom_control").split()[1],
            _file(lab, name, "cpu", "cpu.cfs_period_us"),
            _file(lab, name, "cpu", "cpu.cfs_quota_us"),
            _file(lab, name, "cpu", "cpu.shares"),
            _file(lab, name, "cpu", "cpu.rt_runtime_us"),
            _file(lab, name, "cpuset", "cpuset.cpus"),
            _file(lab, name, "blkio", "blkio.bfq.weight"),
            _file(lab, name, "blkio", "blkio.throttle.write_iops_device"),
        ]

    as_asked = [str(64 << 20), str(96 << 20), str(32 << 20), "7", "1", "50000", "20000", "200", "5000", "0"]
    assert values() == [*as_asked, "300", f"{number} 100"]
    lab.engine.update(
        name,
        {
            "mem_limit": 128 << 20, "memswap_limit": -1, "cpu_quota": None, "cpu_period": None, "cpus": 0.5,
            "blkio_config": {"weight": 400}, "oom_kill_disable": None, "mem_swappiness": None,
        },
    )  # fmt: skip
    now = values()
    assert (now[0], int(now[1]) > 1 << 60, now[4:7], now[10:]) == (
        str(128 << 20), True, ["0", "100000", "50000"], ["400", ""]
    )  # fmt: skip
    with pytest.raises(EngineError, match="cpuset"):
        lab.engine.update(name, {"cpus": 0.25, "cpuset": "0-2147483647"})
    assert values() == now
    lab.engine.update(name, dict.fromkeys([*first, "cpus"]))
    lifted = values()
    everywhere = Path(cgroups.layout().mounts["cpuset"], "cpuset.cpus").read_text().strip()
    assert [int(value) > 1 << 60 for value in lifted[:3]] == [True] * 3
    assert lifted[5:] == ["100000", "-1", "1024", "0", everywhere, "100", ""]
    assert lab.state(name)["pid"] == pid
    # Whoever takes over knows where the container is, and leaves nothing there.
    lab.kill("supervisor")
    lab.engine.update(name, {"cpuset": "0"})
    assert _file(lab, name, "cpuset", "cpuset.cpus") == "0"
    assert "Cpus_allowed_list:\t0\n" in lab.exec(name, "cat", "/proc/self/status").out
    groups = [Path(mount, parent_name(lab.root)) for mount in set(cgroups.layout().mounts.values())]
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    own = next(line.split("/")[-1] for line in lines if "/stackpy-" in line)
    assert all((group / own).is_dir() for group in groups)
    lab.engine.remove(name, force=True)
    wait_for(lambda: not [group for group in groups if (group / own).exists()], "the end of its groups")


def test_a_limit_of_another_hierarchy_holds_for_what_is_started_meanwhile(lab: Lab) -> None:
    """A process of exec that joins while the container is taken there is never left out."""
    name = lab.up(["sleep", "600"])
    started = threading.Event()

    def start_many() -> None:
        for _ in range(6):
            lab.exec(name, "sh", "-c", "sleep 600 & :")
            started.set()

    starting = threading.Thread(target=start_many)
    starting.start()
    started.wait()
    lab.engine.update(name, {"cpuset": "0"})
    starting.join()
    shown = lab.exec(name, "sh", "-c", "cat /proc/[0-9]*/status").out
    allowed = {line for line in shown.splitlines() if line.startswith("Cpus_allowed_list")}
    assert allowed == {"Cpus_allowed_list:\t0"}, shown


def test_what_stands_by_for_exec_does_not_count(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])

    def processes() -> int:
        return len((next(iter(_group(lab, name).values())) / "cgroup.procs").read_text().split())

    assert lab.exec(name, "true").code == 0
    wait_for(lambda: processes() == 2, "a process that stands by")
    lab.engine.update(name, {"pids_limit": 4})
    wait_for(lambda: processes() == 1, "its end", 5)  # of its own accord it stays for longer


def test_a_limit_that_the_kernel_refuses_changes_nothing(lab: Lab) -> None:
    hold = "x = bytearray(60 << 20); print(len(x), flush=True); import time; time.sleep(600)"
    name = lab.up(["python3", "-c", hold], mem_limit=128 << 20, cpus=1.0)
    lab.said(name, str(60 << 20))
    with pytest.raises(EngineError, match="use"):
        lab.engine.update(name, {"cpus": 0.5, "mem_limit": 16 << 20})
    assert _values(lab, name) == {"memory": str(128 << 20), "cpu": "100000", "pids": "max"}
    assert lab.engine.container(name)["config"]["mem_limit"] == 128 << 20
    assert lab.state(name)["status"] == "running"


def test_a_group_of_the_users_holds_its_containers_together(lab: Lab) -> None:
    top = f"stackpy-test-parent-{os.getpid()}"
    name = lab.up(["sleep", "600"], cgroup_parent=f"/{top}", pids_limit=30)
    try:
        folder = Path(next(iter(cgroups.layout().mounts.values())), top)
        (group,) = [path for path in _group(lab, name).values() if top in str(path)][:1]
        assert group.parent.parent == folder
        assert lab.exec(name, "sh", "-c", "echo hi").out == "hi\n"
        lab.kill("supervisor")
        lab.engine.update(name, {"pids_limit": 31})
        assert _values(lab, name)["pids"] == "31"
        lab.engine.remove(name, force=True)
        wait_for(lambda: not [one for one in folder.iterdir() if one.is_dir()], "the end of our group")
    finally:
        for mount in set(cgroups.layout().mounts.values()):
            if os.path.isdir(f"{mount}/{top}"):
                os.rmdir(f"{mount}/{top}")


def test_a_limit_below_what_a_start_takes_is_refused(lab: Lab) -> None:
    assert "6 MiB" in lab.reason(["true"], mem_limit=1 << 20)
    assert lab.run(["true"], mem_limit=6 << 20).code == 0


def test_processors_are_bounded(lab: Lab) -> None:
    burn = "import time, os\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass\nprint(os.times().user)"
    used = float(lab.run(["python3", "-c", burn], cpus=0.2).out)
    assert used < 0.4
    assert "cpus" in lab.reason(["true"], cpus=float((os.cpu_count() or 1) + 1))
