"""`run`, `exec` and the container commands, as they are typed."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.waiting import wait_for

pytestmark = pytest.mark.root


def test_streams_and_exit_code(box: Cli) -> None:
    result = box("run", "--rm", "box", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_nothing_is_left_of_a_container_with_rm(box: Cli) -> None:
    box("run", "--rm", "--name", "short", "box", "true", code=127)
    box("run", "--rm", "--name", "short", "box", "sh", "-c", ":")
    assert [row for row in box.json("ps") if row["name"] == "short"] == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--rm", "--pull", "never", "nothing", "true"], 125, "error: no such image: `nothing`"),
        (["run", "--rm", "box", "nothing"], 127, "`nothing` is not in the image"),
        (["run", "--rm", "box", "/etc"], 126, "cannot execute `/etc`"),
        (["run", "--rm", "box", "sh", "-c", "sh -c 'kill -9 $$'"], 137, ""),
        (["run", "--frobnicate", "box"], 64, "error: unknown option `--frobnicate` for `stackpy run`"),
        (["run", "--gpus", "all", "box"], 64, "error: `stackpy run` has no `--gpus`: what gives containers"),
        (["run", "--rm", "box", "sh", "-c", 'exit "$2"', "--gpus", "--link", "7"], 7, ""),
        (["run", "--expose", "8080:80", "box"], 64, "error: `--expose 8080:80`: a port of the container is meant"),
        (["run", "--pull", "never", "--platform", "linux/s390x", "box"], 125, "no such image: `box` for linux/s390x"),
        (["exec", "nobody", "true"], 1, "error: no container is called `nobody`"),
    ],
)
def test_exit_codes_are_dockers(box: Cli, words: list[str], code: int, message: str) -> None:
    assert message in box(*words, code=code).stderr


def test_a_first_process_that_cannot_take_its_signal_is_named_with_the_remedy(box: Cli) -> None:
    box("run", "-d", "--name", "deaf", "box", "sleep", "600")
    why = "killed at once: its first process has no handler for SIGTERM"
    told = f"deaf: {why}; to have it end by itself: init=True (`run --init`)\n"
    for verb in ("restart", "stop"):
        done = box(verb, "deaf")
        assert (done.stdout, done.stderr) == ("deaf\n", told)
    [status] = [row["status"] for row in box.json("ps") if row["name"] == "deaf"]
    assert status.startswith("Exited (137) ") and status.endswith(f": stopped by `stackpy stop` of root, {why}")
    box("rm", "deaf")


def test_exec_makes_no_working_folder(box: Cli) -> None:
    name = box("run", "-d", "-w", "/made", "box", "sleep", "600").stdout.strip()
    assert box("exec", name, "sh", "-c", "pwd").stdout == "/made\n"
    assert (
        "working folder /typo cannot be used: no such file" in box("exec", "-w", "/typo", name, "sh", code=126).stderr
    )
    assert "must be an absolute path" in box("exec", "-w", "typo", name, "sh", code=64).stderr
    assert box("diff", name).stdout.split() == ["A", "/made"]
    box("rm", "-f", name)


def test_input_environment_folder_user_and_files(box: Cli, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM_FILE=1\n# not this\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content")
    program = (
        "import os, sys, json; json.dump([sys.stdin.read(), os.getcwd(), os.getuid(), os.environ.get('A'), "
        "os.environ.get('FROM_FILE'), os.environ.get('OURS'), open('/data/file').read()], sys.stdout)"
    )
    result = box(
        "run", "--rm", "-i", "-e", "A=1", "-e", "OURS", "--env-file", str(tmp_path / "env"), "-w", "/usr",
        "-u", "1234:1234", "-v", f"{tmp_path}/data:/data:ro", "box", "python3", "-c", program,
        given="typed", environment={"OURS": "yes"},
    )  # fmt: skip
    assert json.loads(result.stdout) == ["typed", "/usr", 1234, "1", "1", "yes", "content"]


def test_without_i_the_input_is_empty(box: Cli) -> None:
    assert box("run", "--rm", "box", "cat", given="typed").stdout == ""


def test_read_only_and_tmpfs(box: Cli) -> None:
    script = "echo x > /tmp/x && echo yes; echo x 2>/dev/null > /x || echo no"
    assert box("run", "--rm", "--read-only", "--tmpfs", "/tmp", "box", "sh", "-c", script).stdout == "yes\nno\n"


def test_a_terminal(box: Cli) -> None:
    ours, theirs = pty.openpty()
    process = box.start(
        "run", "--rm", "-it", "box", "python3", "-c", "import sys; print(sys.stdin.isatty(), input())",
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"hello\n")
    assert process.wait(60) == 0
    output = os.read(ours, 4096).decode()
    os.close(ours)
    assert "True hello" in output


def test_a_terminal_is_refused_where_there_is_none(box: Cli) -> None:
    result = box("exec", "-it", "whatever", "sh", code=1)
    assert "`-t` needs a terminal" in result.stderr


def test_a_life(box: Cli) -> None:
    """run -d, ps, exec, logs, stop, start, kill, restart, wait, inspect, rm."""
    loop = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(1)"
    identifier = box("run", "-d", "--name", "life", "--restart", "no", "box", "python3", "-c", loop).stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", identifier)
    [row] = [row for row in box.json("ps") if row["name"] == "life"]
    assert (row["id"], row["image"], row["state"], row["exit_code"]) == (identifier, "box:latest", "running", None)

    assert box("exec", "life", "sh", "-c", "echo $HOSTNAME").stdout == f"{identifier[:12]}\n"
    assert box("exec", identifier[:8], "sh", "-c", "exit 5", code=5).stdout == ""
    told = box("exec", "-i", "-e", "A=1", "-w", "/usr", "life", "sh", "-c", "cat; echo $A; pwd", given="in ")
    assert told.stdout == "in 1\n/usr\n"
    wait_for(lambda: box("logs", "life").stdout == "begun\n", "the first line in the log")

    [document] = json.loads(box("inspect", "life").stdout)
    assert (document["Id"], document["State"]["Running"], document["Name"]) == (identifier, True, "/life")

    assert box("rm", "life", code=1).stderr.startswith("error: ")
    assert box("stop", "-t", "20", "life").stdout == "life\n"
    assert box("wait", "life").stdout == "137\n"  # python3 as PID 1 takes no SIGTERM: it is not waited for
    assert box("exec", "life", "true", code=1).stderr.startswith("error: ")
    assert box("start", "life").stdout == "life\n"
    assert box("restart", "-t", "0", "life").stdout == "life\n"
    assert box("kill", "-s", "KILL", "life").stdout == "life\n"
    assert box("wait", "life").stdout == "137\n"
    wait_for(lambda: box("logs", "life").stdout == "begun\n" * 3, "the log of three lives")
    lines = box("logs", "--tail", "1", "--timestamps", "life").stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z begun\n", lines)
    assert box("logs", "--since", "0s", "life").stdout == ""
    assert box("rm", "life").stdout == "life\n"
    missing = box("inspect", "life", code=1)
    assert (missing.stdout, missing.stderr[:45]) == ("[]\n", "error: no container, image, network or volume")


def test_logs_follow_until_the_end(box: Cli) -> None:
    box("run", "-d", "--name", "talker", "box", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    result = box("logs", "-f", "talker")
    assert result.stdout == "1\n2\n3\n"
    box("rm", "talker")


def test_several_at_once_and_one_that_is_not_there(box: Cli) -> None:
    for name in ("one", "two"):
        box("run", "-d", "--name", name, "box", "sleep", "60")
    result = box("rm", "-f", "one", "three", "two")  # 0, as docker: it is not there afterwards
    assert result.stdout == "one\ntwo\n"
    assert result.stderr.startswith("error: no container is called `three`\n")


def test_a_published_port_and_a_limit(box: Cli, free_port: int) -> None:
    program = (
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b'hi')\n"
        "http.server.HTTPServer(('', 80), H).serve_forever()"
    )
    box("run", "-d", "--name", "web", "-p", f"{free_port}:80", "-m", "64m", "box", "python3", "-c", program)

    def ask() -> bytes:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{free_port}", timeout=60) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    assert wait_for(ask, "an answer") == b"hi"
    [document] = json.loads(box("inspect", "web").stdout)
    assert document["HostConfig"]["Memory"] == 64 << 20
    assert f"127.0.0.1:{free_port}->80/tcp" in box("ps").stdout
    taken = box("run", "-d", "-p", f"{free_port}:80", "box", "sleep", "1", code=125)
    assert "web" in taken.stderr
    box("rm", "-f", *(row["name"] for row in box.json("ps") if row["image"] == "box:latest"))


def test_nobody_reads_the_output(box: Cli) -> None:
    process = box.start("image", "ls")
    assert process.stdout
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == ""
    assert process.returncode in (0, 141)


def test_an_interrupt_ends_logs_with_130(box: Cli) -> None:
    box("run", "-d", "--name", "quiet", "box", "sh", "-c", "echo up; exec sleep 60")
    process = box.start("logs", "-f", "quiet")
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    box("rm", "-f", "quiet")


def test_three_interrupts_that_a_container_ignores_leave_it(box: Cli) -> None:
    process = box.start("run", "--name", "deaf", "box", "sh", "-c", "echo up; exec sleep 60")
    assert process.stdout
    assert process.stdout.readline() == "up\n"

    def left() -> bool:
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    wait_for(left, "the end of the command")  # those that come at once are one
    _, errors = process.communicate(timeout=60)
    [row] = [row for row in box.json("ps") if row["name"] == "deaf"]
    identity = row["id"][:12]
    assert (process.returncode, row["state"]) == (130, "running")
    assert errors == (
        f"error: container {identity}: it runs on: 3 signals have not ended it\n"
        f"hint: `stackpy kill {identity}` ends it; with `--init` it would take the signals\n"
    )
    box("rm", "-f", "deaf")


def test_images_networks_and_volumes(box: Cli) -> None:
    [image] = [row for row in box.json("image", "ls") if row["reference"] == "box:latest"]
    assert set(image) == {"id", "reference", "digest", "size", "created"}
    [document] = json.loads(box("image", "inspect", "box").stdout)
    assert document["RepoTags"] == ["box:latest"]
    box("run", "--rm", "-v", "kept:/data", "box", "sh", "-c", "echo 1 > /data/file")
    assert box("run", "--rm", "-v", "kept:/data", "box", "cat", "/data/file").stdout == "1\n"
    assert [row["name"] for row in box.json("volume", "ls")] == ["kept"]
    [volume] = json.loads(box("volume", "inspect", "kept").stdout)
    assert Path(volume["Mountpoint"], "file").read_text() == "1\n"
    assert box("volume", "rm", "kept").stdout == "kept\n"
    assert box("volume", "rm", "kept", code=1).stderr.startswith("error: no such volume: `kept`")
    assert box("volume", "rm", "-f", "kept").stderr == ""
    assert box.json("volume", "ls") == []


def test_a_service_without_a_terminal_gets_no_colour(box: Cli) -> None:
    result = box("ps", environment={"FORCE_COLOR": "1"})
    assert "\x1b" not in result.stdout + box("system", "check").stdout


def test_completion_scripts_are_valid(box: Cli, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(box("completion", "bash").stdout)
    asked = (
        f'source {script}; stackpy() {{ {" ".join(box.program)} "$@"; }}; '
        'COMP_LINE="stackpy image inspect bo" COMP_POINT=24; _stackpy; echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "-c", asked], env=box.environment, capture_output=True, text=True, check=True, cwd="/"
    )
    assert result.stdout == "box:latest\n"


def test_what_run_imports(box: Cli) -> None:
    """The hot path: run's process must be over before anyone has noticed it."""
    timed = [box.program[0], "-X", "importtime", *box.program[1:], "run", "--rm", "box", "sh", "-c", ":"]
    errors = subprocess.run(timed, env=box.environment, capture_output=True, text=True, check=True, cwd="/").stderr
    found = {line.rpartition("|")[2].strip() for line in errors.splitlines() if line.startswith("import time:")}
    dear = (
        "argparse asyncio ctypes dataclasses datetime difflib jinja2 msgspec pathlib rich sqlite3 subprocess threading"
    )
    assert found & set(dear.split()) == set()
    assert {name for name in found if name.startswith("stackpy.") and name.count(".") == 1} <= {
        "stackpy.cli", "stackpy.engines", "stackpy.errors", "stackpy.planning", "stackpy.dsl",
    }  # fmt: skip


def test_mounts_as_docker_takes_them(box: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    mounts = ["-v", "/own", "--mount", f"type=bind,source={tmp_path},target=/here,readonly"]
    first = box(
        "create",
        "--cidfile",
        str(tmp_path / "id"),
        *mounts,
        "--mount",
        "src=kept,dst=/kept",
        "box",
        "sh",
        "-c",
        "cat /here/file; echo x > /own/a; echo y > /kept/b; echo z > /here/no",
    )
    assert (tmp_path / "id").read_text() == first.stdout.strip()
    name = first.stdout.strip()
    result = box("start", "-a", name, code=2)
    assert result.stdout == "content" and "Read-only file system" in result.stderr
    script = "cat /own/a /kept/b; cat /here/file; echo z > /own/c"
    again = box("run", "--rm", "--volumes-from", f"{name}:ro", "box", "sh", "-c", script, code=2)
    assert again.stdout == "x\ny\ncontent" and "Read-only file system" in again.stderr
    refused = box("run", "--cidfile", str(tmp_path / "id"), "box", "true", code=125)
    assert f"`{tmp_path}/id` is there already" in refused.stderr
    volumes = [row["name"] for row in box.json("volume", "ls")]
    assert "kept" in volumes
    box("rm", "-v", name)
    left = [row["name"] for row in box.json("volume", "ls")]
    assert "kept" in left and len(left) == len(volumes) - 1
    assert not (tmp_path / "none").exists()
    box("run", "--rm", "--pull", "never", "--cidfile", str(tmp_path / "none"), "no-such", code=125)
    assert not (tmp_path / "none").exists()
    code = box("run", "--rm", "--cidfile", str(tmp_path / "other"), "box", "sh", "-c", "echo out; exit 3", code=3)
    assert code.stdout == "out\n" and len((tmp_path / "other").read_text()) == 64
    box("volume", "rm", "kept")


def test_publish_all_takes_what_is_exposed(box: Cli) -> None:
    name = box("run", "-d", "-P", "--expose", "81", "--expose", "53/udp", "box", "sleep", "600").stdout.strip()
    [row] = [row for row in box.json("ps") if row["id"].startswith(name[:12])]
    assert "->81/tcp" in str(row["ports"]) or any(port.get("target") == 81 for port in row["ports"])
    assert len(row["ports"]) == 2
    box("rm", "-f", name)
