"""How containers live and die: hooks, health checks, restarts, and why each has ended."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

MIB = 1 << 20
ORPHAN = "sleep 600 & wait"
HANDLES = "import signal; signal.signal(15, lambda *_: exit(7)); print('up', flush=True); signal.pause()"
SEGFAULT = ["python3", "-c", "import ctypes; ctypes.string_at(0)"]


def why(lab: Lab, name: str) -> Any:
    """Why a container has ended, once it has and the supervisor has taken it into account."""
    lab.engine.wait(name)
    return lab.state(name)["ending"]


# --- deaths -----------------------------------------------------------------------------------------------------------


def test_a_death_is_explained(lab: Lab) -> None:
    assert why(lab, lab.up(["sh", "-c", "exit 3"]))["text"] == "exited with 3"
    crashed = why(lab, lab.up(SEGFAULT))
    assert (crashed["cause"], crashed["signal"]) == ("signal", "SIGSEGV")
    assert crashed["text"] == "killed by SIGSEGV: it crashed"
    greedy = why(lab, lab.up(["python3", "-c", "bytearray(200 << 20)"], mem_limit=32 * MIB))
    assert greedy["text"] == "out of memory (limit 32 MiB, peak 32 MiB)"
    assert (greedy["memory_limit"], greedy["memory_peak"], greedy["signal"]) == (32 * MIB, 32 * MIB, "SIGKILL")
    assert "mem_limit" in greedy["hint"]
    name = lab.up(["sleep", "600"])
    os.kill(lab.state(name)["pid"], signal.SIGKILL)
    assert why(lab, name)["text"] == "killed by SIGKILL, which nothing of stackpy has sent"
    name = lab.up(["sleep", "600"])
    lab.engine.kill(name, "KILL")
    assert why(lab, name)["text"].startswith("killed by SIGKILL from `stackpy kill` of ")
    name = lab.up(["python3", "-c", HANDLES])
    lab.said(name, "up")
    lab.engine.stop(name)
    ended = why(lab, name)
    assert ended["cause"] == "stopped"
    assert ended["text"].startswith("stopped by `stackpy stop` of ")
    assert ended["text"].endswith(", exited with 7")


def test_one_that_does_not_end_in_its_grace_period_is_named_so(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done"])
    lab.said(name, "up")
    assert lab.engine.stop(name, 0.3) == "killed: it did not end within 0.3 s of SIGTERM"
    assert why(lab, name)["text"].endswith("killed: it did not end within 0.3 s of SIGTERM")


WAITS = "import signal; signal.pthread_sigmask(0, {15}); print('up', flush=True); print(signal.sigwait({15}))"
TIMED = "import signal; signal.pthread_sigmask(0, {15}); print('up', flush=True); print(signal.sigtimedwait({15}, 600))"


@pytest.mark.parametrize(
    ("argv", "taken"),
    [
        (["python3", "-c", WAITS], True),  # a JVM, dumb-init: a thread that waits for what all block
        (["python3", "-c", TIMED], True),  # tini
        (["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"], True),
        (["sh", "-c", f"echo up; {ORPHAN}"], False),
        (["sh", "-c", "echo up; exec sleep 600"], False),
    ],
)
def test_a_stop_signal_that_cannot_be_taken_is_not_waited_for(lab: Lab, argv: list[str], taken: bool) -> None:
    name = lab.up(argv)
    lab.said(name, "up")
    how = lab.engine.stop(name, 600)
    if taken:
        assert how == "stopped by SIGTERM"
    else:
        assert how.startswith("killed at once: its first process has no handler for SIGTERM; ")
        assert "init=True" in how
        assert "init=True" in why(lab, name)["hint"]


def test_tini_passes_the_stop_signal_on(lab: Lab) -> None:
    image = lab.image(None, lambda top: shutil.copy("/usr/bin/tini", top / "tini"))
    name = lab.up(["/tini", "--", "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"], image=image)
    lab.said(name, "up")
    assert lab.engine.stop(name, 20) == "stopped by SIGTERM"
    assert why(lab, name)["text"].endswith(", exited with 3")


def test_a_crash_is_remembered_by_the_replacement(lab: Lab) -> None:
    own = {"stackpy.stack": "shop", "stackpy.resource": "container.web", "stackpy.replica": "1"}
    first = lab.up(["sh", "-c", "echo reading; echo broken >&2; exit 9"], labels=own)
    why(lab, first)
    lab.engine.remove(first)
    second = lab.up(["sleep", "600"], labels=own)
    (inspected,) = json.loads(lab.cli("inspect", second).out)
    crash = inspected["State"]["LastCrash"]
    assert (crash["ExitCode"], crash["Ending"]["Text"], crash["Output"]) == (9, "exited with 9", ["reading", "broken"])
    assert [report["name"] for report in lab.engine.crashes("shop")] == [first]
    lab.engine.stop(second)
    assert [report["name"] for report in lab.engine.crashes("shop")] == [first], "a stop is no crash"
    lab.engine.forget_crashes("shop")
    assert lab.engine.crashes("shop") == []


def test_the_reader_knows_who_stopped_it_without_the_supervisor(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    (supervisor,) = lab.processes("supervisor")
    pid = lab.state(name)["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        folder = Path(lab.root) / "containers" / lab.engine.container(name)["id"]
        wait_for((folder / "exit").exists, "the keeper's note")
        assert lab.state(name)["ending"]["text"] == "killed by SIGKILL"
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_want_of_memory_is_known_when_nobody_looked(lab: Lab) -> None:
    """The control group tells it to the next supervisor."""
    name = lab.up(["sh", "-c", "read x < /go; exec python3 -c 'bytearray(200 << 20)'"], mem_limit=32 * MIB,
                  image=lab.image(None, lambda top: os.mkfifo(top / "go")))  # fmt: skip
    (supervisor,) = lab.processes("supervisor")
    lab.exec(name, "sh", "-c", "(sleep 0.5; echo > /go) >&- 2>&- <&- &")
    os.kill(supervisor, signal.SIGSTOP)
    folder = Path(lab.root) / "containers" / lab.engine.container(name)["id"]
    wait_for((folder / "exit").exists, "the keeper's note")
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: lab.processes("supervisor") not in ([], [supervisor]), "another supervisor")
    known = "out of memory (limit 32 MiB, peak 32 MiB)"
    wait_for(lambda: why(lab, name)["text"] == known, lambda: why(lab, name)["text"])


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_run_in_the_container_around_its_life(lab: Lab) -> None:
    name = lab.up(
        ["sh", "-c", "cat /made; sleep 600"],
        environment={"A": "1"},
        pre_start=[{"command": ["sh", "-c", "echo made by pre_start > /made; echo before $A $(id -u)"]}],
        post_start=[
            {"command": ["sh", "-c", "echo after $A $B $(pwd)"], "environment": {"B": "2"}, "working_dir": "/tmp"}
        ],
        pre_stop=[
            {"command": ["sh", "-c", "grep CapEff /proc/self/status; grep -c NoNewPrivs /proc/self/status"]},
            {"command": ["sh", "-c", "grep CapEff /proc/self/status"], "privileged": True},
            {"command": ["sh", "-c", "id -u"], "user": "65534"},
            {"command": ["false"]},
        ],
    )
    assert lab.state(name)["status"] == "running"
    lab.said(name, "after 1 2 /tmp\n")
    lab.said(name, "made by pre_start\n")
    assert lab.log(name).startswith("before 1 0\n")
    lab.engine.stop(name)
    said = lab.log(name)
    usual, full = (line.split()[1] for line in said.splitlines() if line.startswith("CapEff"))
    assert int(usual, 16) < int(full, 16)
    assert int(full, 16) & 1 << 21, "CAP_SYS_ADMIN"
    assert "65534\n" in said
    assert said.endswith("pre_stop `false` exited with 1\n")


def test_hooks_before_init(lab: Lab) -> None:
    """Init passes signals on to the container's program, whatever number hooks have left for it."""
    hooks = [{"command": ["true"]}, {"command": ["sh", "-c", "sleep 300 &"]}]
    script = "trap 'echo got it; exit 7' TERM; echo up; while :; do sleep 0.1; done"
    name = lab.up(["sh", "-c", script], init=True, pre_start=hooks)
    lab.said(name, "up\n")
    assert lab.exec(name, "cat", "/proc/1/comm").out == "init\n"
    lab.engine.stop(name)
    assert (lab.state(name)["exit_code"], lab.log(name)) == (7, "up\ngot it\n")


def test_a_container_that_ends_by_itself_or_is_killed_runs_no_pre_stop(lab: Lab) -> None:
    hook = {"pre_stop": [{"command": ["sh", "-c", "echo never"]}]}
    name = lab.up(["sh", "-c", "exit 0"], **hook)
    why(lab, name)
    other = lab.up(["sleep", "600"], **hook)
    lab.engine.kill(other)
    why(lab, other)
    assert lab.log(name) + lab.log(other) == ""


@pytest.mark.parametrize(
    ("hooks", "message", "code"),
    [
        ({"pre_start": ["sh", "-c", "echo no luck; exit 5"]}, "exited with 5: no luck", 5),
        ({"pre_start": ["no-such-program"]}, "`no-such-program` is not in the image", 127),
        ({"post_start": ["sh", "-c", "echo no luck; exit 6"]}, "exited with 6: no luck", 137),
    ],
)
def test_a_hook_that_fails(lab: Lab, hooks: dict[str, list[str]], message: str, code: int) -> None:
    ((when, argv),) = hooks.items()
    reason = lab.reason(["sh", "-c", "echo up; exec sleep 600"], **{when: [{"command": argv}]})
    assert message in reason
    assert when in reason
    (container,) = lab.engine.containers()
    wait_for(lambda: lab.state(container["id"])["status"] == "exited", "its end")
    state = lab.state(container["id"])
    assert state["exit_code"] == code
    assert message in state["ending"]["text"]
    assert ("up\n" in lab.log(container["id"])) is (when == "post_start")


@pytest.mark.parametrize("when", ["pre_start", "post_start"])
def test_a_stop_does_not_wait_for_a_hook_of_the_start(lab: Lab, when: str) -> None:
    config = lab.config(["sleep", "600"], **{when: [{"command": ["sh", "-c", "echo hooked; sleep 600"]}]})
    failures: list[str] = []

    def start() -> None:
        try:
            lab.engine.up(config)
        except EngineError as error:
            failures.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    wait_for(lambda: any(c["name"] == config["name"] for c in lab.engine.containers()), "the container")
    lab.said(config["name"], "hooked")
    # Others start meanwhile, however many hooks take long.
    assert lab.shell("echo fine").out == "fine\n"
    lab.engine.stop(config["name"])
    thread.join(60)
    assert not thread.is_alive()
    assert lab.state(config["name"])["status"] == "exited"
    assert len(failures) == (1 if when == "pre_start" else 0)
    lab.engine.start(lab.up(["sleep", "600"]))


def test_a_pre_stop_hook_has_the_grace_period(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], pre_stop=[{"command": ["sh", "-c", "sleep 600 & wait"]}], stop_grace_period=0.4)
    began = time.monotonic()
    lab.engine.stop(name)
    assert time.monotonic() - began >= 0.4
    assert "did not end within 0.4 s" in lab.log(name)


# --- health -----------------------------------------------------------------------------------------------------------

SICK: dict[str, Any] = {"test": ["sh", "-c", "echo sick; exit 4"], "interval": 0.1, "retries": 2}


def test_health_results_are_kept(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], healthcheck=SICK)
    wait_for(lambda: lab.state(name)["health"] == "unhealthy", "it is unhealthy")
    wait_for(lambda: len(lab.engine.health_log(name)["log"]) == 5, "five results")
    (inspected,) = json.loads(lab.cli("inspect", name).out)
    health = inspected["State"]["Health"]
    assert health["Status"] == "unhealthy"
    assert health["FailingStreak"] >= 2
    assert [(each["ExitCode"], each["Output"]) for each in health["Log"]] == [(4, "sick")] * 5
    assert all(each["Start"] < each["End"] for each in health["Log"])
    (row,) = [row for row in json.loads(lab.cli("--format", "json", "ps").out) if row["name"] == name]
    assert (row["health"], row["reason"]) == ("unhealthy", "exit code 4: sick")


def test_a_check_that_writes_much_and_one_that_hangs(lab: Lab) -> None:
    """More than a pipe holds must not keep it waiting; what a check that hangs has started goes with it."""
    loud = {"test": ["sh", "-c", "yes | head -c 300000; exit 0"], "interval": 0.1}
    name = lab.up(["sleep", "600"], healthcheck=loud)
    wait_for(lambda: lab.state(name)["health"] == "healthy", "it is healthy")
    (result, *_) = lab.engine.health_log(name)["log"]
    assert len(result["output"]) <= 4096
    hangs = {"test": ["sh", "-c", "sleep 613; true"], "interval": 0.1, "timeout": 0.3, "retries": 1}
    other = lab.up(["sleep", "600"], healthcheck=hangs)
    wait_for(lambda: lab.state(other)["health"] == "unhealthy", "it is unhealthy")
    assert lab.engine.health_log(other)["log"][-1]["exit_code"] == -1
    lab.engine.update(other, {"labels": {}})

    def left() -> list[str]:
        return [
            line
            for line in lab.exec(other, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").out.split()
            if "613" in line
        ]

    assert len(left()) <= 2, "one that runs now at most"


def test_on_unhealthy(lab: Lab) -> None:
    restarted = lab.up(["sleep", "600"], healthcheck=SICK, on_unhealthy="restart")
    stopped = lab.up(["sleep", "600"], healthcheck=SICK, on_unhealthy="stop", restart="always")
    left = lab.up(["sleep", "600"], healthcheck=SICK)
    wait_for(lambda: lab.state(restarted)["restart_count"] >= 2, "two restarts")
    ended = why(lab, stopped)
    assert (ended["cause"], ended["text"]) == ("unhealthy", "stopped as unhealthy: exit code 4: sick")
    assert lab.state(restarted)["ending"]["cause"] == "unhealthy"
    assert lab.state(left)["restart_count"] == 0
    time.sleep(0.3)
    assert lab.state(stopped)["status"] == "exited"
    lab.engine.update(left, {"on_unhealthy": "stop"})


def test_a_check_without_a_test_is_its_images_with_other_times(lab: Lab) -> None:
    check = {"Test": ["CMD-SHELL", "exit 1"], "Interval": 3600 * 10**9, "Retries": 50}
    image = lab.image({"Healthcheck": check})
    name = lab.up(["sleep", "600"], image=image, healthcheck={"interval": 0.05, "retries": 2})
    wait_for(lambda: lab.state(name)["health"] == "unhealthy", "it is unhealthy")
    assert "neither it nor its image has one" in lab.reason(["true"], healthcheck={"retries": 2})


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_container_without_a_log(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "for n in 1 2 3; do echo line $n; done; sleep 600"], log_driver="none")
    folder = Path(lab.root) / "containers" / lab.engine.container(name)["id"]
    time.sleep(0.2)
    assert (folder / "log").stat().st_size == 0
    with pytest.raises(EngineError, match="keeps no log"):
        lab.engine.logs(name)
    done = lab.cli("run", "--rm", "--network", "none", "--log-driver", "none", "lab", "sh", "-c", "echo seen")
    assert (done.code, done.out) == (0, "seen\n")


def test_what_goes_along_with_each_line(lab: Lab) -> None:
    name = lab.up(
        ["sh", "-c", "echo one; echo two"],
        labels={"team": "a b", "other": "x"},
        log_tag="{{.Name}}/{{.ImageName}}",
        log_labels=["team", "absent"],
    )
    lab.engine.wait(name)
    shown = lab.cli("logs", "--details", name).out
    assert shown == f"tag={name}/lab%3Alatest,team=a%20b one\ntag={name}/lab%3Alatest,team=a%20b two\n"


def test_journald_gets_each_line(tmp_path: Path) -> None:
    """Against a socket in journald's place: a machine of tests has no systemd."""
    from stackpy_runtime.container import journald
    from stackpy_runtime.container.logs import Recorder

    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        fields = {"CONTAINER_NAME": "web", "CONTAINER_TAG": "a\nb"}
        recorder = Recorder(str(tmp_path), 10_000, 2, journal=journald.Journal(fields, path))
        recorder.spools[0].append(b"one\r\ntwo\npart")
        recorder.spools[1].append(b"bad\n")
        recorder.record(last=True)
        got = []
        journal.settimeout(60)
        for _ in range(4):
            got.append(journal.recv(65536))
        recorder.close()
    assert all(b"CONTAINER_NAME=web\n" in each and b"CONTAINER_TAG\n\x03" in each for each in got)
    texts = [each.partition(b"MESSAGE\n")[2][8:-1] for each in got]
    assert texts == [b"one\r", b"two", b"part", b"bad"]
    assert [b"PRIORITY=6" in each for each in got] == [True, True, True, False]
    assert [b"CONTAINER_PARTIAL_MESSAGE=true" in each for each in got] == [False, False, True, False]


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_the_pauses_between_restarts_double(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "cat /proc/uptime; exit 1"], restart="on-failure:4")
    wait_for(lambda: lab.state(name)["status"] == "exited" and lab.state(name)["restart_count"] == 4, "the last try")
    lab.engine.wait(name)  # until its last line is in the log as well
    moments = [float(line.split()[0]) for line in lab.log(name).splitlines()]
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert len(gaps) == 4
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert least - 0.02 <= gap
    lab.engine.start(name)
    wait_for(lambda: lab.state(name)["restart_count"] > 0, "its own start began the count anew")
    assert lab.state(name)["restart_count"] <= 4


def test_a_user_s_kill_ends_restarts_even_if_the_supervisor_dies_then(lab: Lab) -> None:
    name = lab.up(["sleep", "600"], restart="always")
    (supervisor,) = lab.processes("supervisor")
    lab.engine.kill(name)
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: lab.processes("supervisor") not in ([], [supervisor]), "another supervisor")
    wait_for(lambda: lab.state(name)["status"] == "exited", "its end")
    time.sleep(0.5)
    assert lab.state(name)["status"] == "exited"
