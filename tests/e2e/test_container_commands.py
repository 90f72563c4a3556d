"""The container commands inside a stack's folder: resource names, replicas, and what plan and apply say afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.waiting import wait_for

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, Job, Stack
Stack("cmds")
image = Image.host("sh", "sleep", "cat", "seq")
Container("web", image=image, command=["sh", "-c", "echo up $HOSTNAME; exec sleep 1000"], replicas=2, init=True,
          mem_limit="64m", network_mode="none")
Job("once", image=image, command=["sh", "-c", "exit 0"], network_mode="none")
"""


@pytest.fixture
def folder(cli: Cli, tmp_path: Path) -> Path:
    folder = tmp_path / "cmds"
    folder.mkdir()
    (folder / "stack.py").write_text(STACK)
    cli("apply", "--yes", cwd=folder)
    return folder


def planned(cli: Cli, folder: Path) -> list[tuple[str, str, list[str]]]:
    plan = cli.json("plan", cwd=folder)
    return [(one["address"], one["action"], [why["text"] for why in one["reasons"]]) for one in plan["changes"]]


def test_a_paused_replica_is_seen_and_mended(cli: Cli, folder: Path) -> None:
    assert cli("pause", "web.2", cwd=folder).stdout == "web.2\n"
    pids = {row["name"]: cli.json("inspect", row["name"])[0]["State"]["Pid"] for row in cli.json("ps", "--running")}
    assert planned(cli, folder) == [("container.web", "start", ["replica 2 is paused"])]
    text = cli("plan", cwd=folder).stdout
    assert "  ! container.web           start 1 of 2 replicas          replica 2 is paused\n" in text
    assert [row["running"] for row in cli.json("ls")] == [1]
    applied = cli("apply", "--yes", cwd=folder)
    assert "cmds-web-2 goes on" in applied.stderr
    assert planned(cli, folder) == []
    # It went on, and was not started anew.
    assert {name: cli.json("inspect", name)[0]["State"]["Pid"] for name in pids} == pids
    cli("pause", "web", cwd=folder)
    assert planned(cli, folder) == [("container.web", "start", ["replica 1 is paused", "replica 2 is paused"])]
    cli("unpause", "web", cwd=folder)
    assert planned(cli, folder) == []
    # A replica that is paused when it is to go, goes.
    cli("pause", "web.1", cwd=folder)
    cli("destroy", "--yes", cwd=folder)
    assert cli.json("ps") == []


def test_what_was_updated_by_hand_is_what_apply_makes_of_it_again(cli: Cli, folder: Path) -> None:
    cli("update", "--memory", "128m", "--cpus", "1", "web.1", cwd=folder)
    (change,) = planned(cli, folder)
    assert change[:2] == ("container.web", "update")
    assert any("mem_limit" in text for text in change[2])
    cli("apply", "--yes", cwd=folder)
    assert planned(cli, folder) == []
    # A field that the stack file does not set is the user's.
    assert cli.json("inspect", "cmds-web-1")[0]["HostConfig"]["Memory"] == 64 << 20
    assert cli("rename", "web", "both", cwd=folder, code=1).stderr.startswith("error: `web` means 2 containers")
    cli("rename", "web.1", "another-name", cwd=folder)
    assert planned(cli, folder) == [("container.web", "update", ["it was renamed to another-name"])]
    assert [row["name"] for row in cli.json("ps", "--filter", "resource=web")] == ["another-name", "cmds-web-2"]
    cli("apply", "--yes", cwd=folder)
    assert [row["name"] for row in cli.json("ps", "--filter", "resource=web")] == ["cmds-web-1", "cmds-web-2"]


def test_resources_in_logs_stats_top_wait_and_events(cli: Cli, folder: Path) -> None:
    wait_for(lambda: cli("logs", "web", cwd=folder).stdout.count("up") == 2, "both have written")
    lines = cli("logs", "web", cwd=folder).stdout.splitlines()
    assert {line.split(" | ")[0] for line in lines} == {"cmds-web-1", "cmds-web-2"}
    assert "sleep 1000" in cli("top", "web.2", cwd=folder).stdout
    rows = cli.json("stats", "--no-stream", "web", cwd=folder)
    assert [(row["name"], row["resource"]) for row in rows] == [
        ("cmds-web-1", "container.web"), ("cmds-web-2", "container.web")
    ]  # fmt: skip
    assert cli("wait", "once", cwd=folder).stdout == "0\n"
    told = cli(
        "events", "--since", "10m", "--until", "0s", "--filter", "stack=cmds", "--filter", "resource=once",
        "--format", "{{.Action}} {{.Actor.Attributes.name}}",
    ).stdout.splitlines()  # fmt: skip
    assert told == [f"{action} cmds-once-1" for action in ("create", "start", "die")]
