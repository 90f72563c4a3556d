"""What somebody changes by hand is seen, named with what the engine shows, and mended by apply."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError
from tests.conftest import Cli
from tests.waiting import wait_for

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, Network, Secret, Volume
image = Image.host("sleep", "cat", "sh").cmd(["sleep", "1000"]).tag("drift/web:one")
Network("back")
data = Volume("data")
key = Secret("key", env="KEY")
Container("web", image=image, networks=["back"], volumes={data: "/data"}, secrets=[key], mem_limit="64m",
          labels={"team": "a"}, stop_grace_period=0)
"""


@pytest.fixture
def stack(cli: Cli, tmp_path: Path) -> Path:
    folder = tmp_path / "drift"
    folder.mkdir()
    (folder / "stack.py").write_text(STACK)
    cli.environment["KEY"] = "value"
    cli("apply", "--yes", cwd=folder)
    return folder


def found(cli: Cli, folder: Path) -> dict[str, tuple[str, list[str]]]:
    """address → action, texts of the reasons."""
    return {
        change["address"]: (change["action"], [reason["text"] for reason in change["reasons"]])
        for change in cli.json("plan", cwd=folder)["changes"]
    }


def mended(cli: Cli, folder: Path) -> None:
    cli("apply", "--yes", cwd=folder)
    assert found(cli, folder) == {}
    assert cli("exec", "drift-web-1", "cat", "/run/secrets/key").stdout == "value"


def state(root: Path) -> dict[str, Any]:
    """All that a plan could have changed: files of the root but SQLite's, links, filter, control groups."""
    files = {}
    for folder, _, names in os.walk(root):
        for name in [".", *names]:
            path = os.path.join(folder, name)
            if not name.startswith("state.db-"):
                found = os.lstat(path)
                # the log's two files of SQLite come and go in the root itself
                files[path] = (found.st_ino, found.st_size, 0 if path == f"{root}/." else found.st_mtime_ns)
    mark = hashlib.sha256(str(root).encode()).hexdigest()[:5]
    links = [line for line in run("ip", "-o", "link").splitlines() if mark in line]
    rules = [line for line in run("nft", "-a", "list", "tables").splitlines() if mark in line]
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"stackpy-{mark}" in path]
    return {"files": files, "links": links, "rules": rules, "groups": sorted(groups)}


def settled(root: Path) -> dict[str, Any]:
    """The state once what stands by for the next start, which has groups as well, is made: when it stays as it is."""

    def lasts() -> dict[str, Any] | None:
        before = state(root)
        time.sleep(0.2)
        return before if state(root) == before else None

    return wait_for(lasts, "what stands by") or {}


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_a_plan_changes_nothing(cli: Cli, stack: Path) -> None:
    root = Path(cli.environment["STACKPY_ROOT"])
    (stack / "more").write_text("x")
    (stack / "stack.py").write_text(STACK.replace('"64m"', '"96m"').replace(".tag(", '.copy("more", "/more").tag('))
    (stack / "stack.py").write_text((stack / "stack.py").read_text() + 'Network("other")\nVolume("more")\n')
    before = settled(root)
    assert len(before["groups"]) > 0 and len(before["links"]) > 0
    assert len(cli.json("plan", cwd=stack)["changes"]) == 4
    cli("drift", cwd=stack)
    assert state(root) == before
    reading = Engine(str(root), read_only=True)
    for change in (
        lambda: reading.stop("drift-web-1"),
        lambda: reading.create_volume("more", {}),
        lambda: reading.label_volume("drift_data", {}),
    ):
        with pytest.raises(EngineError):
            change()
    reading.store.close()


def delete_link(name: str) -> None:
    subprocess.run(["ip", "link", "delete", name], check=True)


def bridge(cli: Cli) -> str:
    (network,) = cli.json("network", "inspect", "drift_back")
    return str(network["Options"]["com.docker.network.bridge.name"])


def test_each_change_by_hand_is_seen_and_mended(cli: Cli, stack: Path) -> None:
    engine = Engine(cli.environment["STACKPY_ROOT"])

    def web() -> Any:
        return engine.container("drift-web-1")

    cli("stop", "drift-web-1")
    assert found(cli, stack)["container.web"][0] == "start"
    mended(cli, stack)

    cli("pause", "drift-web-1")
    assert found(cli, stack) == {"container.web": ("start", ["it is paused"])}
    mended(cli, stack)

    identity = web()["id"]
    cli("rename", "drift-web-1", "other")
    assert found(cli, stack) == {"container.web": ("update", ["it was renamed to other"])}
    mended(cli, stack)
    assert web()["id"] == identity

    assert cli("drift", cwd=stack).stdout.endswith("· no drift\n")
    cli("update", "--memory", "128m", "--cpus", "0.5", "--restart", "always", "drift-web-1")
    told = cli("drift", "--detailed-exitcode", cwd=stack, code=2).stdout
    assert "mem_limit: 128 MiB on the engine, 64 MiB was applied" in told
    engine.update(identity, {"labels": {**web()["config"]["labels"], "team": "b"}})
    assert found(cli, stack) == {"container.web": ("update", [
        "labels.team b → a", "mem_limit 128 MiB → 64 MiB", "restart always → (unset)", "cpus 0.5 → (unset)"
    ])}  # fmt: skip
    mended(cli, stack)
    assert web()["id"] == identity

    (port,) = os.listdir(f"/sys/class/net/{bridge(cli)}/brif")
    delete_link(port)
    assert found(cli, stack) == {"container.web": ("restart", ["its link to network drift_back is gone"])}
    mended(cli, stack)
    assert len(os.listdir(f"/sys/class/net/{bridge(cli)}/brif")) == 1

    name = bridge(cli)
    delete_link(name)
    assert found(cli, stack)["network.back"] == ("create", [f"its bridge {name} is gone"])
    mended(cli, stack)
    assert os.path.isdir(f"/sys/class/net/{name}")

    cli("rm", "-f", "drift-web-1")
    engine.remove_network("drift_back")
    engine.remove_secret("drift_key")
    cli("image", "rm", "-f", "drift/web:one")
    seen = found(cli, stack)
    assert {address: action for address, (action, _) in seen.items()} == {
        "container.web": "create",
        "network.back": "create",
        "secret.key": "create",
        "image.drift/web:one": "build",
    }
    mended(cli, stack)

    cli("rm", "-f", "drift-web-1")
    cli("volume", "rm", "drift_data")
    gone = cli.json("drift", cwd=stack)["drift"]
    assert sorted(each["address"] for each in gone) == ["container.web", "volume.data"]
    mended(cli, stack)

    folder = engine.volume("drift_data")["mountpoint"]
    shutil.rmtree(folder)
    assert found(cli, stack)["volume.data"] == ("create", [f"its folder {folder} is gone"])
    mended(cli, stack)
    assert cli("exec", "drift-web-1", "sh", "-c", "echo x > /data/file; cat /data/file").stdout == "x\n"

    # Data goes only where somebody has named it.
    refused = cli("destroy", "--yes", "--volumes", cwd=stack, code=1)
    assert "volume.data deletes data: " in refused.stderr and "--allow-data-loss volume.data" in refused.stderr
    assert "last written" in cli("destroy", "--volumes", cwd=stack, code=1).stdout
    assert cli("exec", "drift-web-1", "cat", "/data/file").stdout == "x\n"
    cli("destroy", "--yes", "--volumes", "--allow-data-loss", "volume.data", cwd=stack)
    assert engine.volumes() == []
    engine.store.close()


def test_what_others_have_made_is_adopted_and_never_overwritten(cli: Cli, stack: Path) -> None:
    engine = Engine(cli.environment["STACKPY_ROOT"])
    cli("destroy", "--yes", "--volumes", "--images", cwd=stack)
    cli("build", cwd=stack)
    engine.create_network({"name": "drift_back", "labels": {"mine": "yes"}})
    engine.create_volume("elsewhere", {})
    image = engine.images()[0]["id"]
    by_hand: Any = {
        "name": "handmade",
        "image": image,
        "command": ["sleep", "500"],
        "networks": {"drift_back": {"aliases": []}},
        "mounts": [{"type": "volume", "source": "elsewhere", "target": "/data", "read_only": False}],
    }
    identity = engine.up(by_hand)
    assert cli("exec", "handmade", "sh", "-c", "echo kept > /data/file").returncode == 0

    engine.up(
        {"name": "lone", "image": image, "command": ["sleep", "9"], "network_mode": "none", "mem_limit": 64 << 20}
    )
    found_folder = stack.parent / "found"
    told = cli("init", "--from-running", "--only", "lone,lone", str(found_folder)).stderr
    assert "stackpy adopt container.lone lone" in told
    assert "mem_limit=67108864" in (found_folder / "stack.py").read_text()
    cli("adopt", "container.lone", "lone", cwd=found_folder)
    assert found(cli, found_folder) == {}
    assert "no stack's" in cli("init", "--from-running", "--only", "lone", str(stack / "x"), code=1).stderr
    cli("destroy", "--yes", cwd=found_folder)

    refused = cli("plan", cwd=stack, code=1).stdout
    assert "there is a network `drift_back` already, and it is not the stack's" in refused
    assert "`stackpy adopt network.back drift_back` takes it into the stack" in refused
    assert "adopt network.back" in cli("apply", "--yes", cwd=stack, code=1).stderr
    assert engine.network("drift_back")["labels"] == {"mine": "yes"}

    told = cli("adopt", "network.back", "drift_back", cwd=stack)
    assert "labels.mine" in told.stdout
    assert "nothing differs" in cli("adopt", "volume.data", "elsewhere", cwd=stack).stderr
    told = cli("adopt", "container.web", "handmade", cwd=stack)
    assert "mem_limit" in told.stdout and "command" in told.stdout
    last = cli.json("history", cwd=stack)[0]
    assert last["outcome"] == "adopted" and last["by"]
    assert engine.container("drift-web-1")["id"] == identity
    assert "container.web already" in cli("adopt", "container.web", "drift-web-1", cwd=stack, code=1).stderr
    assert "no such volume" in cli("adopt", "volume.data", "nothing", cwd=stack, code=1).stderr

    cli("apply", "--yes", cwd=stack)
    assert found(cli, stack) == {}
    assert cli("exec", "drift-web-1", "cat", "/data/file").stdout == "kept\n"
    engine.store.close()
