"""Whatever step of a destroy, rollback, snapshot, restore or adopt is the last: data is there, and the next is enough.

Each step is what a run that nothing befalls has been seen to do. STACKPY_FAULTS=all: at every step of every process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults import KILL
from tests.mess_lab import Done, Mess, judge, mess
from tests.waiting import wait_for

pytestmark = pytest.mark.root

EVERY = os.environ.get("STACKPY_FAULTS") == "all"
ROLES = ("apply", "supervisor", "keeper")
MADE = ("container.db/1", "container.web/1", "job.note/1", "network.net", "secret.word")
SOME = 1  # steps of each command, without STACKPY_FAULTS
STACK = """
from stackpy import Container, Image, Job, Network, Secret, Stack, Volume, var
Stack("mess")
state, turn = var("state", default="a"), var("turn", default="0")
box = Image.host("sh", "sleep", "cat").cmd(["sleep", "6000"]).tag("mess-box")
net = Network("net")
data, files = Volume("data", snapshot=True), Volume("files", snapshot=True)
word = Secret("word", command=["echo", "steady"])
now = {"STATE": state, "TURN": turn}
note = Job("note", image=box, command=["sh", "-c", f"echo {state} >> /files/log"], volumes={files: "/files"},
           environment=now, networks=[net])
Container("db", image=box, environment=now, volumes={data: "/data"}, networks=[net], secrets=[word])
Container("web", image=box, environment=now, networks=[net], volumes={files: "/files:ro"},
          update={"order": "start-first"}, depends_on=[note.completed])
"""


class Kept(Mess):
    """Two volumes of which snapshots are taken: one when its writer has stopped, one before a job runs."""

    stack = STACK

    def ready(self) -> None:
        """Up, with an engine whose processes can be made to fail."""
        self.engine.client.call("ping")
        self.anew()

    def data(self, volume: str = "data") -> Path:
        """What is in a volume."""
        return Path(self.root) / "volumes" / f"mess_{volume}" / "_data"

    def snapshots(self, volume: str = "data") -> list[str]:
        """What each snapshot says of `mark`; each is complete."""
        kept = self.engine.volume_snapshots(f"mess_{volume}")
        return [(self.data(volume).parent / "_snapshots" / one["id"] / "data" / "mark").read_text() for one in kept]

    def mark(self, text: str) -> None:
        """Writes it where a container would."""
        for volume in ("data", "files"):
            (self.data(volume) / "mark").write_text(text)

    def anew(self) -> int:
        """The stack in state a, marked `old`; its generation."""
        self.turn += 1
        self.apply("a")
        self.mark("old")
        return self.generation()

    def generation(self) -> int:
        """The number of the last one."""
        import json

        return int(json.loads(self.run("history", "--format", "json").out)[0]["generation"])

    def whole(self, state: str) -> None:
        """All is there and as it should be, and nothing else."""
        assert self.plan(state) == {}
        assert self.present() == {*MADE, "volume.data", "volume.files"}
        wait_for(lambda: len(self.container_processes()) == 2, lambda: f"two processes: {self.container_processes()}")
        wait_for(self.is_tidy, lambda: f"a tidy host: {self.host()}")

    def is_tidy(self) -> bool:
        """No link, mount or folder of what has gone."""
        found = self.host()
        return found["links"] == self.attached() and found["containers"] == len(self.engine.containers("mess"))

    def gone(self, *left: str) -> None:
        """Nothing is there but these."""
        assert self.present() == set(left)
        wait_for(lambda: not self.container_processes(), "nothing runs")
        wait_for(lambda: self.host()["links"] == 0 and self.host()["containers"] == 0, lambda: f"{self.host()}")


@pytest.fixture(name="lab", scope="module")
def lab_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with mess(tmp_path_factory.mktemp("kept"), kind=Kept) as lab:
        yield lab


def sweep(
    lab: Kept, ready: Callable[[], Any], words: Callable[[], list[str]], then: Callable[[Done, Any], None], state: str
) -> None:
    """Has the command killed at each of its steps, and the engine's processes at theirs.

    ready: called before each; words: the command; then: called after each with how it ended and what `ready` returned
    """
    ready()
    with lab.faults.recording() as seen:
        done = lab.run(*words(), state=state, armed=True)
    assert done.code == 0, done
    of = {role: list(dict.fromkeys(name for each, name in seen if each == role)) for role in ROLES}
    assert len(of["apply"]) > 5, seen
    steps = [(role, name) for role in ROLES for name in of[role]]
    if not EVERY:
        steps = Random(words()[0]).sample(steps, SOME)
    for role, name in steps:
        before = ready()
        lab.faults.arm(1, KILL, role, name)
        done = lab.run(*words(), state=state, armed=True)
        lab.faults.disarm()
        judge(done, f"`{' '.join(words())}`, {role} killed at {name}")
        lab.settled()
        try:
            then(done, before)
        except BaseException as error:
            error.add_note(f"`{' '.join(words())}`, {role} killed at {name}: {done}")
            raise


@pytest.mark.parametrize("everything", [True, *([False] if EVERY else [])])
def test_a_destroy_is_finished_by_the_next_one(lab: Kept, everything: bool) -> None:
    words = ["destroy", "--yes", *(["--volumes", "--images", "--allow-data-loss", "*"] if everything else [])]

    def then(done: Done, _: object) -> None:
        assert lab.run("plan", "--destroy").code == 0
        again = lab.run(*words)
        assert again.code == 0, again
        lab.gone(*([] if everything else ["volume.data", "volume.files"]))
        assert os.listdir(f"{lab.root}/volumes") == [] if everything else (lab.data() / "mark").read_text() == "old"

    sweep(lab, lab.anew, lambda: words, then, "a")


def test_a_snapshot_holds_all_that_was_written(lab: Kept) -> None:
    def ready() -> None:
        lab.anew()
        lab.mark(f"turn {lab.turn}")

    def then(done: Done, _: object) -> None:
        assert lab.run("plan", state="b").code == 0
        lab.apply("b")
        for volume in ("data", "files"):
            assert lab.snapshots(volume)[-1] == f"turn {lab.turn}"
        lab.whole("b")

    sweep(lab, ready, lambda: ["apply", "--yes"], then, "b")


@pytest.mark.parametrize("restores", [True, *([False] if EVERY else [])])
def test_a_rollback_is_made_whole_by_the_next_one(lab: Kept, restores: bool) -> None:
    """And whatever a volume has held is in it, or in a snapshot."""
    back = 0

    def ready() -> None:
        nonlocal back
        lab.anew()
        back = lab.generation()
        lab.apply("b")
        lab.mark("new")

    def words() -> list[str]:
        return ["rollback", str(back), "--yes", *(["--restore-volume", "volume.*"] if restores else [])]

    def then(done: Done, _: object) -> None:
        now = (lab.data() / "mark").read_text()
        assert now in (("old", "new") if restores else ("new",))
        again = lab.run(*words())
        assert again.code == 0 or "there is nothing to go back to" in again.err, again
        lab.whole("a")
        for volume in ("data", "files"):
            assert (lab.data(volume) / "mark").read_text() == ("old" if restores else "new")
            assert not restores or "new" in lab.snapshots(volume)

    sweep(lab, ready, words, then, "a")


@pytest.mark.parametrize("kind", ["volume", *(["container", "network"] if EVERY else [])])
def test_what_was_half_adopted_is_adopted_again(lab: Kept, kind: str) -> None:
    address = {"container": "container.db", "network": "network.net", "volume": "volume.data"}[kind]
    named = {"container": "mess-db-1", "network": "mess_net", "volume": "mess_data"}[kind]

    def ready() -> None:
        lab.apply("a")
        done = lab.run("destroy", "--yes", "--volumes", "--allow-data-loss", "*")
        assert done.code == 0, done
        if kind == "container":
            lab.engine.up({"name": "byhand", "image": "mess-box:latest", "network_mode": "none"})
        elif kind == "network":
            lab.engine.create_network({"name": "byhand"})
        else:
            Path(lab.engine.create_volume("byhand", {})["mountpoint"], "mark").write_text("old")

    def then(done: Done, _: object) -> None:
        plan = lab.run("plan", state="a")
        names = {each["name"] for each in (*lab.engine.containers(), *lab.engine.networks(), *lab.engine.volumes())}
        assert len({"byhand", named} & names) == 1, "it has one of the two names"
        adopted = address in {each.partition("/")[0] for each in lab.present()}
        if named in names and not adopted:
            assert f"`stackpy adopt {address} {named}` takes it into the stack" in plan.out + plan.err
        if not adopted:
            again = lab.run("adopt", address, named if named in names else "byhand", state="a")
            assert again.code == 0, again
        if kind == "volume":
            assert (lab.data() / "mark").read_text() == "old"
        lab.apply("a")
        lab.whole("a")

    sweep(lab, ready, lambda: ["adopt", address, "byhand"], then, "a")
