"""The fields of `ps --format`: docker's names, and what stands in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stackpy.cli.commands import events, ps, update
from stackpy.cli.container_rows import HEADS, fields, heads
from stackpy.cli.formats import print_templated
from stackpy.cli.grammar import Arguments
from stackpy.cli.options import Globals
from stackpy.cli.parsing import parse_command, to_arguments
from stackpy.errors import UsageError

ROW: dict[str, Any] = {
    "id": "0123456789abcdef", "name": "shop-web-1", "image": "sha256:aabbccddeeff0011", "state": "running",
    "status": "Up 2 minutes", "health": "", "exit_code": None, "reason": "", "stack": "shop",
    "resource": "container.web", "replica": 1,
    "ports": [
        {"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"},
        {"host_ip": "::1", "published": 53, "target": 53, "protocol": "udp"},
    ],
    "networks": ["shop_back", "shop_front"], "command": ["/bin/sh", "-c", "sleep 600; true"],
    "mounts": ["shop_data", "/a/very/long/path/of/the/host"], "volumes": 1, "labels": {"tier": "front", "a": "b"},
    "created": "2026-01-31T12:00:00.5Z",
}  # fmt: skip


def test_every_field_has_a_head() -> None:
    assert fields(ROW).keys() == heads().keys() == {*HEADS, "Label"}


def test_what_stands_in_them() -> None:
    found = fields(ROW)
    assert (found["ID"], found["Image"], found["Command"]) == (
        "0123456789ab", "aabbccddeeff", "\"/bin/sh -c 'sleep 6…\""
    )  # fmt: skip
    assert found["Ports"] == "127.0.0.1:8080->80/tcp, [::1]:53->53/udp"
    assert (found["Labels"], found["Label"].call("tier"), found["Label"].call("none")) == (
        "a=b,tier=front",
        "front",
        "",
    )
    assert (found["Mounts"], found["LocalVolumes"]) == ("shop_data,/a/very/long/p…", "1")
    assert (found["Networks"], found["Size"]) == ("shop_back,shop_front", "")
    whole = fields({**ROW, "size_rw": 2, "size_root_fs": 5_570_000}, whole=True)
    assert (whole["ID"], whole["Image"]) == (ROW["id"], ROW["image"])
    assert (whole["Command"], whole["Size"]) == ("\"/bin/sh -c 'sleep 600; true'\"", "2B (virtual 5.57MB)")
    assert fields({**ROW, "state": "exited"})["Ports"] == ""


def test_a_table_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_templated(r'table {{.Names}}\t{{.Label "tier"}}\t{{upper .State}}', [fields(ROW)], heads())
    assert capsys.readouterr().out == "NAMES        tier      STATE\nshop-web-1   front     RUNNING\n"


def asked(line: str) -> Arguments:
    command = update.COMMAND
    return to_arguments(parse_command([*line.split(), "web"], command.options, command.arguments, "stackpy update"))


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("-m 1g --cpus 1.5", {"mem_limit": 1 << 30, "cpus": 1.5}),
        ("--memory 0 --pids-limit -1", {"mem_limit": None, "pids_limit": None}),
        ("--memory-swap -1", {"memswap_limit": -1}),
        ("--restart on-failure:3", {"restart": "on-failure:3"}),
        ("--cpuset-cpus 0-1,3 --cpu-shares 512", {"cpuset": "0-1,3", "cpu_shares": 512}),
        ("--blkio-weight 300", {"blkio_config": {"weight": 300}}),
        ("--blkio-weight 0", {"blkio_config": None}),
    ],
)
def test_update(line: str, changes: dict[str, Any]) -> None:
    assert update.changes(asked(line)) == changes


@pytest.mark.parametrize("line", ["", "--memory many", "--blkio-weight 5", "--restart sometimes"])
def test_an_update_of_nothing_or_nonsense(line: str) -> None:
    with pytest.raises(UsageError):
        update.changes(asked(line))


def test_nothing_that_a_terminal_acts_on_comes_from_labels_or_health_checks(capsys: pytest.CaptureFixture[str]) -> None:
    attributes = {"name": "web", "evil": "\x1b]0;owned\x07\nx"}
    event = {
        "Type": "image", "Action": "pull", "Actor": {"ID": "sha256:1", "Attributes": attributes},
        "timeNano": 10**18 + 7,
    }  # fmt: skip
    text = events.line(event)
    assert text.isprintable()
    assert text.startswith("2001-09-09T")
    assert ".000000007" in text
    assert r"(evil=\x1b]0;owned\x07\nx, name=web)" in text
    bad = {**ROW, "status": "Exited (1): unhealthy: \x1b[2J"}
    engine = SimpleNamespace(ps=lambda *_, **__: [bad])
    context: Any = SimpleNamespace(json=False, globals=Globals(), engine=lambda: engine)
    words = parse_command([], ps.COMMAND.options, ps.COMMAND.arguments, "stackpy ps")
    assert ps.COMMAND.run(context, to_arguments(words)) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"), [("-q", "new old"), ("--format {{.Names}}", "new old"), ("-n 1 -q", "new")]
)
def test_what_scripts_read_has_the_newest_first(line: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**ROW, "id": name, "name": name, "created": time} for time, name in (("2025", "old"), ("2026", "new"))]
    engine = SimpleNamespace(ps=lambda *_, **__: rows)
    context: Any = SimpleNamespace(json=False, globals=Globals(), engine=lambda: engine)
    words = parse_command(line.split(), ps.COMMAND.options, ps.COMMAND.arguments, "stackpy ps")
    assert ps.COMMAND.run(context, to_arguments(words)) == 0
    assert capsys.readouterr().out.split() == expected.split()
