"""Networks and volumes that are made by hand, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy_runtime.linux import mounts
from tests.conftest import Cli

pytestmark = pytest.mark.root


def test_a_container_comes_to_a_network_and_leaves_it(box: Cli) -> None:
    box("network", "create", "--subnet", "10.219.7.0/24", "--label", "a=b", "back")
    box("network", "create", "--internal", "front")
    box("run", "-d", "--name", "w", "--network", "front", "box", "sleep", "100")
    box("network", "connect", "--ip", "10.219.7.9", "--alias", "db", "back", "w")
    found = box.json("inspect", "w")[0]["NetworkSettings"]["Networks"]
    assert (sorted(found), found["back"]["IPAddress"], found["back"]["Aliases"]) == (
        ["back", "front"],
        "10.219.7.9",
        ["db"],
    )
    assert "already" in box("network", "connect", "back", "w", code=1).stderr
    assert "is in use by w\nhint: stop those first" in box("network", "rm", "back", code=1).stderr
    box("network", "disconnect", "front", "w")
    assert "is on no other network" in box("network", "disconnect", "back", "w", code=1).stderr
    assert box("network", "rm", "front").stdout == "front\n"
    box("stop", "-t", "0", "w")
    # One that does not run comes to it at its next start.
    box("network", "create", "late")
    box("network", "connect", "late", "w")
    box("start", "w")
    assert sorted(box.json("inspect", "w")[0]["NetworkSettings"]["Networks"]) == ["back", "late"]
    told = box("events", "--since", "5m", "--until", "0s", "--filter", "type=network", "--format", "{{.Action}}").stdout
    assert told.split()[:5] == ["create", "create", "connect", "connect", "disconnect"]
    box("rm", "-f", "w")
    assert box("network", "prune", "--force", "--filter", "label!=a").stdout == "Deleted Networks:\nlate\n\n"
    box("network", "rm", "back")
    box("network", "rm", "--force", "back")
    assert "no such network: `back`" in box("network", "rm", "back", code=1).stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["network", "create", "none"], 1, "`none` is what `--network` has a meaning for"),
        (["network", "create", "a b"], 64, "`network create a b`: must be 1 to 63 letters"),
        (["network", "create", "-d", "overlay", "x"], 64, "networks have one driver, `bridge`"),
        (["network", "create", "--subnet", "10.1", "x"], 64, "`--subnet 10.1`: must be an IPv4 network"),
        (["network", "create", "--gateway", "10.1.1.1", "x"], 64, "it is the first address of the subnet"),
        (["network", "connect", "nope", "nobody"], 1, "no container is called `nobody`"),
        (["network", "disconnect", "-f", "nope", "nobody"], 0, ""),
        (["volume", "create", "-d", "nfs", "x"], 64, "volumes are folders of this host"),
        (["volume", "create", "a/b"], 64, "`volume create a/b`: must be 1 to 63 letters"),
        (["volume", "prune", "-f", "--filter", "until=1h"], 64, "volumes go whatever their age"),
    ],
)
def test_what_cannot_be(box: Cli, words: list[str], code: int, message: str) -> None:
    assert message in box(*words, code=code).stderr


def test_volumes_are_made_and_pruned(box: Cli) -> None:
    assert box("volume", "create", "--label", "team=shop", "kept").stdout == "kept\n"
    assert box("volume", "create", "kept").stdout == "kept\n"
    assert box.json("volume", "inspect", "kept")[0]["Labels"]["team"] == "shop"
    nameless = box("volume", "create").stdout.strip()
    assert len(nameless) == 64
    assert box("volume", "prune", "-f").stdout.startswith(f"Deleted Volumes:\n{nameless}\n")
    assert box("volume", "prune", "-f", "-a", "--filter", "label=team").stdout.startswith("Deleted Volumes:\nkept\n")
    assert box("volume", "ls", "-q").stdout == ""


STACK = """
from stackpy import Container, Image, Network, Stack
Stack("places")
image = Image("box")
back = Network("back", subnet="10.219.8.0/28")
Container("any", image=image, command="sleep 100", networks=[back], stop_grace_period=0)
Container("fixed", image=image, command="sleep 100", networks={back: {"ipv4_address": "10.219.8.ADDRESS"}}, MORE
          stop_grace_period=0)
"""


def test_what_cannot_be_is_said_by_the_plan(box: Cli, tmp_path: Path) -> None:
    def stack(address: str, more: str = "") -> None:
        (tmp_path / "stack.py").write_text(STACK.replace("ADDRESS", address).replace("MORE", more))

    def address(name: str) -> str:
        return str(
            box.json("inspect", name, cwd=tmp_path)[0]["NetworkSettings"]["Networks"]["places_back"]["IPAddress"]
        )

    stack("2")
    box("apply", "--yes", cwd=tmp_path)
    # Whichever starts first, the lowest address is left to who asks for it.
    assert (address("fixed"), address("any")) == ("10.219.8.2", "10.219.8.3")
    stack("3")
    refused = box("plan", cwd=tmp_path, code=1).stdout
    assert "refused: container.fixed: 10.219.8.3 on network `back` is in use by container.any" in refused
    box("run", "-d", "--name", "by-hand", "--network", "places_back", "--ip", "10.219.8.4", "box", "sleep", "100")
    stack("4")
    assert "is in use by container `by-hand`" in box("apply", "--yes", cwd=tmp_path, code=1).stderr
    box("rm", "-f", "by-hand")
    plan = box.json("plan", cwd=tmp_path)["changes"]
    assert [(one["address"], one["action"]) for one in plan] == [("container.fixed", "update")]
    box("apply", "--yes", cwd=tmp_path)
    assert address("fixed") == "10.219.8.4"
    assert box.json("plan", cwd=tmp_path)["changes"] == []
    box("destroy", "--yes", cwd=tmp_path)


def test_a_bind_of_what_does_not_spread_is_no_plan(box: Cli, tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    mounts.mount("tmpfs", str(tmp_path / "top"), "tmpfs")
    mounts.mount(None, str(tmp_path / "top"), None, mounts.MS_PRIVATE)
    source = tmp_path / "top/source"
    source.mkdir()
    text = f'Container("a", image=Image("box"), command="sleep 9", volumes=["{source}:/m:rshared"])'
    (tmp_path / "stack.py").write_text(f"from stackpy import Container, Image\n{text}\n")
    wrong = box("plan", cwd=tmp_path, code=1).stderr
    mounts.umount(str(tmp_path / "top"))
    assert f"propagation `rshared`: {source} is on the mount {tmp_path}/top, which is not shared" in wrong
    assert f"hint: mount --bind {source} {source} && mount --make-shared {source}" in wrong
