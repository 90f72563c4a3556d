"""Replicas are replaced, added and removed under load; no request fails. One that never gets well changes nothing."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.load_client import Load

pytestmark = pytest.mark.root

# As servers end: on SIGTERM the answers say that their connection closes, and the last one ends the process.
SERVER = """
import os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

leaving = threading.Event()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if leaving.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = False

def leave(*arguments):
    leaving.set()
    threading.Thread(target=server.shutdown).start()

server = Server(("", 8000), Handler)
signal.signal(signal.SIGTERM, leave)
server.serve_forever(poll_interval=0.02)
"""
STACK = """
from stackpy import Container, HealthCheck, Image, Output, Stack, Update, var

Stack("rolled")
version = var("version", default="one")
Output("version", version)
image = Image("box").env(VERSION=version).cmd(["python3", "/server.py"])
check = var("check", default=8000)
Container(
    "web", image=image, replicas=var("replicas", default=4), ports=["{port}:8000"], files={"/server.py": SERVER},
    healthcheck=HealthCheck(tcp=check, interval=1, retries=60 if check == 8000 else 1),
    update=Update(parallelism=2, failure_action="rollback"),
)
"""


@pytest.fixture
def folder(box: Cli, tmp_path: Path, free_port: int) -> Path:
    text = STACK.replace("{port}", str(free_port)).replace("SERVER}", f"{SERVER!r}}}")
    (tmp_path / "stack.py").write_text(text)
    return tmp_path


def states(cli: Cli) -> dict[str, str]:
    return {row["name"]: row["health"] for row in cli.json("ps", "-a") if row["stack"] == "rolled"}


def serving(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        return str(answer.read().decode())


def kill(cli: Cli, what: str) -> None:
    """kill -9 of the root's supervisor or keeper."""
    title = f"stackpy {what} --root {cli.root}"
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip() == title:
                os.kill(int(entry), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_a_rollout_survives_whoever_is_killed(box: Cli, folder: Path, free_port: int) -> None:
    few = ("--set", "replicas=1")
    try:
        box("apply", "--yes", *few, cwd=folder)
        with Load(free_port, fresh=1, kept=1) as load:
            for victim in ("apply", "supervisor", "keeper"):
                version = ("--set", f"version={victim}")
                running = box.start("apply", "--yes", *few, *version, cwd=folder)
                assert running.stderr
                told = next((line for line in running.stderr if "to become rolled-web-1" in line), "")
                assert told, "the new replica was started"
                if victim == "apply":
                    running.kill()
                else:
                    kill(box, victim)
                running.communicate()
                box("apply", "--yes", *few, *version, cwd=folder)
                assert box.json("plan", *few, *version, cwd=folder)["changes"] == []
                assert states(box) == {"rolled-web-1": "healthy"}
        assert load.failures == []
        assert {"one", "apply", "supervisor"} <= set(load.answers)
    finally:
        box("destroy", "--stack", "rolled", "--images", "--yes")


def test_a_generation_is_brought_back_with_the_image_that_it_ran(box: Cli, folder: Path, free_port: int) -> None:
    few = ("--set", "replicas=1")
    try:
        box("apply", "--yes", *few, cwd=folder)
        box("apply", "--yes", *few, "--set", "version=two", cwd=folder)
        assert serving(free_port) == "two"
        told = box("why", "container.web", *few, "--set", "version=two", cwd=folder).stdout
        assert "rolled-web-2 start, " in told, "it is rolled-web-1 by now"
        refused = box("rollback", cwd=folder, code=1)
        assert "output.version          two → one" in refused.stdout
        assert "replace, start-first" in refused.stdout and "there is no terminal to ask on" in refused.stderr
        box("rollback", "--yes", cwd=folder)
        assert serving(free_port) == "one"
        assert box("output", "version", cwd=folder).stdout == "one\n"
        again = box("rollback", "--yes", cwd=folder, code=1)
        assert "there is nothing to go back to" in again.stderr
        box("destroy", "--yes", cwd=folder)
        box("rollback", "2", "--yes", "--stack", "rolled")
        assert serving(free_port) == "two", "its image was kept, and no stack file is needed"
        told = [(row["generation"], row["outcome"]) for row in box.json("history", cwd=folder)]
        assert told == [
            (5, "rolled back to 2"), (4, "destroyed"), (3, "rolled back to 1"), (2, "applied"), (1, "applied")
        ]  # fmt: skip
        assert "its image changes" in box("history", "2", cwd=folder).stdout
        changes = box.json("plan", *few, "--set", "version=two", cwd=folder)["changes"]
        assert changes == [], "what it brought back is what the stack file of then says"
        old = json.loads((box.root / "stacks" / "rolled" / "1.json").read_text())["image_ids"]["image.web"]
        box("image", "rm", old)
        told = box("rollback", "1", "--yes", cwd=folder, code=1).stderr
        assert f"generation 1 cannot be brought back: `image.web` as it was then ({old[:19]}) was removed" in told
        for command in ("history", "rollback"):
            assert (
                "error: there is no generation 9\nhint: kept are 1 to 5" in box(command, "9", cwd=folder, code=1).stderr
            )
        (folder / "stack.py").write_text("oops(")
        told = box("history", cwd=folder).stderr
        assert "`rolled`, which was applied from this folder, is taken for the stack's name" in told
        told = box("history", "--set", "version=two", cwd=folder).stderr
        assert f"`{folder.name}`, as its folder is called, is taken for the stack's name" in told
        for command in ("destroy", "rollback"):
            told = box(command, "--yes", "-e", "prodd", cwd=folder, code=1).stderr
            assert "the name of the stack is not known" in told and "no environment `prodd`" in told
        assert serving(free_port) == "two", "a slip has destroyed nothing"
    finally:
        box("destroy", "--stack", "rolled", "--images", "--yes")


def test_no_request_fails_while_replicas_come_and_go(box: Cli, folder: Path, free_port: int) -> None:
    try:
        box("apply", "--yes", cwd=folder)
        with Load(free_port) as load:
            box("apply", "--yes", "--set", "version=two", cwd=folder)
            box("apply", "--yes", "--set", "version=two", "--set", "replicas=5", cwd=folder)
            box("apply", "--yes", "--set", "version=two", "--set", "replicas=2", cwd=folder)
            assert states(box) == {"rolled-web-1": "healthy", "rolled-web-2": "healthy"}
            # Its check asks a port on which nothing listens.
            bad = ["--set", "replicas=2", "--set", "version=three", "--set", "check=8001"]
            failed = box("apply", "--yes", *bad, cwd=folder, code=1)
        assert load.failures == []
        assert set(load.answers) == {"one", "two"}
        assert "Connection refused" in failed.stderr and "the one before it goes on" in failed.stderr
        assert states(box) == {"rolled-web-1": "healthy", "rolled-web-2": "healthy"}
        plan = box.json("plan", *bad, cwd=folder)
        assert [(c["address"], c["action"], c.get("order")) for c in plan["changes"]] == [
            ("container.web", "replace", "start-first")
        ]
    finally:
        box("destroy", "--stack", "rolled", "--images", "--yes")
