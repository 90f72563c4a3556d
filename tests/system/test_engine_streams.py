"""What goes in and out: logs, exec, and run attached to the caller's streams."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from stackpy_runtime.errors import Conflict, EngineError
from tests.engine_lab import Lab
from tests.terminal_lab import terminal, until
from tests.waiting import wait_for

pytestmark = pytest.mark.root

# --- logs -----------------------------------------------------------------------------------------------------------


def test_logs_keep_streams_partial_lines_and_odd_bytes_apart(lab: Lab) -> None:
    code = "import os, time\nfor n in range(3):\n os.write(1, f'out {n}\\n'.encode()); time.sleep(0.15)\n"
    code += " os.write(2, f'err {n}\\n'.encode()); time.sleep(0.15)\n"
    code += "os.write(1, b'\\n\\r\\x00\\xff\\n'); os.write(1, b'x' * 40000 + b'\\n'); os.write(2, b'no newline')"
    name = lab.up(["python3", "-c", code])
    lab.engine.wait(name)
    lines = list(lab.engine.logs(name))
    expected = [(stream, f"{stream[3:]} {n}\n") for n in range(3) for stream in ("stdout", "stderr")]
    assert [(line["stream"], line["text"]) for line in lines[:6]] == expected
    assert lab.log(name, "stdout").endswith("\n\r\0�\n" + "x" * 40000 + "\n")
    assert lab.log(name, "stderr").endswith("\nno newline")
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    shown = lab.cli("logs", name)
    assert (shown.out, shown.err) == (lab.log(name, "stdout"), lab.log(name, "stderr") + "\n") or shown.err.startswith(
        "err 0"
    )
    tail = lab.cli("logs", "--tail", "2", name)
    assert len(tail.out) + len(tail.err) < len(shown.out)
    stamped = lab.cli("logs", "--timestamps", name).out.splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z out 0", stamped)
    since = lines[2]["time"]
    later = list(lab.engine.logs(name, since=since))
    assert [line["text"] for line in later] == [line["text"] for line in lines[2:]]
    assert [line["text"] for line in lab.engine.logs(name, until=since)] == [line["text"] for line in lines[:3]]
    assert [line["text"] for line in lab.engine.logs(name, tail=1)] == ["no newline"]


def test_following_ends_with_the_container(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "echo one; sleep 0.5; echo two; sleep 0.5; printf three"])
    seen = [line["text"] for line in lab.engine.logs(name, follow=True)]
    assert seen == ["one\n", "two\n", "three"]
    process = subprocess.Popen(lab.command("logs", "-f", name), env=lab.environment, stdout=subprocess.PIPE)
    assert process.communicate(timeout=60)[0] == b"one\ntwo\nthree\n" or process.returncode == 0


def test_rotation_is_followed_and_bounded(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "seq 1 20000; sleep 60"], log_max_size=100_000, log_max_file=3)
    lab.said(name, "20000\n")
    numbers = [int(line["text"]) for line in lab.engine.logs(name)]
    assert numbers == list(range(numbers[0], 20001)) and len(numbers) < 10000
    folder = f"{lab.root}/containers/{lab.engine.container(name)['id']}"
    sizes = {entry: os.stat(f"{folder}/{entry}").st_size for entry in os.listdir(folder) if entry.startswith("log")}
    assert sizes.keys() == {"log", "log.1", "log.2", "log.state"}
    assert max(sizes.values()) <= 100_000


def test_standard_streams_can_be_opened_again_by_name(lab: Lab) -> None:
    """nginx's images log to /dev/stdout and /dev/stderr; processes of another user than root do too."""
    script = "echo a > /dev/stdout; echo b > /dev/stderr; echo c >> /proc/self/fd/1; cat /dev/stdin"
    for user in ("0", "1000"):
        name = lab.up(["sh", "-c", script + "; sleep 60"], user=user)
        lab.said(name, "b\n")
        assert (lab.log(name, "stdout"), lab.log(name, "stderr")) == ("a\nc\n", "b\n"), user
        for inner in ("0", "1000"):
            done = lab.exec(name, "sh", "-c", script, given="given", user=inner)
            assert (done.code, done.out, done.err) == (0, "a\nc\ngiven", "b\n"), (user, inner)
        done = lab.cli("run", "--rm", "-i", "--network", "none", "-u", user, "lab", "sh", "-c", script, given="given")
        assert (done.code, done.out, done.err) == (0, "a\nc\ngiven", "b\n"), user


# --- exec -----------------------------------------------------------------------------------------------------------


def test_exec(lab: Lab) -> None:
    name = lab.up(
        ["sleep", "600"], environment={"A": "1", "B": "2"}, working_dir="/tmp", hostname="box", user="1000:1000"
    )
    show = 'echo "$A $B $C $PWD $HOSTNAME $(id -u):$(id -g)"; echo err >&2; exit 3'
    done = lab.exec(name, "sh", "-c", show)
    assert done == (3, "1 2  /tmp box 1000:1000\n", "err\n")
    flags = ["-e", "B=x y", "-e", "C=é", "-w", "/etc", "-u", "7:8"]
    done = lab.cli("exec", *flags, name, "sh", "-c", show)
    assert done == (3, "1 x y é /etc box 7:8\n", "err\n")
    big = "".join(f"{n}\n" for n in range(200_000))
    assert lab.exec(name, "cat", given=big).out == big
    assert lab.exec(name, "cat").out == ""
    # More comes out than goes in: neither side may wait for the other.
    wider = "import sys\nfor line in sys.stdin: sys.stdout.write(line * 30)"
    assert lab.exec(name, "python3", "-c", wider, given=big[:300_000]).out == "".join(
        line * 30 for line in big[:300_000].splitlines(True)
    )
    assert lab.exec(name, "head", "-c", "3", given="abcdef").out == "abc"
    assert lab.exec(name, "sh", "-c", "kill -TERM $$").code == 143
    for argv, code in ((["nothing"], 127), (["/etc"], 126), (["/etc/hostname"], 126)):
        failed = lab.exec(name, *argv)
        assert failed.code == code and failed.err.startswith("error: "), failed
    # What it leaves running holds nobody up, and dies with the container.
    assert lab.exec(name, "sh", "-c", "sleep 600 & echo started").out == "started\n"
    lab.engine.stop(name)
    with pytest.raises(Conflict, match="not running"):
        lab.engine.exec(name, ["true"], stdin=False, tty=False, environment={}, working_dir="", user="")


def test_exec_in_a_container_that_is_just_ending(lab: Lab) -> None:
    """Whatever the moment: it runs, or there is a reason that says so."""
    for attempt in range(10):
        name = lab.up(["sleep", f"0.{attempt % 10}"])
        outcome = ""
        while not outcome:
            try:
                code = lab.engine.exec(name, ["true"], stdin=False, tty=False, environment={}, working_dir="", user="")
                outcome = "" if code == 0 else str(code)
            except EngineError as error:
                outcome = str(error)
        assert "running" in outcome or "was killed before" in outcome or outcome == "137", outcome
        lab.engine.remove(name, force=True)


SHELL = (
    'tty; stty size; echo "$TERM"; [ -t 0 ] && echo is-a-terminal; while read line; do echo "got $line"; done; exit 9'
)


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_on_a_terminal(lab: Lab, verb: str) -> None:
    name = lab.up(["sleep", "600"])
    first = ["run", "--rm", "--network", "none", "-it", "lab"] if verb == "run" else ["exec", "-it", name]
    with terminal(lab, *first, "sh", "-c", SHELL) as (process, master):
        shown = until(master, "is-a-terminal")
        assert "/dev/pts/0\n40 100\n" in shown or "/dev/console\n40 100\n" in shown, shown
        os.write(master, b"hello\r")
        assert "got hello" in until(master, "got hello")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        os.write(master, b"\x04")
        assert process.wait(60) == 9
        # The caller's terminal is as before.
        assert termios.tcgetattr(master)[3] & termios.ECHO
    with terminal(
        lab, *first, "sh", "-c", "trap 'echo winch; stty size; exit 4' WINCH; echo up; while :; do sleep 0.1; done"
    ) as (
        process,
        master,
    ):
        until(master, "up")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        assert "50 120" in until(master, "50 120")
        assert process.wait(60) == 4
    with terminal(
        lab, *first, "sh", "-c", "trap 'echo interrupted; exit 5' INT; echo up; while :; do sleep 0.1; done"
    ) as (
        process,
        master,
    ):
        until(master, "up")
        os.write(master, b"\x03")
        until(master, "interrupted")
        assert process.wait(60) == 5


# --- run attached ---------------------------------------------------------------------------------------------------


def test_run_passes_streams_and_code(lab: Lab) -> None:
    run = ["run", "--rm", "--network", "none"]
    done = lab.cli(*run, "-i", "lab", "sh", "-c", "cat; echo err >&2; exit 12", given="in\n")
    assert done == (12, "in\n", "err\n")
    assert lab.cli(*run, "lab", "cat", given="nobody reads this") == (0, "", "")
    big = "".join(f"{n}\n" for n in range(300_000))
    assert lab.cli(*run, "-i", "lab", "cat", given=big).out == big
    wider = "import sys\nfor line in sys.stdin: sys.stdout.write(line * 60)"
    done = lab.cli(*run, "-i", "lab", "python3", "-c", wider, given=big[:300_000])
    assert done.out == "".join(line * 60 for line in big[:300_000].splitlines(True))
    done = lab.cli(*run, "lab", "sh", "-c", "printf 'no newline'")
    assert done.out == "no newline"
    assert lab.engine.containers() == []
    named = lab.cli("run", "--name", "kept", "--network", "none", "lab", "sh", "-c", "echo x")
    assert named.out == "x\n" and lab.log("kept") == "x\n" and lab.state("kept")["status"] == "exited"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_run_passes_signals_on(lab: Lab, number: signal.Signals) -> None:
    # Not print in a handler: the one outside may be in the midst of its own.
    code = "import os, signal, time\nfor n in (1, 2, 10, 15):\n"
    code += " signal.signal(n, lambda n, _: (os.write(1, b'got %d\\n' % n), os._exit(6)))\n"
    code += "print('up', flush=True)\nwhile True: time.sleep(60)"
    command = lab.command("run", "--rm", "--network", "none", "lab", "python3", "-c", code)
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.stdout.read() == f"got {int(number)}\n".encode()
        assert process.wait(60) == 6
    assert lab.engine.containers() == []


def test_a_client_that_is_killed_leaves_its_container_running(lab: Lab) -> None:
    command = lab.command(
        "run", "--name", "left", "--network", "none", "lab", "sh", "-c", "echo up; sleep 1; echo on; sleep 600"
    )
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        process.kill()
    lab.said("left", "on\n")
    assert lab.state("left")["status"] == "running"


def test_a_client_that_reads_slowly_gets_everything(lab: Lab) -> None:
    command = lab.command("run", "--rm", "--network", "none", "lab", "seq", "1", "1000000")
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        got = b""
        while data := os.read(process.stdout.fileno(), 1 << 18):
            got += data
            time.sleep(0.002)
        assert process.wait(60) == 0
    assert got.split() == [str(number).encode() for number in range(1, 1_000_001)]


def test_a_client_that_does_not_read_does_not_fill_the_disk(lab: Lab) -> None:
    """Docker holds such a container up as well: what nobody takes is not written without end."""
    command = lab.command("run", "--name", "held", "--network", "none", "lab", "yes", "0123456789" * 10)
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        wait_for(lambda: any(c["name"] == "held" and c["state"]["pid"] for c in lab.engine.containers()), "its start")
        folder = f"{lab.root}/containers/{lab.engine.container('held')['id']}"

        def blocks() -> int:
            return os.stat(f"{folder}/spool.stdout").st_blocks * 512

        wait_for(lambda: blocks() > 4 << 20, "some output")
        sizes = []
        while len(sizes) < 15:
            time.sleep(0.2)
            sizes.append(blocks())
        assert max(sizes) < 200 << 20
        lab.engine.remove("held", force=True)
        process.kill()


# --- what a kill -9 of the supervisor costs --------------------------------------------------------------------------


def test_following_goes_on_through_a_kill(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do echo $n; sleep 0.2; done"])
    seen: list[str] = []
    follower = threading.Thread(target=lambda: seen.extend(line["text"] for line in lab.engine.logs(name, follow=True)))
    follower.start()
    lab.said(name, "3\n")
    lab.kill("supervisor")
    follower.join(60)
    assert seen == [f"{n}\n" for n in range(1, 10)]
    assert json.loads(lab.cli("inspect", name).out)[0]["State"]["ExitCode"] == 0


def test_200000_lines_survive_the_supervisor_being_killed_again_and_again(lab: Lab) -> None:
    code = "import sys, time\nfor n in range(200000):\n sys.stdout.write(f'{n}\\n')\n"
    code += " if not n % 400: sys.stdout.flush(); time.sleep(0.008)\n"
    name = lab.up(["python3", "-c", code + "sys.stderr.write('done')\nsys.exit(17)"], log_max_file=9)
    kills = 0
    while lab.state(name)["status"] == "running" and kills < 4:
        lab.kill("supervisor")
        kills += 1
        wait_for(lambda: lab.processes("supervisor"), "another supervisor")
        time.sleep(0.05 * (kills % 4))
    assert lab.engine.wait(name) == 17
    assert kills == 4
    assert lab.log(name, "stdout") == "".join(f"{n}\n" for n in range(200_000))
    assert lab.log(name, "stderr") == "done"
