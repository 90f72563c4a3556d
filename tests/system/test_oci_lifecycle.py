"""The verbs of the OCI runtime, as callers of runc use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.oci import groups
from tests.oci_lab import Oci, oci_fixture
from tests.waiting import wait_for

__all__ = ["oci_fixture"]
pytestmark = pytest.mark.root


def test_run_hands_on_output_input_and_the_exit_code(oci: Oci) -> None:
    result = oci.run("sh", "-c", "cat; echo err >&2; exit 7", given="typed\n", code=7)
    assert (result.stdout, result.stderr) == ("typed\n", "err\n")
    assert oci.states() == []


def test_a_program_that_a_signal_ends(oci: Oci) -> None:
    oci.run("sh", "-c", "sh -c 'kill -9 $$'; exit $?", code=137)


def test_the_way_from_create_to_delete(oci: Oci, tmp_path: Path) -> None:
    marker = "/tmp/started"
    identity = oci.create("sh", "-c", f"touch {marker}; exec sleep 1000", start=False)
    root = Path(oci.state(identity)["rootfs"])
    state = oci.state(identity)
    assert state["status"] == "created"
    assert state["ociVersion"].startswith("1.2")
    assert state["bundle"] == str(root.parent)
    assert not (root / marker[1:]).exists()
    assert os.path.exists(f"/proc/{state['pid']}")
    oci("start", identity)
    assert oci.state(identity)["status"] == "running"
    wait_for((root / marker[1:]).exists, "the program runs")
    assert "is running, not created" in oci("start", identity, code=1).stderr
    assert "is running, not stopped" in oci("delete", identity, code=1).stderr
    oci("kill", identity, "KILL")
    wait_for(lambda: oci.state(identity)["status"] == "stopped", "it stops")
    assert oci.state(identity)["pid"] == 0
    assert "container not running" in oci("kill", identity, "TERM", code=1).stderr
    oci("delete", identity)
    assert "does not exist" in oci("state", identity, code=1).stderr
    oci("delete", "--force", identity)
    assert "does not exist" in oci("delete", identity, code=1).stderr


def test_an_id_and_a_control_group_are_taken_once(oci: Oci) -> None:
    identity = oci.create("sleep", "1000")
    path = oci.bundle("true")
    assert "already exists" in oci("create", "-b", str(path), identity, code=1).stderr

    def same_group(document: dict[str, Any]) -> None:
        document["linux"]["cgroupsPath"] = f"/stackpy-oci/{identity}"

    path = oci.bundle("true", change=same_group)
    assert "cgroup is not empty" in oci("create", "-b", str(path), "other", code=1).stderr
    assert oci.state(identity)["status"] == "running"


def test_a_group_that_stands_still_is_refused(oci: Oci) -> None:
    # Whoever joined it would stand still, and so would the caller that waits for it.
    group = groups.Group(f"/stackpy-oci-still-{os.getpid()}")
    group.create()
    try:
        group.freeze(True)
        path = oci.bundle("true", change=lambda document: document["linux"].update(cgroupsPath=group.path))
        assert "unexpectedly frozen" in oci("run", "-b", str(path), "still", code=1).stderr
    finally:
        group.freeze(False)
        group.remove()


def test_paths_of_options_and_cpus(oci: Oci, tmp_path: Path) -> None:
    """Paths are meant from the caller's folder, CPUs are the control group's and not the caller's."""
    path = oci.bundle("grep", "Cpus_allowed:", "/proc/self/status")

    def on_one_cpu() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    result = oci("run", "-b", str(path), "--pid-file", "pid", "cpus", cwd=tmp_path, preexec_fn=on_one_cpu)
    assert bin(int(result.stdout.split()[1].replace(",", ""), 16)).count("1") == os.cpu_count()
    assert int((tmp_path / "pid").read_text()) > 1


@pytest.mark.parametrize("identity", ["..", "a/b", "", "a b", "x" * 2000])
def test_what_is_no_id(oci: Oci, identity: str) -> None:
    assert oci("state", identity, code=None).returncode != 0
    assert "is not a container ID" in oci("create", "-b", str(oci.bundle("true")), identity, code=1).stderr


def test_signals_reach_a_container_that_waits_to_be_started(oci: Oci) -> None:
    identity = oci.create("sleep", "1000", start=False)
    oci("kill", identity, "TERM")
    wait_for(lambda: oci.state(identity)["status"] == "stopped", "it stops")
    assert "is stopped, not created" in oci("start", identity, code=1).stderr
    oci("delete", identity)


def test_exec(oci: Oci, tmp_path: Path) -> None:
    identity = oci.create("sleep", "1000")
    result = oci("exec", "-e", "A=b", "--cwd", "/tmp", "-u", "1000:1000", "-g", "77", identity,
                 "sh", "-c", "id -u; id -g; id -G; echo $A; pwd; cat; exit 5", given="in\n", code=5)  # fmt: skip
    assert result.stdout == "1000\n1000\n1000 77\nb\n/tmp\nin\n"
    document = {"args": ["sh", "-c", "echo $$ $B; umask"], "env": ["PATH=/bin", "B=c"], "cwd": "/"}
    document["user"] = {"uid": 0, "gid": 0, "umask": 0o77}
    (tmp_path / "process.json").write_text(json.dumps(document))
    pid_file = tmp_path / "pid"
    words = ("exec", "--process", str(tmp_path / "process.json"), "--pid-file", str(pid_file), identity)
    inside, variable, mask = oci(*words).stdout.split()
    assert (variable, mask) == ("c", "0077")
    assert int(pid_file.read_text()) != int(inside) > 1
    result = oci("exec", identity, "nosuch", code=255)
    assert "executable file not found in $PATH: no such file or directory" in result.stderr
    oci("kill", identity, "KILL")
    wait_for(lambda: oci.state(identity)["status"] == "stopped", "it stops")
    assert "not running" in oci("exec", identity, "true", code=255).stderr


def test_pause_and_resume(oci: Oci) -> None:
    identity = oci.create("sleep", "1000")
    oci("pause", identity)
    assert oci.state(identity)["status"] == "paused"
    assert "cannot exec in a paused container" in oci("exec", identity, "true", code=255).stderr
    oci("resume", identity)
    oci("exec", identity, "true")
    oci("pause", identity)
    oci("kill", identity, "KILL")
    wait_for(lambda: oci.state(identity)["status"] == "stopped", "one that was held still ends too")


def test_kill_all_reaches_every_process(oci: Oci) -> None:
    identity = oci.create("sh", "-c", "sleep 1000 & sleep 1001 & wait")
    wait_for(lambda: len(json.loads(oci("ps", "-f", "json", identity).stdout)) == 3, "its processes run")
    oci("kill", "--all", identity, "KILL")
    wait_for(lambda: oci.state(identity)["status"] == "stopped", "all end")
    assert json.loads(oci("ps", "-f", "json", identity).stdout) == []


def both_run(oci: Oci, identity: str) -> list[int]:
    """The PIDs of the two processes of a container."""

    def listed() -> list[int]:
        found: list[int] = json.loads(oci("ps", "-f", "json", identity).stdout)
        return found if len(found) == 2 else []

    pids: list[int] = wait_for(listed, "both run")
    return pids


@pytest.mark.parametrize("first_is_gone", [False, True])
def test_a_shared_pid_namespace_leaves_nothing_behind(oci: Oci, first_is_gone: bool) -> None:
    def change(document: dict[str, Any]) -> None:
        spaces = document["linux"]["namespaces"]
        document["linux"]["namespaces"] = [each for each in spaces if each["type"] != "pid"]

    def runs(pid: int) -> bool:
        return os.path.exists(f"/proc/{pid}/exe")

    identity = oci.create("sh", "-c", "sleep 1000 & exec sleep 1001", change=change)
    found = both_run(oci, identity)
    if first_is_gone:
        os.kill(oci.state(identity)["pid"], signal.SIGKILL)
        wait_for(lambda: oci.state(identity)["status"] == "stopped", "the first ends")
    # runc's tests: of those that share the host's processes KILL ends all.
    oci("kill", identity, "KILL")
    wait_for(lambda: not any(runs(pid) for pid in found), "all end")
    oci("delete", "--force", identity)


def test_signal_0_asks_whether_it_runs(oci: Oci) -> None:
    identity = oci.create("sleep", "1000")
    oci("kill", identity, "0")
    oci("kill", identity, "KILL")
    wait_for(lambda: oci.state(identity)["status"] == "stopped", "it ends")
    assert "container not running" in oci("kill", identity, "0", code=1).stderr


def test_nothing_to_start_is_told_by_start(oci: Oci) -> None:
    # The specification allows a bundle without a process; what waits in it held the lock that `start` waits for.
    identity = oci.create(change=lambda document: document.pop("process"), start=False)
    assert "process is missing" in oci("start", identity, code=1).stderr
    oci("delete", identity)


def test_update_and_events(oci: Oci) -> None:
    identity = oci.create("sleep", "1000")
    oci("update", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "20", identity)
    oci("update", "--resources", "-", identity, given=json.dumps({"cpu": {"quota": 20000, "period": 100000}}))
    report = json.loads(oci("events", "--stats", identity).stdout)
    assert report["type"] == "stats"
    assert report["data"]["memory"]["usage"]["limit"] == 64 << 20
    assert report["data"]["pids"] == {"current": 1, "limit": 20}
    assert "resources.pids.limit" in oci(
        "update", "--resources", "-", identity, given='{"pids": {"limit": "many"}}', code=1
    ).stderr  # fmt: skip
    kept = json.loads((oci.root / identity / "config.json").read_text())["linux"]["resources"]
    assert kept["pids"] == {"limit": 20}
    assert kept["cpu"] == {"quota": 20000, "period": 100000}


def test_errors_are_in_the_log(oci: Oci, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    oci("--log", str(log), "--log-format", "json", "start", "nobody", code=1)
    line = json.loads(log.read_text())
    assert (line["level"], line["msg"]) == ("error", "container nobody does not exist")


def test_descriptors_are_handed_on(oci: Oci) -> None:
    path = oci.bundle("sh", "-c", "ls /proc/self/fd | wc -l; cat <&3; cat <&4")
    first, second = os.pipe(), os.pipe()
    for (_, writing), text in ((first, b"one "), (second, b"two")):
        os.write(writing, text)
        os.close(writing)

    def place() -> None:
        os.dup2(first[0], 103)
        os.dup2(second[0], 104)
        os.dup2(103, 3)
        os.dup2(104, 4)

    result = subprocess.run(
        [*oci.program, "run", "--preserve-fds", "2", "-b", str(path), "fds"],
        capture_output=True, text=True, env=oci.environment, preexec_fn=place, close_fds=False, check=True,
    )  # fmt: skip
    # Of ls: the two, the standard streams, the pipe that is its output and the folder.
    assert result.stdout.split() == ["6", "one", "two"]
    for descriptor in (first[0], second[0]):
        os.close(descriptor)


def test_a_terminal_is_sent_to_the_console_socket(oci: Oci, tmp_path: Path) -> None:
    import socket

    def change(document: dict[str, Any]) -> None:
        document["process"]["terminal"] = True
        document["process"]["consoleSize"] = {"height": 30, "width": 90}

    path = oci.bundle("sh", "-c", "tty; stty size; ls -la /dev/console", change=change)
    assert "--console-socket is needed" in oci("create", "-b", str(path), "tty", code=1).stderr
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console.sock"))
        listener.listen(1)
        oci("create", "-b", str(path), "--console-socket", str(tmp_path / "console.sock"), "tty")
        line, _ = listener.accept()
        with line:
            _, [console], _, _ = socket.recv_fds(line, 100, 1)
    oci("start", "tty")
    shown = b""
    try:
        while data := os.read(console, 1000):
            shown += data
    except OSError:
        pass
    os.close(console)
    name, size, node = shown.decode().splitlines()
    assert (name, size) == ("/dev/pts/0", "30 90")
    assert node.startswith("crw") and "136," in node


def test_a_pidfd_is_sent_to_the_socket(oci: Oci, tmp_path: Path) -> None:
    import signal
    import socket

    path = oci.bundle("sleep", "1000")
    nowhere = oci("create", "-b", str(path), "--pidfd-socket", "/nowhere", "held", code=1)
    assert "--pidfd-socket `/nowhere`: no such file" in nowhere.stderr
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pidfd.sock"))
        listener.listen(2)
        oci.detached("run", "-d", "-b", str(path), "--pidfd-socket", str(tmp_path / "pidfd.sock"), "held")
        oci.detached("exec", "-d", "--pidfd-socket", str(tmp_path / "pidfd.sock"), "held", "sleep", "1000")
        found = {}
        for _ in range(2):
            line, _ = listener.accept()
            with line:
                name, [pidfd], _, _ = socket.recv_fds(line, 100, 1)
            found[name] = pidfd
    assert list(found) == [b"standard", b"setns"]
    signal.pidfd_send_signal(found[b"standard"], signal.SIGKILL)
    for pidfd in found.values():
        os.close(pidfd)
    wait_for(lambda: oci.state("held")["status"] == "stopped", "it is killed by its pidfd")


def test_a_terminal_in_the_foreground(oci: Oci) -> None:
    def change(document: dict[str, Any]) -> None:
        document["process"]["terminal"] = True

    result = oci.run("sh", "-c", "test -t 0 && read line && echo got $line", change=change, given="word\n")
    assert result.stdout.endswith("got word\n")
    # As runc's: a line of output ends as it was written.
    assert "\r" not in result.stdout


def test_an_empty_home_is_the_users(oci: Oci) -> None:
    assert oci.shell("echo $HOME", change=lambda document: document["process"]["env"].append("HOME=")) == "/root\n"


def test_signals_to_run_reach_the_program(oci: Oci) -> None:
    path = oci.bundle("sh", "-c", "trap 'exit 9' TERM; echo ready; while true; do sleep 0.05; done")
    process = subprocess.Popen(
        [*oci.program, "run", "-b", str(path), "sig"], stdout=subprocess.PIPE, env=oci.environment
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 9
    process.stdout.close()


def test_what_is_not_supported_is_refused(oci: Oci) -> None:
    assert "checkpoint" in oci("checkpoint", "x", code=1).stderr
    assert "managed as files" in oci("--systemd-cgroup", "state", "x", code=64).stderr
    assert "did you mean" in oci("delete", "--forc", "x", code=64).stderr
    assert oci("frobnicate", code=64).stderr.startswith("error: unknown verb `frobnicate`")


def test_a_failed_create_leaves_nothing(oci: Oci) -> None:
    for argv in (["nosuch"], ["/nosuch/program"]):
        assert "no such file or directory" in oci.run(*argv, code=1).stderr
    assert oci.states() == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/stackpy-oci/c{os.getpid()}-*")) == []
    assert "permission denied" in oci.run("/etc", code=1).stderr
