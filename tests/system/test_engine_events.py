"""What an engine tells of: each thing that happens to containers, networks and volumes, in order."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import pytest

from tests.engine_lab import IMAGE, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root


class Told:
    """The events of a lab from now on."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.since = lab, time.time_ns()

    def events(self, kind: str = "container") -> list[Any]:
        found = self.lab.engine.events(since=self.since, follow=False)
        return [each for each in found if each["Type"] == kind]

    def actions(self, kind: str = "container") -> list[str]:
        return [each["Action"] for each in self.events(kind)]

    def attributes(self, action: str) -> Any:
        return next(each["Actor"]["Attributes"] for each in self.events() if each["Action"] == action)


@pytest.fixture
def told(lab: Lab) -> Told:
    return Told(lab)


def test_a_life(lab: Lab, told: Told) -> None:
    name = lab.up(["sh", "-c", "sleep 0.1; exit 7"], labels={"tier": "front"})
    assert lab.engine.wait(name) == 7
    identity = lab.engine.container(name)["id"]
    lab.engine.remove(name)
    assert told.actions() == ["create", "start", "die", "destroy"]
    assert {each["Actor"]["ID"] for each in told.events()} == {identity}
    own = told.attributes("die")
    assert own.pop("execDuration").isdigit()
    ended = {"exitCode": "7", "reason": "exited with 7"}
    assert own == {"tier": "front", "image": IMAGE, "name": name, **ended}
    times = [each["timeNano"] for each in told.events()]
    assert times == sorted(times)


def test_what_users_do_to_one(lab: Lab, told: Told) -> None:
    name = lab.up(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"])
    lab.engine.pause(name)
    lab.engine.unpause(name)
    lab.engine.rename(name, "lab-renamed")
    lab.engine.update("lab-renamed", {"pids_limit": 40})
    assert lab.exec("lab-renamed", "sh", "-c", "exit 3").code == 3
    wait_for(lambda: "exec_die" in told.actions(), "the end of exec")
    lab.engine.restart("lab-renamed")
    lab.engine.kill("lab-renamed")
    lab.engine.wait("lab-renamed")
    assert told.actions() == [
        "create", "start", "pause", "unpause", "rename", "update",
        "exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die",
        "kill", "die", "stop", "start", "restart", "kill", "die",
    ]  # fmt: skip
    assert told.attributes("rename")["oldName"] == f"/{name}"
    assert told.attributes("rename")["name"] == "lab-renamed"
    assert told.attributes("exec_die")["exitCode"] == "3"
    assert [each["Actor"]["Attributes"]["signal"] for each in told.events() if each["Action"] == "kill"] == ["15", "9"]


def test_why_it_ended(lab: Lab, told: Told) -> None:
    hungry = "b = bytearray(200 << 20)"
    assert lab.run(["python3", "-c", hungry], mem_limit=32 << 20).code == 137
    assert told.actions() == ["create", "start", "oom", "die", "destroy"]


def test_a_start_that_fails(lab: Lab, told: Told) -> None:
    assert "nothing" in lab.reason(["nothing"])
    assert told.actions() == ["create", "die"]
    assert told.attributes("die")["exitCode"] == "127"


def test_health(lab: Lab, told: Told) -> None:
    probe = {"interval": 0.1, "timeout": 5.0, "retries": 1, "start_period": 0.0, "start_interval": 0.1}
    sick = lab.image(None, lambda folder: (folder / "well").touch())
    name = lab.up(["sleep", "600"], image=sick, healthcheck={"test": ["stat", "/well"], **probe})
    wait_for(lambda: "health_status: healthy" in told.actions(), "healthy")
    lab.exec(name, "rm", "/well")
    wait_for(lambda: "health_status: unhealthy" in told.actions(), "unhealthy")
    # The probes themselves are not told: they would drive all else out of the log.
    assert [action for action in told.actions() if action.startswith("exec_create")] == ["exec_create: rm /well"]


def test_networks_and_volumes(lab: Lab, told: Told) -> None:
    network = lab.engine.create_network({"name": "told"})
    mount = {"type": "volume", "source": "told", "target": "/data", "read_only": False}
    name = lab.up(["true"], networks={"told": {"aliases": []}}, mounts=[mount])
    identity = lab.engine.container(name)["id"]
    lab.end(name)
    lab.engine.remove_network("told")
    lab.engine.remove_volume("told")
    assert told.actions("network") == ["create", "connect", "disconnect", "destroy"]
    assert told.actions("volume") == ["create", "mount", "unmount", "destroy"]
    connect = told.events("network")[1]
    assert connect["Actor"] == {
        "ID": network["id"],
        "Attributes": {"container": identity, "name": "told", "type": "bridge"},
    }
    assert told.events("volume")[1]["Actor"]["Attributes"]["destination"] == "/data"


def test_images(lab: Lab, told: Told) -> None:
    lab.engine.tag(IMAGE, "told:1")
    lab.engine.remove_image("told:1")
    name = lab.up(["sleep", "600"])
    image = lab.engine.commit(name, reference="told:2", message="why")
    lab.engine.remove_image("told:2")
    assert told.actions("image") == ["tag", "untag", "untag", "delete"]
    assert told.events("image")[0]["Actor"]["Attributes"]["name"] == "told:1"
    assert told.attributes("commit")["imageID"] == image["id"]


def test_who_follows_hears_of_it_at_once(lab: Lab) -> None:
    command = lab.command("events", "--filter", "event=die", "--format", "json")
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, text=True, cwd="/") as follower:
        try:
            assert follower.stdout is not None
            os.set_blocking(follower.stdout.fileno(), True)

            def hears() -> bool:
                # Until it is there, an event may come before it.
                lab.run(["true"])
                os.set_blocking(follower.stdout.fileno(), False)  # type: ignore[union-attr]
                return bool(follower.stdout.readline())  # type: ignore[union-attr]

            wait_for(hears, "the first event")
            os.set_blocking(follower.stdout.fileno(), True)
            name = lab.up(["sh", "-c", "exit 9"])
            while (line := json.loads(follower.stdout.readline()))["Actor"]["Attributes"]["name"] != name:
                pass
            late = time.time_ns() - line["timeNano"]
            assert (line["status"], line["from"], line["Actor"]["Attributes"]["exitCode"]) == ("die", IMAGE, "9")
            assert late < 500_000_000
        finally:
            follower.kill()


def test_what_nobody_was_there_to_see_can_be_read_later(lab: Lab) -> None:
    name = lab.up(["true"])
    lab.end(name)
    lab.kill()
    done = lab.cli("events", "--since", "10m", "--until", "0s", "--filter", f"container={name}")
    words = [line.split()[1:3] for line in done.out.splitlines()]
    assert words == [["container", action] for action in ("create", "start", "die", "destroy")]
    assert f"image={IMAGE}, name={name})" in done.out
    as_json = lab.cli(
        "events", "--since", "10m", "--until", "0s", "--filter", f"container={name}", "--format", "{{json .}}"
    )
    assert [json.loads(line)["status"] for line in as_json.out.splitlines()] == ["create", "start", "die", "destroy"]
    assert lab.cli("events", "--filter", "nonsense=1", "--until", "0s").code == 64


def test_one_append_a_start(lab: Lab, told: Told) -> None:
    """What a container's whole life writes is a handful of lines: the bound of the log holds for thousands of them."""
    before = os.stat(lab.engine.store.root.events).st_size if os.path.exists(lab.engine.store.root.events) else 0
    for _ in range(3):
        lab.run(["true"])
    after = os.stat(lab.engine.store.root.events).st_size
    assert len(told.events()) == 12
    assert (after - before) / 3 < 1500
