"""What a container can use up, and what stands in each one's environment.

Rows of the threat list: 2021-43784, 2021-21334, 2022-31030, 2022-23471, 2022-25153, 2025-64329, 2017-14992.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stackpy_runtime.errors import EngineError
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

MEBIBYTE = 1 << 20
HASHED = "import hashlib, os, sys; print(len(sys.argv[1]), hashlib.sha256(sys.argv[1].encode()).hexdigest())"


def _memory(lab: Lab) -> int:
    """Bytes that the engine's processes have in memory, those that stand by aside."""
    total = 0
    for pid in lab.processes():
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        total += int(fields["VmRSS"].split()[0]) << 10
    return total


def _open(lab: Lab) -> dict[str, int]:
    """Descriptors and threads of keeper and supervisor."""
    found = {}
    for what in ("keeper", "supervisor"):
        for pid in lab.processes(what):
            found[f"{what} descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
            found[f"{what} threads"] = len(os.listdir(f"/proc/{pid}/task"))
    return found


class Peak:
    """The most memory of the engine's processes, and of a client, while a block runs."""

    def __init__(self, lab: Lab, client: int = 0) -> None:
        self.lab, self.client = lab, client
        self.most = self.client_most = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, _memory(self.lab))
            try:
                pages = int(Path(f"/proc/{self.client}/statm").read_text().split()[1]) if self.client else 0
            except (OSError, IndexError):
                pages = 0
            self.client_most = max(self.client_most, pages << 12)

    def __enter__(self) -> Peak:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def test_2022_31030_an_exec_that_prints_2_gib(lab: Lab) -> None:
    name = lab.up(["sleep", "60"])
    lab.exec(name, "true")
    before = _memory(lab)
    command = lab.command("exec", name, "head", "-c", str(2 << 30), "/dev/zero")
    size = 0
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        with Peak(lab, process.pid) as peak:
            while data := process.stdout.read(MEBIBYTE):
                size += len(data)
    assert process.returncode == 0
    assert size == 2 << 30
    assert peak.most - before < 50 * MEBIBYTE
    assert peak.client_most < 50 * MEBIBYTE


def _blocks(path: Path) -> int:
    try:
        return path.stat().st_blocks if path.is_file() else 0
    except FileNotFoundError:
        # Rotated away in this moment.
        return 0


@pytest.mark.parametrize("newline", [True, False])
def test_2022_31030_a_container_that_prints_without_end(lab: Lab, newline: bool) -> None:
    """192 MiB with nobody attached: the log is rotated, and neither memory nor disk grow with what is printed."""
    lab.shell("true")
    before = _memory(lab)
    program = "yes 0123456789012345678901234567890123456789" if newline else "cat /dev/zero"
    with Peak(lab) as peak:
        name = lab.up(["sh", "-c", f"{program} | head -c {192 << 20}"], log_max_size=1_000_000, log_max_file=2)
        most = 0
        folder = Path(lab.root) / "containers" / lab.engine.container(name)["id"]
        while lab.state(name)["status"] == "running":
            most = max(most, sum(_blocks(path) for path in folder.iterdir()) * 512)
            time.sleep(0.02)
        lab.engine.wait(name)
    assert lab.state(name)["exit_code"] == 0
    assert peak.most - before < 50 * MEBIBYTE
    assert most < 64 * MEBIBYTE
    logs = [path.stat().st_size for path in folder.glob("log*") if path.name != "log.state"]
    assert len(logs) == 2 and max(logs) <= 2_000_000 + MEBIBYTE


def test_2025_64329_nothing_is_left_of_many_execs_and_runs(lab: Lab) -> None:
    name = lab.up(["sleep", "60"])

    def execute(number: int) -> int:
        return lab.engine.exec(
            name,
            ["true" if number % 3 else "false"],
            stdin=False,
            tty=False,
            environment={},
            working_dir="" if number % 7 else "/proc/self/fd/3",
            user="",
        )

    def attempt(number: int) -> None:
        try:
            execute(number)
        except EngineError:
            # Every seventh is refused.
            pass

    for number in range(1, 30):
        attempt(number)
    before = wait_for(lambda: _open(lab), "the engine")
    memory = _memory(lab)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(attempt, range(200)))
    for _ in range(20):
        lab.shell("echo x")
        with pytest.raises(EngineError):
            lab.engine.up({**lab.config(["nothing"]), "name": "lab-fails"})
        lab.engine.remove("lab-fails")
    wait_for(
        lambda: all(_open(lab)[key] <= before[key] + 8 for key in before), lambda: f"as before: {before}, {_open(lab)}"
    )
    assert _memory(lab) - memory < 20 * MEBIBYTE


def test_a_fork_bomb_is_held(lab: Lab) -> None:
    code = """
import time
count = 0
try:
    while True:
        pid = os.fork()
        if not pid:
            time.sleep(60)
        count += 1
except OSError as error:
    print(count, errno.errorcode[error.errno], flush=True)
    time.sleep(60)
"""
    from tests.engine_lab import PRELUDE

    name = lab.up(["python3", "-c", PRELUDE + code], pids_limit=40)
    lab.said(name, "EAGAIN")
    assert lab.log(name) == "39 EAGAIN\n"
    with pytest.raises(EngineError):
        # Neither may exec add to them.
        lab.engine.exec(name, ["true"], stdin=False, tty=False, environment={}, working_dir="", user="")
    bomb = lab.up(["sh", "-c", "b() { b | b & b; }; b; sleep 60"], pids_limit=60)
    lab.run(["true"])
    for one in (name, bomb):
        lab.engine.remove(one, force=True)


def test_2021_21334_each_has_its_own_environment(lab: Lab) -> None:
    lab.shell("true")

    def one(number: int) -> tuple[str, dict[str, str]]:
        mine = {"OWN": str(number), f"ONLY_{number}": "x" * number}
        ended = lab.engine.up({**lab.config(["env"], environment=mine), "name": f"env-{number}", "hostname": "h"})
        code = lab.engine.wait(ended)
        assert code == 0
        return f"env-{number}", mine

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(one, range(80)))
    for name, mine in done:
        shown = dict(line.split("=", 1) for line in lab.log(name).splitlines())
        base = {key: shown.pop(key) for key in ("PATH", "HOME", "HOSTNAME")}
        assert base["HOSTNAME"] == "h"
        assert shown == mine


@pytest.mark.parametrize("size", [1, 65536, 131071])
def test_2021_43784_long_arguments_and_variables_are_exact(lab: Lab, size: int) -> None:
    import hashlib

    text = ("ä€x" * size).encode()[: size - size % 6].decode() or "x"
    expected = f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}\n"
    assert lab.run(["python3", "-c", HASHED, text]).out == expected
    in_environment = HASHED.replace("sys.argv[1]", "os.environ['X']")
    short = text[: (len(text) - 1) if size > 100000 else len(text)]
    expected = f"{len(short)} {hashlib.sha256(short.encode()).hexdigest()}\n"
    ended = lab.run(["python3", "-c", in_environment], environment={"X": short, "LC_ALL": "C.UTF-8"})
    assert ended.out == expected
    many = {f"NAME_{number}": str(number) for number in range(size // 100)}
    assert lab.run(["env"], environment=many).out.count("NAME_") == len(many)


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ["true", "x" * 131072]},
        {"argv": ["true"], "environment": {"X": "x" * 131072}},
        {"argv": ["x" * 300_000]},
        {"argv": ["/" + "x" * 300]},
        {"argv": ["/x" * 3000]},
        {"argv": ["true"], "hostname": "h" * 64},
        {"argv": ["true"], "hostname": "h" * 100_000},
        {"argv": ["true"], "working_dir": "/" + "w" * 300},
        {"argv": ["true"], "working_dir": "/w" * 3000},
        {"argv": ["true"], "user": "u" * 100_000},
        {"argv": ["true", "a\0b"]},
        {"argv": ["true"], "environment": {"A": "b\0c"}},
        {"argv": ["true"], "environment": {"A=B": "c"}},
        {"argv": [""]},
        {"argv": ["true"], "working_dir": "/a\0b"},
        {"argv": ["true"], "user": "a\0b"},
        {"argv": ["true"], "mounts": [{"type": "tmpfs", "source": "", "target": "/a\0b", "read_only": False}]},
        {"argv": ["true"], "mounts": [{"type": "tmpfs", "source": "", "target": "/a" * 3000, "read_only": False}]},
        {"argv": ["true"], "mem_limit": 1 << 80},
        {"argv": ["true"], "pids_limit": 1 << 80},
        {"argv": ["true"], "cpus": 1e300},
        {"argv": ["true"], "cpus": float("nan")},
        {"argv": ["true"], "mem_limit": -1},
        {"argv": ["true"], "log_max_file": 0},
        {"argv": ["true"], "log_max_size": -1},
        {"argv": ["true"], "stop_signal": "NOPE"},
        {"argv": ["true"], "stop_grace_period": -5.0},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_2021_43784_what_is_too_long_or_odd_is_refused(lab: Lab, fields: dict[str, object]) -> None:
    values = dict(fields)
    argv = values.pop("argv")
    reason = lab.reason(argv, **values)  # type: ignore[arg-type]
    assert 0 < len(reason) < 2000
    assert "Error:" not in reason, reason
    assert lab.shell("echo still here").out == "still here\n"


def test_everything_killed_leaves_nothing(lab: Lab) -> None:
    networked = lab.up(["sleep", "60"], network_mode="bridge")
    names = [networked, *(lab.up(["sleep", "60"], mem_limit=64 << 20, pids_limit=20) for _ in range(3))]
    pids = [lab.state(name)["pid"] for name in names]
    identities = {lab.engine.container(name)["id"] for name in names}
    spares = [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and _parent(entry) in map(str, lab.processes("keeper"))
    ]
    lab.kill()
    for pid in [*pids, *spares]:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    wait_for(lambda: {lab.state(name)["status"] for name in names} == {"exited"}, "the containers' end")
    lab.clear()
    lab.leave()
    wait_for(
        lambda: not [path for path in Path("/sys/fs/cgroup").glob("*/stackpy-*") if _ours(path, lab)], "its cgroups"
    )
    assert lab.root not in Path("/proc/self/mountinfo").read_text()
    assert os.listdir(f"{lab.root}/run/io") == []
    assert not identities & set(os.listdir(f"{lab.root}/containers"))


def _parent(entry: str) -> str:
    try:
        return Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return ""


def _ours(path: Path, lab: Lab) -> bool:
    from stackpy_runtime.container.cgroups import parent_name

    return path.name == parent_name(lab.root)
