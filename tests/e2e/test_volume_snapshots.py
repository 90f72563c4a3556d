"""Volumes with snapshot=True: kept before what writes them is made anew, and restored by a rollback that is told to."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.terminal_lab import until
from tests.waiting import wait_for

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, Job, Stack, Volume, var

Stack("kept")
version = var("version", default="1")
data = Volume("data", snapshot=True)
image = Image("box").env(VERSION=version).tag("kept/db:now")
Container("db", image=image, volumes={data: "/data"}, stop_grace_period=0,
          command=["sh", "-c", "echo began $VERSION >> /data/log; echo $VERSION; exec sleep 1000"])
Container("side", image=Image("box"), volumes={data: "/data:ro"}, stop_grace_period=0, command=["sleep", "1000"])
Job("migrate", image=image, volumes={data: "/data"}, command=["sh", "-c", "echo migrated $VERSION >> /data/migrated"])
"""
# Writes the same number into many files, over and over: at one moment they differ by one at most.
WRITER = """
from stackpy import Container, Image, Job, Stack, Volume, var
Stack("kept")
data = Volume("data", snapshot=True)
Job("migrate", image="box", environment={"V": var("version", default="1")}, volumes={data: "/data"},
    command=["sh", "-c", ":"])
Container("writer", image="box", volumes={data: "/data"}, stop_grace_period=0,
          command=["python3", "-c", "\\n".join([
              "import itertools",
              "files = [open(f'/data/{n}', 'w+') for n in range(40)]",
              "for count in itertools.count(1):",
              "    for file in files:",
              "        file.seek(0); file.write(f'{count:9}'); file.flush()",
          ])])
"""

# Says a last word when it is told to stop; `name` is what it is called, `job` whether something talks to it.
STOPPING = """
from stackpy import Container, Image, Job, Stack, Volume, var
Stack("kept")
data = Volume("data", snapshot=True)
version = var("version", default="1")
name, end = var("name", default="db"), "trap 'echo last $0 >> /data/log; exit' TERM"
box = Image("box").env(VERSION=version)
db = Container(name, image=box if var("job", default="") == "" else Image("box"), volumes={data: "/data"},
               command=["sh", "-c", end + "; echo began $0 >> /data/log; while :; do sleep 0.05; done", name])
Job("migrate", image=box, command=["sh", "-c", ":"], depends_on=[db.started])
"""


@pytest.fixture
def folder(box: Cli, tmp_path: Path) -> Path:
    (tmp_path / "stack.py").write_text(STACK)
    return tmp_path


def volume(cli: Cli) -> Path:
    return cli.root / "volumes" / "kept_data"


def kept(cli: Cli) -> list[Path]:
    """Where the snapshots lie, oldest first."""
    (document,) = cli.json("volume", "inspect", "kept_data")
    return [volume(cli) / "_snapshots" / each["Id"] / "data" for each in document["Snapshots"]]


def log(path: Path) -> list[str]:
    return [*(path / "log").read_text().splitlines(), *(path / "migrated").read_text().splitlines()]


def running(cli: Cli) -> dict[str, str]:
    return {row["name"]: row["state"] for row in cli.json("ps", "-a") if row["stack"] == "kept"}


def gone(cli: Cli) -> None:
    cli("destroy", "--stack", "kept", "--volumes", "--images", "--yes", "--allow-data-loss", "volume.*")
    assert not volume(cli).exists()


def test_data_goes_back_with_its_generation(box: Cli, folder: Path) -> None:
    second = ("--set", "version=2")
    now = volume(box) / "_data"
    try:
        box("apply", "--yes", cwd=folder)
        assert kept(box) == []  # there was nothing to keep
        wait_for(lambda: (now / "log").exists(), "the first start")
        told = box("apply", "--yes", *second, cwd=folder)
        assert (
            "= volume.data " in told.stdout and ", before container.db is replaced and job.migrate runs" in told.stdout
        )
        assert box.json("plan", *second, cwd=folder)["changes"] == []
        assert [log(path) for path in kept(box)] == [["began 1", "migrated 1"]]
        wait_for(lambda: log(now) == ["began 1", "began 2", "migrated 1", "migrated 2"], "the second start")
        held = box.json("history", "2", cwd=folder)[0]["snapshots"]
        assert [(each["address"], each["bytes"] > 0) for each in held] == [("volume.data", True)]
        assert "holds volume.data as it was before: " in box("history", "2", cwd=folder).stdout
        usage = box.json("system", "df", "-v")["volumes"]
        assert 0 < usage[0]["snapshots"] < usage[0]["size"]
        (before,) = box.json("image", "inspect", "kept/db:now")

        refused = box("rollback", "--yes", "--restore-volume", "volume.date", cwd=folder, code=1).stderr
        assert "there is no snapshot of `volume.date` from when generation 1 was left, and nothing was ch" in refused
        assert "hint: there are some of volume.data" in refused

        # not asked for: data stays as it is, and that is said
        told = box("rollback", "--yes", cwd=folder)
        assert "volume.data keeps what it holds now: `--restore-volume volume.data` brings back what" in told.stdout
        wait_for(lambda: log(now)[2:3] == ["began 1"], "the old one on the new data")
        (after,) = box.json("image", "inspect", "kept/db:now")
        assert after["Id"] != before["Id"]  # the tag means what runs
        assert box.json("history", cwd=folder)[0]["outcome"] == "rolled back to 1"

        # there again, and back with the data of then
        box("apply", "--yes", *second, cwd=folder)
        wait_for(lambda: log(now).count("began 2") == 2, "the new one")
        left = log(now)
        told = box("rollback", "1", "--yes", "--restore-volume", "volume.data", cwd=folder)
        assert "container.side          restart" in told.stdout
        wait_for(lambda: log(now) == ["began 1", "began 1", "migrated 1", "migrated 1"], "the data of then")
        assert log(kept(box)[-1]) == left  # nothing is lost
        assert running(box) == {"kept-db-1": "running", "kept-side-1": "running", "kept-migrate-1": "exited"}
        assert "began 2" not in box("exec", "kept-side-1", "cat", "/data/log").stdout  # it sees the new folder

        # that, too, can be taken back
        number = str(box.json("history", cwd=folder)[1]["generation"])
        box("rollback", number, "--yes", "--restore-volume", "volume.*", cwd=folder)
        wait_for(lambda: log(now)[: len(left)] != [], "the data of before")
        assert log(now).count("began 2") == 3

        refused = box("destroy", "--volumes", "--yes", cwd=folder, code=1).stderr
        assert "volume.data deletes data: " in refused and " snapshots of it (" in refused
    finally:
        gone(box)


def test_a_snapshot_goes_with_its_generation(box: Cli, folder: Path) -> None:
    (folder / "stackpy.toml").write_text("[generations]\nkeep = 2\n")
    try:
        for version in "1234":
            box("apply", "--yes", "--set", f"version={version}", cwd=folder)
        assert [row["generation"] for row in box.json("history", cwd=folder)] == [4, 3]
        assert [log(path)[-1] for path in kept(box)] == ["migrated 2", "migrated 3"]
        assert box.json("volume", "ls")[0]["snapshots"] == 2
        told = box("destroy", "--images", "--yes", cwd=folder).stdout
        assert "volume.data: 2 snapshots of it (" in told and ") go with the history" in told
        assert os.listdir(volume(box)) == ["_data"]
    finally:
        gone(box)


def test_one_is_asked_on_a_terminal(box: Cli, folder: Path) -> None:
    now = volume(box) / "_data"
    try:
        box("apply", "--yes", cwd=folder)
        box("apply", "--yes", "--set", "version=2", cwd=folder)
        for typed, code in (("volume.other", 1), ("", 0), ("volume.data", 0)):
            master, slave = pty.openpty()
            process = box.start("rollback", "1", cwd=folder, stdin=slave, stdout=slave, stderr=slave)
            os.close(slave)
            until(master, "type its address to restore it, or nothing: ")
            os.write(master, f"{typed}\r".encode())
            if code == 0:
                shown = until(master, "apply this plan?")
                assert ("volume.data             restore" in shown) is bool(typed)
                os.write(master, b"y\r")
                until(master, "the next apply goes there again")
            assert process.wait(60) == code
            os.close(master)
            assert ("migrated 2" in log(now)) is (typed != "volume.data")
    finally:
        gone(box)


def test_a_snapshot_that_fails_leaves_everything_as_it_was(box: Cli, folder: Path) -> None:
    inside = volume(box) / "_data" / "mounted"
    try:
        box("apply", "--yes", cwd=folder)
        identities = {row["name"]: row["id"] for row in box.json("ps")}
        inside.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inside)], check=True)
        try:
            told = box("apply", "--yes", "--set", "version=2", cwd=folder, code=1).stderr
        finally:
            subprocess.run(["umount", str(inside)], check=True)
        assert "volume kept_data: something is mounted at `mounted` in it" in told
        assert "kept-db-1 started again" in told
        assert "job.migrate: skipped, because container.db failed" in told
        assert {row["name"]: row["id"] for row in box.json("ps")} == identities
        assert kept(box) == [] and os.listdir(box.root / "staging") == []
        box("apply", "--yes", "--set", "version=2", cwd=folder)
        # somebody else's container is not stopped for a rollback
        box("run", "-d", "--name", "guest", "-v", "kept_data:/data", "box", "sleep", "1000")
        told = box("rollback", "--yes", "--restore-volume", "volume.data", cwd=folder, code=1).stderr
        assert "guest uses volume `kept_data`, and is not this stack's to stop" in told
        assert set(running(box).values()) == {"running", "exited"} and len(kept(box)) == 1
    finally:
        box("rm", "-f", "guest", code=None)
        gone(box)


def test_files_are_those_of_one_moment_and_a_killed_apply_lets_their_writer_go_on(box: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(WRITER)
    data = volume(box) / "_data"

    def count() -> int:
        return int((data / "39").read_text() or 0) if (data / "39").exists() else 0

    try:
        box("apply", "--yes", cwd=tmp_path)
        wait_for(lambda: count() > 10, "a writer that writes")
        (data / "large").mkdir()
        for number in range(800):
            (data / "large" / str(number)).write_bytes(b"x" * 5000)
        killed = box.start("apply", "--yes", "--set", "version=2", cwd=tmp_path)
        assert killed.stderr
        assert any("taking a snapshot" in line for line in killed.stderr)
        wait_for(lambda: bool(os.listdir(box.root / "staging")), "a copy that has begun")
        killed.kill()
        killed.communicate()
        since = count()
        wait_for(lambda: count() > since, "a writer that goes on")
        plan = box.json("plan", "--set", "version=2", cwd=tmp_path)
        assert [change["action"] for change in plan["changes"]] == ["snapshot", "run"]
        box("apply", "--yes", "--set", "version=2", cwd=tmp_path)
        assert os.listdir(box.root / "staging") == []
        for path in kept(box):
            values = {int((path / str(number)).read_text()) for number in range(40)}
            assert max(values) - min(values) <= 1
            assert len(os.listdir(path / "large")) == 800
        assert kept(box)
    finally:
        gone(box)


def test_what_a_container_writes_until_it_has_stopped_is_kept(box: Cli, tmp_path: Path) -> None:
    """When it is replaced, and when another comes in its place by another name; a job needs no mount to write."""
    (tmp_path / "stack.py").write_text(STOPPING)

    def apply(*words: str, code: int = 0) -> str:
        sets = [word for each in words for word in ("--set", each)]
        done = box("apply", "--yes", *sets, cwd=tmp_path, code=code)
        return done.stdout + done.stderr

    def last() -> list[str]:
        return (kept(box)[-1] / "log").read_text().split("\n")[-3:-1]

    try:
        apply()
        wait_for(lambda: (volume(box) / "_data" / "log").exists(), "the first start")
        (volume(box) / "_data" / "in").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(volume(box) / "_data" / "in")], check=True)
        try:
            told = apply("version=2", code=1)
        finally:
            subprocess.run(["umount", str(volume(box) / "_data" / "in")], check=True)
        assert "kept-db-1 started again" in told and "something is mounted at `in` in it" in told
        assert kept(box) == [] and running(box)["kept-db-1"] == "running"

        told = apply("version=2")
        assert "volume.data: copied once container.db has stopped" in told
        assert told.index("kept-db-1 stopped") < told.index("snapshot taken") < told.index("kept-db-1 started")
        assert last() == ["began db", "last db"]

        told = apply("version=2", "name=database")
        assert ", before container.database is created" in told and running(box).keys() == {
            "kept-database-1", "kept-migrate-1"
        }  # fmt: skip
        assert last() == ["began db", "last db"]

        apply("version=2", "name=database", "job=1")
        told = apply("version=3", "name=database", "job=1")
        assert ", before job.migrate runs" in told and "container.database stands still while it is copied" in told
        assert last() == ["last database", "began database"]
        assert len(kept(box)) == 4
    finally:
        gone(box)
