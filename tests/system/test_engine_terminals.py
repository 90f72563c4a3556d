"""attach, start -ai, run and exec on terminals: keys, sizes, modes, signals, and when standard input ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import termios

import pytest

from tests.engine_lab import Lab
from tests.terminal_lab import DETACH, is_raw, resize, terminal, until
from tests.waiting import wait_for

pytestmark = pytest.mark.root

ECHO = 'stty size; while read line; do echo "got $line"; done; echo end; exit 7'
RUN = ("run", "--network", "none")


def status(lab: Lab, name: str) -> str:
    return str(lab.state(name)["status"])


def gone(lab: Lab, name: str) -> bool:
    return name not in {container["name"] for container in lab.engine.containers()}


# --- leaving and coming back ----------------------------------------------------------------------------------------


def test_run_detach_attach_and_end(lab: Lab) -> None:
    with terminal(lab, *RUN, "--rm", "--name", "left", "-it", "lab", "sh", "-c", ECHO) as (process, master):
        # From the first moment: no resize comes after it.
        assert until(master, "40 100").strip() == "40 100"
        os.write(master, b"one\r")
        until(master, "got one")
        os.write(master, b"a\x10b\r")
        until(master, "got a\x10b")
        os.write(master, DETACH)
        assert process.wait(60) == 0
        assert not is_raw(master)
    assert status(lab, "left") == "running"
    with terminal(lab, "attach", "left") as (process, master):
        wait_for(lambda: is_raw(master), "the terminal to be raw")
        os.write(master, b"two\r")
        until(master, "got two")
        os.write(master, DETACH)
        until(master, "read escape sequence")
        assert process.wait(60) == 1
    with terminal(lab, "attach", "--detach-keys", "ctrl-a,x", "left") as (process, master):
        wait_for(lambda: is_raw(master), "the terminal to be raw")
        # Ctrl-Q is the container's terminal's own: what it stops output with, Ctrl-S, goes on.
        os.write(master, DETACH + b"x\r")
        until(master, "got \x10x")
        os.write(master, b"\x01x")
        assert process.wait(60) == 1
    with terminal(lab, "attach", "left") as (process, master):
        wait_for(lambda: is_raw(master), "the terminal to be raw")
        os.write(master, b"\x04")
        until(master, "end")
        assert process.wait(60) == 7
        assert not is_raw(master)
    wait_for(lambda: gone(lab, "left"), "its removal")


def test_exec_is_left_and_goes_on(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    with terminal(lab, "exec", "-it", name, "sh", "-c", "stty size; read line; seq 100000; echo > /tmp/on; read x") as (
        process,
        master,
    ):
        assert until(master, "40 100").strip() == "40 100"
        os.write(master, b"go\r\x10\x11")
        until(master, "read escape sequence")
        assert process.wait(60) == 1
    # More than a terminal holds: somebody reads it.
    wait_for(lambda: lab.exec(name, "cat", "/tmp/on").code == 0, "the process to have gone on")
    lab.kill("supervisor")
    lab.engine.remove(name, force=True)


def test_a_size_changes_with_ours(lab: Lab) -> None:
    watcher = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    name = lab.up(["sh", "-c", watcher], tty=True, stdin_open=True)
    with terminal(lab, "attach", name) as (process, master):
        until(master, "40 100")
        resize(master, 50, 120)
        until(master, "50 120")
        os.write(master, DETACH)
        process.wait(60)
    with terminal(lab, "exec", "-it", name, "sh", "-c", watcher) as (process, master):
        until(master, "40 100")
        resize(master, 51, 121)
        until(master, "51 121")


# --- our terminal is as before ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["attach", "exec", "run"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_client_that_is_killed_leaves_our_terminal_as_it_was(lab: Lab, verb: str, number: signal.Signals) -> None:
    name = lab.up(["sh", "-c", "echo up; exec cat"], tty=True, stdin_open=True)
    words = {
        "attach": ["attach", name],
        "exec": ["exec", "-it", name, "cat"],
        "run": [*RUN, "--rm", "--name", "victim", "-it", "lab", "cat"],
    }
    with terminal(lab, *words[verb]) as (process, master):
        before = termios.tcgetattr(master)
        wait_for(lambda: is_raw(master), "the terminal to be raw")
        process.send_signal(number)
        assert process.wait(60) == -number
        wait_for(lambda: not is_raw(master), "the terminal to be as before")
        assert (
            termios.tcgetattr(master)[3] & (termios.ECHO | termios.ICANON)
            == before[3] & (termios.ECHO | termios.ICANON)
            or before[3] & termios.ICANON == 0
        )
    assert status(lab, name) == "running"


def test_a_client_that_was_stopped_goes_on_raw(lab: Lab) -> None:
    name = lab.up(["cat"], tty=True, stdin_open=True)
    with terminal(lab, "attach", name) as (process, master):
        wait_for(lambda: is_raw(master), "the terminal to be raw")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        # A shell gives the terminal its own modes then.
        modes = termios.tcgetattr(master)
        modes[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(master, termios.TCSANOW, modes)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: is_raw(master), "the terminal to be raw again")
        os.write(master, DETACH)
        assert process.wait(60) == 1


# --- when standard input ends ----------------------------------------------------------------------------------------


def test_input_ends_with_the_first_client_of_run_i(lab: Lab) -> None:
    assert lab.cli(*RUN, "--rm", "-i", "lab", "cat", given="x\n") == (0, "x\n", "")
    # A client that dies ends it as well.
    command = lab.command(*RUN, "--name", "once", "-i", "lab", "sh", "-c", "echo up; cat; echo end")
    with subprocess.Popen(command, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        process.kill()
    lab.said("once", "end\n")
    assert json.loads(lab.cli("inspect", "once").out)[0]["Config"]["StdinOnce"] is True


def test_input_stays_open_for_a_container_in_the_background(lab: Lab) -> None:
    made = lab.cli(*RUN, "-d", "-i", "--name", "open", "lab", "sh", "-c", ECHO)
    assert made.code == 0
    for word in ("one", "two"):
        command = lab.command("attach", "open")
        with subprocess.Popen(command, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin and process.stdout
            process.stdin.write(f"{word}\n".encode())
            process.stdin.close()
            assert process.stdout.readline() == f"got {word}\n".encode()
            process.kill()
    # Nor does a kill of ours end it.
    lab.kill("supervisor")
    command = lab.command("attach", "--no-stdin", "open")
    with subprocess.Popen(command, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        other = lab.command("attach", "open")
        with subprocess.Popen(other, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdin and writer.stdout
            writer.stdin.write(b"three\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == b"got three\n"
            writer.kill()
        assert process.poll() is None
        process.kill()
    assert status(lab, "open") == "running"


def test_create_and_start_attached_again_and_again(lab: Lab) -> None:
    assert lab.cli("create", "--network", "none", "-i", "--name", "again", "lab", "sh", "-c", "cat; exit 5").code == 0
    for word in ("one", "two"):
        assert lab.cli("start", "-ai", "again", given=word) == (5, word, "")
    refused = lab.cli("start", "-a", "again", "again")
    assert refused.code == 64 and "only one container" in refused.err
    stopped = lab.cli("attach", "again")
    assert stopped.code == 1 and "it is not running" in stopped.err


def test_only_the_streams_that_were_asked_for(lab: Lab) -> None:
    script = "cat; echo out; echo err >&2; exit 3"
    run = (*RUN, "--rm")
    assert lab.cli(*run, "-a", "stdout", "lab", "sh", "-c", script, given="in") == (3, "out\n", "")
    assert lab.cli(*run, "-a", "stderr", "lab", "sh", "-c", script) == (3, "", "err\n")
    assert lab.cli(*run, "-i", "-a", "stdin", "lab", "sh", "-c", script, given="in") == (3, "", "")
    assert lab.cli(*run, "-d", "-a", "stdin", "lab", "true").code == 64


# --- signals ---------------------------------------------------------------------------------------------------------


def test_signals_go_to_the_container_unless_told_otherwise(lab: Lab) -> None:
    code = "import os, signal, time\nsignal.signal(15, lambda *_: (os.write(1, b'got 15\\n'), os._exit(6)))\n"
    code += "print('up', flush=True)\nwhile True: time.sleep(60)"
    name = lab.up(["python3", "-c", code])
    lab.said(name, "up\n")
    command = lab.command("attach", "--sig-proxy=false", name)
    with subprocess.Popen(command, env=lab.environment) as process:
        try:
            wait_for(lambda: _is_connected(process.pid), "the client to have attached")
            process.terminate()
            assert process.wait(60) == -signal.SIGTERM
        finally:
            process.kill()
    assert status(lab, name) == "running"
    command = lab.command("attach", name)
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE) as process:
        try:
            wait_for(lambda: _catches(process.pid, signal.SIGTERM), "the client to have attached")
            process.terminate()
            assert process.stdout and process.stdout.read() == b"got 15\n"
            assert process.wait(60) == 6
        finally:
            process.kill()


def _is_connected(pid: int) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{number}").startswith("socket:") for number in os.listdir(folder))
    except FileNotFoundError:
        return False  # one was closed since it was listed


def _catches(pid: int, number: int) -> bool:
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("SigCgt:"))
    return bool(int(line.split()[1], 16) >> number - 1 & 1)


# --- a kill -9 of the supervisor -------------------------------------------------------------------------------------


def test_an_attached_client_goes_on_through_kills_of_the_supervisor(lab: Lab) -> None:
    code = "import sys, time\nfor n in range(40000):\n sys.stdout.write(f'{n}\\n')\n"
    code += " if not n % 200: sys.stdout.flush(); time.sleep(0.01)\nsys.exit(9)"
    command = lab.command(*RUN, "--name", "on", "-i", "lab", "python3", "-c", code)
    with subprocess.Popen(command, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        got = process.stdout.readline()
        for _ in range(2):
            lab.kill("supervisor")
            wait_for(lambda: lab.processes("supervisor"), "another supervisor")
            got += process.stdout.readline()
        got += process.stdout.read()
        assert process.wait(60) == 9
    assert got == "".join(f"{n}\n" for n in range(40000)).encode()


def test_a_terminal_is_still_ours_after_a_kill_of_the_supervisor(lab: Lab) -> None:
    with terminal(lab, *RUN, "--rm", "-it", "lab", "sh", "-c", ECHO) as (process, master):
        until(master, "40 100")
        lab.kill("supervisor")
        os.write(master, b"one\r")  # before the next one is there
        until(master, "got one")
        os.write(master, b"\x04")
        until(master, "end")
        assert process.wait(60) == 7


# --- exec ------------------------------------------------------------------------------------------------------------


def test_exec_privileged_detached_and_refused(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    show = "import sys; print(*[line.split()[1] for line in open('/proc/self/status') if line[:3] == 'Cap'])"
    inheritable, permitted, effective, bounding, ambient = lab.exec(name, "python3", "-c", show).out.split()
    assert int(inheritable, 16) == int(ambient, 16) == 0
    plain = int(effective, 16)
    inheritable, permitted, effective, bounding, ambient = lab.cli(
        "exec", "--privileged", name, "python3", "-c", show
    ).out.split()
    assert int(inheritable, 16) == int(ambient, 16) == 0
    assert int(effective, 16) > plain and permitted == effective == bounding
    assert lab.cli("exec", "-d", name, "sh", "-c", "echo $A > /tmp/made", "-e", "A=1").code == 0
    assert lab.cli("exec", "-d", "-e", "A=made", name, "sh", "-c", "echo $A > /tmp/made; seq 100000").out == ""
    wait_for(lambda: lab.exec(name, "cat", "/tmp/made").out == "made\n", "the detached process")
    assert lab.cli("exec", "-d", "-t", name, "sh", "-c", "seq 100000; tty > /tmp/tty").code == 0
    wait_for(lambda: lab.exec(name, "cat", "/tmp/tty").out.startswith("/dev/pts/"), "the detached process")
    for words, code, message in (
        (["-d", name, "nothing"], 127, "is not in the image"),
        ([name, "nothing"], 127, "is not in the image"),
        ([name, "/etc"], 126, "cannot execute"),
        (["-u", "nobody-here", name, "true"], 126, "no user `nobody-here`"),
        (["-u", "0:nobody-here", name, "true"], 126, "no group `nobody-here`"),
        (["-w", "/proc/self/fd/3", name, "true"], 126, "cannot be used"),
        (["--detach-keys", "nonsense", name, "true"], 1, "is no key"),
    ):
        done = lab.cli("exec", *words)
        assert done.code == code and message in done.err, done
    lab.engine.stop(name, 0)
    assert lab.cli("exec", name, "true").code == 1


def test_exec_on_a_terminal_from_a_pipe(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    done = lab.cli("exec", "-t", name, "sh", "-c", "tty; stty size")
    assert done == (0, "/dev/pts/0\r\n24 80\r\n", "")
    assert "`-t` needs a terminal" in lab.cli("exec", "-it", name, "true").err


def test_exec_gets_ctrl_c_on_its_terminal(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    with terminal(lab, "exec", "-it", name, "sh", "-c", "trap 'echo caught; exit 5' INT; echo up; sleep 60 & wait") as (
        process,
        master,
    ):
        until(master, "up")
        os.write(master, b"\x03")
        until(master, "caught")
        assert process.wait(60) == 5
        assert fcntl.fcntl(master, fcntl.F_GETFD) >= 0


def test_what_stands_by_for_the_next_exec_is_nothing_of_the_container(lab: Lab) -> None:
    name = lab.up(["sleep", "600"])
    for _ in range(3):
        assert lab.exec(name, "sh", "-c", "ls /proc").out.split().count("1") == 1
    group = lab.engine.container_processes(name)
    assert [open_comm(pid) for pid in group] == ["sleep"]
    # Nor does it outlive the container, or come along into its next life.
    lab.engine.stop(name, 0)
    lab.engine.start(name)
    assert lab.exec(name, "sh", "-c", "echo on").out == "on\n"
    limited = lab.up(["sleep", "600"], pids_limit=3)
    for _ in range(3):
        assert lab.exec(limited, "true").code == 0


def open_comm(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
