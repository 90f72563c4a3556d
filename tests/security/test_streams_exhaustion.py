"""Output and clients without end. Rows of the threat list: 2022-31030 (and 2022-23471, 2023-25153, 2025-64329)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.engine_lab import Lab
from tests.terminal_lab import DETACH, is_raw, resize, terminal
from tests.waiting import wait_for

pytestmark = pytest.mark.root

MUCH = 256 << 20  # bytes; with STACKPY_MUCH=1 what the row says, 2 GiB
CYCLES = 40  # 2,000 with STACKPY_MUCH=1
if os.environ.get("STACKPY_MUCH"):
    MUCH, CYCLES = 2 << 30, 2000


def resident(lab: Lab) -> int:
    """Memory of our processes in bytes."""
    found = 0
    for pid in lab.processes():
        status = Path(f"/proc/{pid}/status").read_text()
        found += int(re.search(r"VmRSS:\s+(\d+)", status)[1]) << 10  # type: ignore[index]
    return found


def held(lab: Lab) -> dict[str, int]:
    """Descriptors and threads of our processes, by what they are."""
    found = {"fds": 0, "threads": 0}
    for pid in lab.processes():
        found["fds"] += len(os.listdir(f"/proc/{pid}/fd"))
        found["threads"] += len(os.listdir(f"/proc/{pid}/task"))
    return found


def test_2022_31030_output_of_exec_is_kept_nowhere(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    lab.exec(name, "true")
    before = resident(lab)
    command = lab.command("exec", name, "sh", "-c", f"yes | head -c {MUCH}")
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        got = 0
        while data := os.read(process.stdout.fileno(), 1 << 20):
            got += len(data)
            status = Path(f"/proc/{process.pid}/status").read_text()
            size = re.search(r"VmRSS:\s+(\d+)", status)
            assert size is None or int(size[1]) << 10 < 64 << 20
    assert got == MUCH and process.returncode == 0
    # Nor of one that nobody reads: it waits.
    with subprocess.Popen(lab.command("exec", name, "yes"), env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout and os.read(process.stdout.fileno(), 1024)
        process.kill()
    assert resident(lab) - before < 50 << 20


def test_2022_31030_output_of_a_container_is_kept_in_its_log_alone(lab: Lab) -> None:
    name = lab.up(["sh", "-c", f"yes 0123456789012345678901234567890 | head -c {MUCH}"])
    before = resident(lab)
    with subprocess.Popen(lab.command("logs", "-f", name), env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        got = 0
        while data := os.read(process.stdout.fileno(), 1 << 20):
            got += len(data)
    assert lab.engine.wait(name) == 0
    assert resident(lab) - before < 50 << 20
    folder = Path(lab.root) / "containers" / lab.engine.container(name)["id"]
    blocks = sum(os.stat(path).st_blocks * 512 for path in folder.iterdir())
    assert blocks < 80 << 20, {path.name: os.stat(path).st_blocks * 512 for path in folder.iterdir()}
    assert 0 < got <= MUCH


def test_a_neighbour_is_heard_while_a_container_prints_without_end(lab: Lab) -> None:
    loud = lab.up(["yes", "0123456789" * 10])
    quiet = lab.up(["sh", "-c", "while read line; do echo $line; done"], stdin_open=True)
    command = lab.command("attach", quiet)
    with (
        subprocess.Popen(lab.command("logs", "-f", loud), env=lab.environment, stdout=subprocess.DEVNULL) as follower,
        subprocess.Popen(command, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdin and process.stdout
        for number in range(20):
            process.stdin.write(f"{number}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline() == f"{number}\n".encode()
        assert follower.poll() is None
        process.kill()
        follower.kill()


def test_2022_31030_attaching_executing_and_resizing_leave_nothing(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "while :; do sleep 60; done"], tty=True, stdin_open=True)

    def cycle() -> None:
        with terminal(lab, "attach", name) as (process, master):
            wait_for(lambda: is_raw(master), "the terminal to be raw")
            resize(master, 50, 120)
            os.write(master, DETACH)
            process.wait(60)
        with terminal(lab, "exec", "-it", name, "sh", "-c", "stty size") as (process, master):
            resize(master, 60, 130)
            process.wait(60)
        assert lab.engine.exec(name, ["true"], stdin=False, tty=False, environment={}, working_dir="", user="") == 0

    for _ in range(3):
        cycle()
    wait_for(lambda: settled(lab), "what three cycles have begun to end")
    before, memory = held(lab), resident(lab)
    for _ in range(CYCLES):
        cycle()
    wait_for(lambda: held(lab)["fds"] <= before["fds"], lambda: f"{before}, not {held(lab)}")
    wait_for(
        lambda: held(lab)["threads"] <= before["threads"], lambda: f"as few threads as before: {before}, {held(lab)}"
    )
    assert resident(lab) - memory < 20 << 20
    assert [line for line in lab.exec(name, "sh", "-c", "ls /proc").out.split() if line.isdigit()].count("1") == 1


def settled(lab: Lab) -> bool:
    """Whether nothing comes or goes at the moment."""
    first = held(lab)
    return first == held(lab)
