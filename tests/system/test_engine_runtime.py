"""`runtime`: containers that are handed over to an OCI runtime of the host, with all that the engine does for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli, clean_host
from tests.oci_lab import REPOSITORY, make_rootfs
from tests.waiting import wait_for

pytestmark = pytest.mark.root

UNIFIED = "/sys/fs/cgroup/unified"


def program(folder: Path, name: str) -> Path:
    """A runtime of the host; on a hybrid one where Debian 12's crun and runc work, without version 2."""
    path = folder / name
    if name == "stackpy-oci":
        folders = [str(REPOSITORY), str(REPOSITORY / "runtime")]
        text = f"#!{sys.executable}\nimport sys; sys.path[:0] = {folders!r}\n"
        path.write_text(f"{text}from stackpy.cli.main import oci\noci()\n")
    else:
        script = f'mountpoint -q {UNIFIED} && umount {UNIFIED}; exec {name} "$@"'
        path.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{script}' {name} \"$@\"\n")
    path.chmod(0o755)
    return path


@pytest.fixture(name="engine", scope="module")
def engine_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("runtime")
    words = [sys.executable, "-c", "from stackpy.cli.main import main; main()"]
    engine = Cli(folder / "root", words, {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'runtime'}"})
    make_rootfs(folder / "rootfs")
    subprocess.run(["tar", "-C", str(folder / "rootfs"), "-cf", str(folder / "base.tar"), "."], check=True)
    with clean_host(engine):
        engine("import", "--change", "ENV PATH=/bin", str(folder / "base.tar"), "base:latest")
        yield engine
    assert not list((engine.root / "run/oci").glob("*"))


@pytest.mark.parametrize("name", ["crun", "runc", "stackpy-oci"])
def test_a_container_of_another_runtime(engine: Cli, tmp_path: Path, name: str) -> None:
    runtime = str(program(tmp_path, name))
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 1234, 1234)
    null = os.stat("/dev/null")
    handed = ("--runtime", runtime, "--pull", "never")
    engine("run", "--rm", *handed, "base", "sh", "-c", "exit 7", code=7)
    assert "not found" in engine("run", "--rm", *handed, "base", "nosuch", code=127).stderr.lower()
    script = (
        "id -u; cat /proc/self/uid_map; ulimit -n; touch /v/mine; hostname;"
        " cat /sys/fs/cgroup/memory/memory.limit_in_bytes; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status;"
        " ip a | grep -c eth0; trap 'exit 5' TERM; echo up; while true; do sleep 0.05; done"
    )
    words = ("-m", "64m", "--pids-limit", "50", "-v", f"{shared}:/v", "-u", "1000:1000", "--hostname", "box",
             "--ulimit", "nofile=100:200", "--tmpfs", "/t", "-p", "18099:80")  # fmt: skip
    engine("run", "-d", "--name", name, *handed, *words, "base", "sh", "-c", script)
    wait_for(lambda: "up\n" in engine("logs", name).stdout, "it runs")
    lines = engine("logs", name).stdout.splitlines()
    assert lines[0] == "1000"
    assert int(lines[1].split()[1]) > 1_000_000
    assert lines[2:5] == ["100", "box", str(64 << 20)]
    assert [line.split()[1] for line in lines[5:7]] == ["1", "2"]
    assert int(lines[7]) > 0
    # What it makes belongs to the owner of the folder, as in the engine's own sandbox.
    assert (shared / "mine").stat().st_uid == 1234
    result = engine("exec", "-e", "A=b", name, "sh", "-c", "echo $A; id -u; cat", code=0, given="")
    assert result.stdout == "b\n1000\n"
    engine("exec", name, "sh", "-c", "exit 4", code=4)
    engine("pause", name)
    engine("unpause", name)
    engine("stop", name)
    [document] = engine.json("inspect", name)
    assert document["State"]["ExitCode"] == 5
    assert document["HostConfig"]["Runtime"] == runtime
    engine("start", name)
    engine("rm", "-f", name)
    assert not list((engine.root / "run/oci").glob("*"))
    # crun gives the standard streams to the container's user, whose host ID the container's root commands.
    assert (os.stat("/dev/null").st_uid, os.stat("/dev/null").st_gid) == (null.st_uid, null.st_gid)


def test_an_unknown_runtime_is_an_error_of_the_plan(engine: Cli, tmp_path: Path) -> None:
    assert "runtime `nothere` is not on this host" in engine(
        "run", "--rm", "--runtime", "nothere", "--pull", "never", "base", "true", code=125
    ).stderr  # fmt: skip
    (tmp_path / "stack.py").write_text(
        'from stackpy import Container, Image, Stack\nStack("handed")\n'
        'Container("a", image=Image.scratch(), command=["/x"], runtime="nothere")\n'
    )
    result = engine("plan", cwd=tmp_path, code=1)
    assert "runtime `nothere` is not on this host" in result.stderr
    assert engine("ps", "-aq").stdout == ""
