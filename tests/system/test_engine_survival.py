"""Keeper and supervisor killed, a full disk, a database from the future, odd roots: nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError
from stackpy_runtime.network import endpoints
from stackpy_runtime.network.names import Names
from stackpy_runtime.store.store import Store
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

SERVER = """
import http.server, os, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["HOSTNAME"].encode())
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def ask(port: int, timeout: float = 20.0) -> str:
    """What a published HTTP server answers; "" when it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=timeout) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def binding(port: int) -> dict[str, Any]:
    return {"host_ip": "127.0.0.1", "published": port, "target": 8000, "protocol": "tcp"}


@pytest.mark.parametrize("victim", ["supervisor", "keeper", ""])
def test_containers_go_on_whoever_is_killed(lab: Lab, victim: str) -> None:
    port = free_port()
    lab.engine.create_network({"name": "net"})
    web = lab.up(
        ["python3", "-c", SERVER], hostname="web", networks={"net": {"aliases": ["www"]}}, ports=[binding(port)]
    )
    other = lab.up(
        ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"], networks={"net": {"aliases": []}}
    )
    ends = lab.up(["sh", "-c", "read x < /go; exit 23"], image=lab.image(None, lambda f: os.mkfifo(f / "go")))
    again = lab.up(["sleep", "600"], restart="always")
    wait_for(lambda: ask(port) == "web", "the server")
    pids = {name: lab.state(name)["pid"] for name in (web, other, ends, again)}
    keepers = lab.processes("keeper")
    lab.kill(victim)
    assert ask(port) == "web"
    assert {name: lab.state(name)["pid"] for name in pids} == pids
    lab.back()
    wait_for(lambda: len(lab.processes()) == 2, "two processes")
    assert (lab.processes("keeper") == keepers) == (victim == "supervisor")
    assert {name: lab.state(name)["pid"] for name in pids} == pids
    # All that can be done with a container can be done with these.
    assert ask(port) == "web"
    resolve = f"import socket; print(socket.gethostbyname('www') == socket.gethostbyname('{web}'))"
    assert lab.exec(other, "python3", "-c", resolve).out == "True\n"
    assert lab.exec(ends, "sh", "-c", "echo > /go").code in (0, 137)
    assert lab.engine.wait(ends) == 23
    os.kill(pids[again], signal.SIGKILL)
    wait_for(lambda: lab.state(again)["pid"] not in (0, pids[again]), "the restart")
    lab.engine.update(web, {"pids_limit": 30})
    taken = lab.config(["true"], networks={"net": {"aliases": []}}, ports=[binding(port)])
    with pytest.raises(EngineError, match=str(port)):
        lab.engine.up(taken)
    assert lab.engine.stop(other).startswith("killed at once")
    numbers = lab.log(other).split()
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
    lab.engine.remove(web, force=True)
    assert ask(port, 0.3) == ""


@pytest.mark.parametrize("victim", ["supervisor", "keeper", ""])
def test_what_clients_run_goes_on_whoever_is_killed(lab: Lab, victim: str) -> None:
    """`exec -i` and `run -i`: what was given meanwhile arrives, all output comes, and the exit code where it can."""
    name = lab.up(["sleep", "600"])
    both = (["exec", "-i", name], ["run", "--rm", "-i", "--network", "none", "lab"])
    clients = [
        subprocess.Popen(
            lab.command(*words, "sh", "-c", "cat; echo end; exit 7"),
            env=lab.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        for words in both
    ]
    for client in clients:
        assert client.stdin and client.stdout
        client.stdin.write(b"before\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"before\n"
    lab.kill(victim)
    ended = [client.communicate(b"after\n", timeout=60) for client in clients]
    assert [out for out, _ in ended] == [b"after\nend\n"] * 2
    codes = [client.returncode for client in clients]
    if victim == "supervisor":
        assert codes == [7, 7]
    else:
        # Its parent is gone, and the kernel tells nobody else; of a container newer kernels do.
        assert codes[0] == 1 and b"the engine was killed, and what became of the process is not known" in ended[0][1]
        assert codes[1] in (7, 125)


def test_what_ended_while_nobody_looked_is_known_as_ended(lab: Lab) -> None:
    """Nobody of ours saw it end: that it has is known, and that its code is not."""
    began = time.monotonic()
    name = lab.up(["sleep", "600"])
    pid = lab.state(name)["pid"]
    lab.kill()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: lab.state(name)["status"] == "exited", "its end")
    state = lab.state(name)
    assert (state["exit_code"], state["pid"]) == (None, 0)
    assert "not known" in state["error"]
    lab.back()
    wait_for(lambda: lab.state(name)["finished_at"], "it is taken into account")
    assert lab.state(name)["exit_code"] is None

    def ran() -> list[str]:
        ends = [each for each in lab.engine.events(since=0, follow=False) if each["Action"] == "die"]
        attributes = [each["Actor"]["Attributes"] for each in ends]
        return [each["execDuration"] for each in attributes if each["name"] == name]

    [duration] = wait_for(ran, "what tells of its end")
    assert int(duration) < time.monotonic() - began + 1, "from its start, and not from the host's"
    lab.engine.start(name)
    assert lab.state(name)["status"] == "running"


def test_an_end_that_the_keeper_saw_alone_is_known(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "echo last; sleep 0.3; exit 9"])
    (supervisor,) = lab.processes("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    folder = Path(lab.root) / "containers" / lab.engine.container(name)["id"]
    wait_for((folder / "exit").exists, "the keeper's note")
    assert (lab.state(name)["status"], lab.state(name)["exit_code"]) == ("exited", 9)
    os.kill(supervisor, signal.SIGKILL)
    lab.back()
    assert lab.engine.wait(name) == 9
    wait_for(lambda: lab.log(name) == "last\n", "its output")


def test_killed_while_starting_it_converges(lab: Lab) -> None:
    """Kills at odd moments of many starts: each container runs, or it can be started; nothing is left over."""

    def one(number: int) -> str:
        config = {**lab.config(["sleep", "600"]), "name": f"burst-{number}"}
        try:
            lab.engine.up(config)
        except EngineError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(one, number) for number in range(24)]
        for number in range(3):
            time.sleep(0.03 * number)
            lab.kill("supervisor")
            wait_for(lambda: lab.processes("supervisor"), "another")
        said = [result.result(60) for result in results]
    lab.back()
    for number, reason in enumerate(said):
        name = f"burst-{number}"
        known = {container["name"]: container for container in lab.engine.containers()}
        if not reason:
            assert known[name]["state"]["status"] == "running"
        elif name in known:
            lab.engine.start(name)
            assert lab.state(name)["status"] == "running", reason
    for container in lab.engine.containers():
        lab.engine.remove(container["id"], force=True)
    wait_for(lambda: os.listdir(f"{lab.root}/run/io") == [], lambda: f"no FIFO: {os.listdir(lab.root + '/run/io')}")

    def groups() -> list[str]:
        from stackpy_runtime.container.cgroups import layout, parent_name

        mount = next(iter(layout().mounts.values()))
        parent = Path(mount) / parent_name(lab.root)
        return [path.name for path in parent.iterdir() if path.is_dir()] if parent.exists() else []

    # Those that stand by remain.
    wait_for(lambda: len(groups()) <= 3, lambda: f"no group: {groups()}")


def test_a_database_from_the_future_is_refused(tmp_path: Path) -> None:
    lab = Lab(str(tmp_path / "root"))
    lab.build()
    connection = sqlite3.connect(f"{lab.root}/state.db")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version + 1000}")
    connection.close()
    for words in (["ps"], ["run", "--rm", "lab", "true"], ["image", "ls"]):
        done = lab.cli(*words)
        assert done.code in (1, 125) and done.out == "", words
        assert "newer" in done.err and "Traceback" not in done.err, done.err
    connection = sqlite3.connect(f"{lab.root}/state.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    wait_for(lambda: lab.cli("run", "--rm", "--network", "none", "lab", "true").code == 0, "it works again")
    lab.leave()


@pytest.fixture(name="small")
def small_fixture(tmp_path: Path) -> Iterator[Lab]:
    """A lab on a disk of its own, with some 10 MB left."""
    image, folder = tmp_path / "disk", tmp_path / "mounted"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    lab = Lab(str(folder / "root"))
    try:
        lab.build()
        yield lab
    finally:
        for ballast in folder.glob("ballast"):
            ballast.unlink()
        lab.leave()
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Takes all space of a disk."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        block = b"x" * (1 << 20)
        while block:
            try:
                while True:
                    file.write(block)
            except OSError:
                block = block[: len(block) // 2]
    return ballast


def test_a_full_disk_is_said_and_got_over(small: Lab) -> None:
    writes = small.up(
        ["sh", "-c", "n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo $n; [ $n = 100 ] && sleep 0.5; done; exit 5"]
    )
    small.said(writes, "100\n")
    steady = small.up(["sleep", "600"])
    ballast = fill(Path(small.root).parent)
    (supervisor,) = small.processes("supervisor")
    busy = _processor_time(supervisor)
    refused = 0
    for _ in range(3):
        config = small.config(["true"])
        try:
            small.engine.up(config)
        except EngineError as error:
            refused += 1
            assert "space" in str(error) or "full" in str(error), error
            assert "Traceback" not in str(error)
    assert refused
    assert small.state(steady)["status"] == "running"
    time.sleep(1)
    assert _processor_time(supervisor) - busy < 1.5
    ballast.unlink()
    assert small.engine.wait(writes) == 5
    wait_for(lambda: small.log(writes) == "".join(f"{n}\n" for n in range(1, 3001)), "all lines")
    assert small.shell("echo fine").out == "fine\n"


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_end_on_a_full_disk_is_not_forgotten(small: Lab) -> None:
    name = small.up(["sh", "-c", "sleep 1; exit 31"])
    ballast = fill(Path(small.root).parent)
    wait_for(
        lambda: not os.path.exists(f"/proc/{small.state(name)['pid']}") or small.state(name)["pid"] == 0, "its end"
    )
    ballast.unlink()
    assert small.engine.wait(name) == 31
    wait_for(lambda: small.state(name)["exit_code"] == 31, "the index knows it")


@pytest.mark.parametrize(
    "name", ["a" * 150, "with space, quote'\"s and $x", "ümläut-€ %41?b#c", "co,lon:s=x back\\slash"]
)
def test_any_folder_can_be_a_root(tmp_path: Path, name: str) -> None:
    """Longer than a socket's address, and with characters that mean something to a URI, a shell or overlayfs."""
    lab = Lab(str(tmp_path / name / "root"))
    lab.build()
    try:
        mounts = [{"type": "volume", "source": "v", "target": "/v", "read_only": False}]
        up = lab.up(["sh", "-c", "echo up; touch /v/x /y; sleep 600"], mounts=mounts)
        lab.said(up, "up\n")
        assert lab.exec(up, "ls", "/v").out == "x\n"
        # a process that will stand by for the next exec has their title for a moment
        wait_for(lambda: len(lab.processes()) == 2, "two processes")
        lab.kill("supervisor")
        assert lab.exec(up, "ls", "/y").out == "/y\n"
    finally:
        lab.leave()
        shutil.rmtree(lab.root)


@pytest.mark.parametrize("victim", ["supervisor", "keeper"])
def test_a_container_on_a_terminal_goes_on(lab: Lab, victim: str) -> None:
    """Its terminal would hang up if nobody had the other side: supervisor and keeper each have it for the other."""
    name = lab.up(["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"], tty=True)
    lab.said(name, "3\r\n")
    pid = lab.state(name)["pid"]
    lab.kill(victim)
    lab.back()
    seen = lab.log(name).count("\n")
    wait_for(lambda: lab.log(name).count("\n") > seen + 5, "it writes on")
    assert lab.state(name)["pid"] == pid
    lines = lab.log(name).split("\r\n")[:-1]
    assert lines == [str(n) for n in range(1, len(lines) + 1)]


def test_descriptors_above_those_usual_are_not_passed_on_either(tmp_path: Path) -> None:
    lab = Lab(str(tmp_path / "root"))
    lab.build()
    code = "import os, sys; os.dup2(os.open('/etc/hostname', os.O_RDONLY), 700, True);"
    code += "os.execvp(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", code, *lab.command("run", "--rm", "--network", "none", "lab", "true")]
    subprocess.run(command, env=lab.environment, check=True)
    for pid in lab.processes():
        links = [os.readlink(f"/proc/{pid}/fd/{entry}") for entry in os.listdir(f"/proc/{pid}/fd")]
        assert "/etc/hostname" not in links
    lab.leave()


def test_a_container_whose_folder_a_power_cut_has_taken_can_be_started(lab: Lab) -> None:
    """The index is on the disk at once, the folder was not yet; nothing of the engine started any more."""
    name = lab.up(["cat", "/etc/word"], files=[{"target": "/etc/word", "content": "d29yZA==", "mode": 0o644}])
    other = lab.up(["sleep", "600"])
    assert lab.engine.wait(name) == 0
    lab.kill()
    found = lab.engine.container(name)
    store = Store(lab.root)
    store.update_container(found["id"], state={**found["state"], "boot": "another"})
    store.close()
    shutil.rmtree(Path(lab.root) / "containers" / found["id"])
    lab.back()
    assert lab.state(other)["status"] == "running"
    lab.engine.start(name)
    assert lab.engine.wait(name) == 0
    wait_for(lambda: lab.log(name) == "word", lambda: lab.log(name))


def test_output_whose_fifos_have_lost_their_names_is_read_on(lab: Lab) -> None:
    """As a supervisor leaves them that was killed in the midst of a start; the next one did not come up any more."""
    name = lab.up(["sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"])
    silent = lab.up(["sh", "-c", "exec > /dev/null 2>&1; sleep 600"])
    lab.said(name, "line 2\n")
    lab.kill()
    for path in (Path(lab.root) / "run" / "io").iterdir():
        path.unlink()
    before = lab.log(name).count("line")
    lab.back()
    wait_for(lambda: lab.log(name).count("line") > before + 2, "what it writes since")
    assert lab.state(silent)["status"] == "running"
    numbers = [int(line.split()[1]) for line in lab.log(name).splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)), "no line is lost"


@pytest.mark.parametrize("whose", ["one that has gone", "one that has ended"])
def test_the_link_of_a_container_that_does_not_run_is_let_through_by_nobody(lab: Lab, whose: str) -> None:
    """It outlives its container for a moment; a supervisor that came up then has named it in its filter ever after."""
    lab.engine.create_network({"name": "net"})
    name = lab.up(["sleep", "600"], networks={"net": {"aliases": []}})
    names = Names(lab.root)
    stays = f"{names.port_prefix}00000000"[:15]
    subprocess.run(["ip", "link", "add", stays, "type", "veth", "peer", "name", f"{stays[:13]}p"], check=True)
    try:
        ended = lab.engine.container(lab.up(["true"]))["id"] if whose == "one that has ended" else "0" * 64
        wait_for(
            lambda: not any(each["id"] == ended and each["state"]["pid"] for each in lab.engine.containers()), whose
        )
        of = f"{endpoints._ALIAS}{ended} 10.1.2.3"
        subprocess.run(["ip", "link", "set", stays, "alias", of], check=True)
        lab.kill("supervisor")
        lab.back()
        listed = subprocess.run(
            ["nft", "list", "set", "bridge", names.table, "ports"], capture_output=True, text=True, check=True
        ).stdout
        assert stays not in listed
        assert listed.count(names.port_prefix) == 1, f"that of {name}"
    finally:
        subprocess.run(["ip", "link", "delete", stays], check=True)
