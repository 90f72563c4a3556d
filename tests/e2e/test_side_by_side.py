"""Several commands at once: on one stack they take turns and say for whom they wait, on several they do not meet."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Cli
from tests.waiting import wait_for

pytestmark = pytest.mark.root

# Its health check passes once there is a file `go` in the stack's folder.
STACK = """
from stackpy import Container, HealthCheck, Stack, Volume, var
Stack({name!r})
data = Volume("data")
Container("web", image="box", command=["sleep", "1000"], volumes=["./:/gate:ro", "data:/data"], stop_grace_period=0,
          environment={{"MODE": var("mode", default="one")}},
          healthcheck=HealthCheck(["ls", "/gate/go"], interval=0.2, retries=1000))
"""


class Folder:
    """A stack whose apply waits at a gate."""

    def __init__(self, cli: Cli, path: Path, name: str) -> None:
        self.cli, self.path, self.name = cli, path, name
        path.mkdir()
        (path / "stack.py").write_text(STACK.format(name=name))

    def __call__(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.cli(*words, cwd=self.path, code=code)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return self.cli.start(*words, cwd=self.path)

    def held_up(self) -> subprocess.Popen[str]:
        """An apply that holds the stack and waits for its container."""
        running = self.start("apply", "--yes")
        wait_for(lambda: f"{self.name}-web-1" in [row["name"] for row in self.cli.json("ps")], "the first container")
        return running

    def let_go(self) -> None:
        (self.path / "go").write_text("")

    def is_as_wanted(self) -> None:
        assert self("plan", "--detailed-exitcode").stderr == ""


@pytest.fixture
def shop(box: Cli, tmp_path: Path) -> Folder:
    return Folder(box, tmp_path / "shop", "shop")


@pytest.fixture(autouse=True)
def _nothing_stays(box: Cli, tmp_path: Path) -> object:
    yield
    box.end()
    for name in ("shop", "mill"):
        box("destroy", "--stack", name, "--yes", "--volumes", "--images", "--allow-data-loss", "*")


def test_commands_on_one_stack_take_turns_and_say_for_whom_they_wait(shop: Folder) -> None:
    first = shop.held_up()
    waits = rf"waiting for `stackpy apply` \(pid {first.pid}, since [\d:]+\)\n"
    # who only looks waits for nobody, and says that it is a moment's look
    for words in (["plan"], ["drift"]):
        said = shop(*words).stderr
        assert re.fullmatch(
            rf"this stack is being changed by `stackpy apply` \(pid {first.pid}, since [\d:]+\): this is how .*\n", said
        )
    late = shop("destroy", "--yes", "--lock-timeout", "0.1", code=1)
    assert re.match(waits + "error: stack `shop` is held by `stackpy apply`", late.stderr), late.stderr
    commands = (["apply", "--yes", "--set", "mode=two"], ["destroy", "--yes"], ["rollback", "--yes"])
    others = [shop.start(*words) for words in commands]
    for other in others:
        assert other.stderr
        assert re.fullmatch(waits, other.stderr.readline())
    watching = shop.cli.start("watch", "--set", "mode=three", cwd=shop.path, stderr=subprocess.STDOUT)
    assert watching.stdout
    assert re.fullmatch(waits, watching.stdout.readline())
    begun = [(row["generation"], row["outcome"]) for row in shop.cli.json("history", cwd=shop.path)]
    assert begun == [(1, "running")], "no other has begun"
    shop.let_go()
    out, errors = first.communicate(timeout=60)
    assert first.returncode == 0, out + errors
    for other in others:
        out, errors = other.communicate(timeout=60)
        assert other.returncode == 0 or "there is nothing to go back to" in errors, out + errors
    assert any("waiting for changes" in line for line in watching.stdout), "watch had its turn"
    watching.send_signal(signal.SIGTERM)
    watching.communicate(timeout=60)
    kept = shop.cli.json("history", cwd=shop.path)
    assert [row["generation"] for row in kept] == list(range(len(kept), 0, -1)), "each had a generation of its own"
    shop("apply", "--yes")
    shop.is_as_wanted()


def test_four_clients_at_once_leave_what_the_last_one_wanted(shop: Folder) -> None:
    shop.let_go()
    chance = Random(20261129)
    commands = (["apply", "--yes"], ["apply", "--yes", "--set", "mode=two"], ["destroy", "--yes"], ["plan"])
    queues = [[chance.choice(commands) for _ in range(3)] for _ in range(4)]
    with ThreadPoolExecutor(4) as clients:
        done = [
            done for queue in clients.map(lambda queue: [shop(*words) for words in queue], queues) for done in queue
        ]
    assert len(done) == 12
    shop("apply", "--yes")
    shop.is_as_wanted()


def test_one_stack_that_waits_holds_up_no_other(shop: Folder, tmp_path: Path) -> None:
    mill = Folder(shop.cli, tmp_path / "mill", "mill")
    held = shop.held_up()
    mill.let_go()
    mill("apply", "--yes", "--lock-timeout", "0")
    mill.is_as_wanted()
    # nor what is no stack's
    assert shop.cli("run", "--rm", "box", "sh", "-c", "echo here").stdout == "here\n"
    mill("destroy", "--yes")
    assert held.poll() is None
    # and what somebody takes away under its hands is said, and made again by the next
    shop.cli("rm", "-f", "shop-web-1")
    out, errors = held.communicate(timeout=60)
    assert held.returncode == 1 and "shop-web-1" in errors, out + errors
    shop.let_go()
    shop("apply", "--yes")
    shop.is_as_wanted()


def test_nobody_waits_for_one_that_was_killed_nor_for_another_with_its_number(shop: Folder) -> None:
    killed = shop.held_up()
    killed.kill()
    killed.wait()
    note = shop.cli.root / "stacks" / "shop" / "lock"
    left = json.loads(note.read_text())
    assert left["pid"] == killed.pid
    note.write_text(json.dumps({**left, "pid": os.getpid()}))
    assert "being changed" not in shop("plan").stderr
    shop.let_go()
    done = shop("apply", "--yes", "--lock-timeout", "0")
    assert "waiting for `" not in done.stderr
    shop.is_as_wanted()
