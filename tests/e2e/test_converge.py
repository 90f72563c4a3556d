"""What an apply makes is read back as what the stack file says, whatever happened to the apply or to the engine."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

pytestmark = pytest.mark.root

EVERY_FIELD = """
from stackpy import Container, File, HealthCheck, Image, Job, Network, Secret, Volume, var

tag = var("tag", default="one")
image = Image.host("sh", "sleep", "cat", "true").cmd(["sleep", "1000"]).label(from_image="x").env(FROM_IMAGE="x")
image = image.healthcheck(["true"])
back = Network("back", internal=True, labels={"tag": tag})
named = Network("named", subnet="10.213.77.0/24")
data = Volume("data", labels={"tag": tag})
password = Secret("password", env="PASSWORD")
migrate = Job("migrate", image=image, command=["cat", "/run/secrets/password"], secrets=[password], networks=[back])
Container(
    "web", image=image, command=["sleep", "500"], entrypoint=[], environment={"MODE": "x", "EMPTY": ""},
    labels={"tier": "front"}, working_dir="/tmp", user="65534:65534", hostname="webhost", stop_signal="SIGINT",
    restart="always", mem_limit="64m", cpus=0.5, pids_limit=50, networks=[back, named], ports=["{port}:80"],
    volumes={data: "/data", "./": "/stack:ro"}, secrets=[password],
    files={"/etc/app": "text", "/etc/b": File("stack.py")},
    read_only=True, cap_drop=["ALL"], cap_add=["NET_BIND_SERVICE"], stop_grace_period="1s", replicas=2,
    healthcheck=HealthCheck(["true"], interval=1), logging={"max_size": "1m", "max_file": 2, "tag": "{{.Name}}"},
    depends_on={"migrate": {"condition": "service_completed_successfully", "restart": True},
                "ghost": {"condition": "service_started", "required": False}},
    on_unhealthy="restart", pre_start=["true"], post_start=[{"command": "true", "environment": ["A=1"]}],
    pre_stop=[{"command": ["true"], "user": "65534", "privileged": True}],
)
Container("plain", image=image, tty=True, stdin_open=True, volumes=[{"type": "tmpfs", "target": "/scratch"}])
Container("alone", image=image, network_mode="none", logging={"driver": "none"}, healthcheck={"disable": True})
Container("timed", image=image, healthcheck={"interval": "1s"}, network_mode="none")
"""


@pytest.fixture
def stack(cli: Cli, tmp_path: Path, free_port: int) -> Path:
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "stack.py").write_text(EVERY_FIELD.replace("{port}", str(free_port)))
    cli.environment["PASSWORD"] = "hunter2-hunter2"
    return folder


def changes(cli: Cli, folder: Path, *words: str) -> list[tuple[str, str, list[str]]]:
    """What `plan` would do: address, action, paths of the reasons."""
    plan = cli.json("plan", *words, cwd=folder)
    return [
        (change["address"], change["action"], [reason["path"] for reason in change["reasons"]])
        for change in plan["changes"]
    ]


def containers(cli: Cli) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in cli.json("ps")}


def test_no_field_differs_from_what_was_applied(cli: Cli, stack: Path) -> None:
    cli("apply", "--yes", cwd=stack)
    assert changes(cli, stack) == []
    cli("stop", "all-web-1")
    assert changes(cli, stack) == [("container.web", "start", ["state"])]
    cli("apply", "--yes", cwd=stack)
    assert changes(cli, stack) == []

    before = containers(cli)
    assert changes(cli, stack, "--set", "tag=two") == [
        ("network.back", "update", ["labels.tag"]), ("volume.data", "update", ["labels.tag"])
    ]  # fmt: skip
    cli("apply", "--yes", "--set", "tag=two", cwd=stack)
    assert changes(cli, stack, "--set", "tag=two") == []
    assert {name: row["id"] for name, row in containers(cli).items()} == {
        name: row["id"] for name, row in before.items()
    }
    (volume,) = cli.json("volume", "inspect", "all_data")
    assert volume["Labels"]["tag"] == "two"

    cli.environment["PASSWORD"] = "another-password"
    assert changes(cli, stack, "--set", "tag=two") == [
        ("secret.password", "update", ["value"]),
        ("job.migrate", "run", ["secrets.password"]),
        ("container.web", "update", ["secrets.password"]),
    ]
    cli("apply", "--yes", "--set", "tag=two", cwd=stack)
    assert cli("exec", "all-web-2", "cat", "/run/secrets/password").stdout == "another-password"
    # held by the engine: the variable is no longer needed
    del cli.environment["PASSWORD"]
    assert changes(cli, stack, "--set", "tag=two") == []
    everything = cli("inspect", "all-web-1").stdout + cli("plan", cwd=stack).stdout
    assert "another-password" not in everything and "hunter2" not in everything


def test_an_apply_killed_anywhere_is_finished_by_the_next(cli: Cli, stack: Path) -> None:
    chance = random.Random(20260131)
    for attempt in range(8):
        cli.environment["PASSWORD"] = f"value-{attempt}"
        running = cli.start("apply", "--yes", "--set", f"tag=t{attempt}", cwd=stack)
        time.sleep(chance.uniform(0.05, 1.2))  # anywhere, which is the point
        running.kill()
        running.communicate()
        cli("apply", "--yes", "--set", f"tag=t{attempt}", cwd=stack)
        assert changes(cli, stack, "--set", f"tag=t{attempt}") == []
        assert {row["state"] for name, row in containers(cli).items() if name != "all-migrate-1"} == {"running"}
        assert cli("exec", "all-web-1", "cat", "/run/secrets/password").stdout == f"value-{attempt}"


def test_what_belongs_to_others_is_neither_taken_nor_removed(cli: Cli, stack: Path) -> None:
    other = stack.parent / "other"
    other.mkdir()
    (other / "stack.py").write_text(
        'from stackpy import *\nStack("all_data")\nVolume("x")\n'
        'Container("web", image=Image.host("sleep").cmd(["sleep", "1000"]), volumes={"x": "/x"})\n'
    )
    (stack / "stack.py").write_text(
        'from stackpy import *\nStack("all")\nimage = Image.host("sleep").cmd(["sleep", "1000"])\n'
        'Volume("data_x")\nContainer("web", image=image)\n'
    )
    cli("apply", "--yes", cwd=other)
    done = cli("apply", "--yes", cwd=stack, code=1)
    assert "there is a volume `all_data_x` already, and it belongs to stack `all_data`" in done.stderr
    cli("destroy", "--yes", "--volumes", "--allow-data-loss", "volume.*", cwd=stack)
    assert [row["name"] for row in cli.json("ps")] == ["all_data-web-1"]
    assert [row["name"] for row in cli.json("volume", "ls")] == ["all_data_x"]


def test_a_container_of_that_name_that_is_nobodys_is_left_alone(cli: Cli, stack: Path) -> None:
    cli("apply", "--yes", "--target", "container.alone", cwd=stack)
    image = containers(cli)["all-alone-1"]["image"]
    cli("run", "-d", "--name", "all-plain-1", image)
    foreign = containers(cli)["all-plain-1"]["id"]
    done = cli("apply", "--yes", cwd=stack, code=1)
    assert "there is a container `all-plain-1` already, and it is not the stack's" in done.stderr
    assert "`stackpy adopt container.plain all-plain-1`" in done.stderr
    assert containers(cli)["all-plain-1"]["id"] == foreign
    cli("rm", "-f", "all-plain-1")
    cli("apply", "--yes", cwd=stack)
    assert changes(cli, stack) == []


def test_history_is_kept_and_goes_with_the_images(cli: Cli, stack: Path) -> None:
    cli("apply", "--yes", cwd=stack)
    cli("destroy", "--yes", "--volumes", "--allow-data-loss", "volume.*", cwd=stack)
    assert cli.json("ls") == []
    assert sorted(os.listdir(cli.root / "stacks" / "all")) == ["1.json", "2.json", "lock"]
    assert [row["reference"] for row in cli.json("image", "ls")] == ["all/migrate:latest"]
    cli("destroy", "--yes", "--images", cwd=stack)
    assert cli.json("image", "ls") == []
    assert not (cli.root / "stacks" / "all").exists()
