"""Networks and volumes that are made by hand, as they are typed."""

from __future__ import annotations

import pytest

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
