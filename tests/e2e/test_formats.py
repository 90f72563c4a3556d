"""--format of inspect on what an engine really has."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import Cli

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def name(box: Cli) -> Iterator[str]:
    """A container with what people ask for."""
    box(
        "run", "-d", "--name", "asked", "--label", "role=web", "-e", "MODE=prod", "-p", "0:80", "-v", "data:/data",
        "-m", "64m", "box", "sleep", "100",
    )  # fmt: skip
    yield "asked"
    box("rm", "-f", "asked")
    box("volume", "rm", "data")


def said(box: Cli, *words: str) -> str:
    return box(*words).stdout.removesuffix("\n")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}", "running true 0"),
        ("{{.Name}} {{.Config.Labels.role}} {{.Config.Labels.none}}", "/asked web <no value>"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}}", "unchecked"),
        ("{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}}{{end}}", "volume data /data"),
        ("{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", "67108864 no"),
        ('{{join .Config.Cmd " "}}', "sleep 100"),
        (
            "{{range .Config.Env}}{{println .}}{{end}}",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nMODE=prod\n",
        ),
    ],
)
def test_a_container(box: Cli, name: str, template: str, expected: str) -> None:
    assert said(box, "inspect", "-f", template, name) == expected


def test_what_scripts_ask_most(box: Cli, name: str) -> None:
    (document,) = box.json("inspect", name)
    networks = document["NetworkSettings"]["Networks"]
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    assert said(box, "inspect", "--format", address, name) == networks["bridge"]["IPAddress"]
    port = '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'
    assert (
        said(box, "inspect", "--format", port, name) == (document["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
    )
    assert json.loads(said(box, "inspect", "--format", "{{json .}}", name)) == document
    assert said(box, "image", "inspect", "-f", "{{.Id}}", "box") == document["Image"]
    assert said(box, "volume", "inspect", "-f", "{{.Mountpoint}}", "data") == document["Mounts"][0]["Source"]
    subnet = "{{range .IPAM.Config}}{{.Subnet}}{{end}} {{len .Containers}}"
    assert said(box, "network", "inspect", "-f", subnet, "bridge").endswith(" 1")


def test_listings(box: Cli, name: str) -> None:
    identity = said(box, "image", "inspect", "-f", "{{.Id}}", "box")
    assert (
        said(box, "image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "box")
        == f"box:latest {identity[7:19]}"
    )
    assert said(box, "image", "ls", "--format", "table {{.Repository}}\\t{{.Tag}}", "box").splitlines() == [
        "REPOSITORY   TAG",
        "box          latest",
    ]
    assert said(box, "image", "history", "--format", "{{.ID}} {{.CreatedBy}}", "box").startswith(
        f"{identity[7:19]} FROM "
    )
    assert (
        said(box, "network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}}")
        == "bridge bridge local false"
    )
    assert said(box, "volume", "ls", "--format", "{{.Name}}|{{.Driver}}|{{.Stack}}") == "data|local|"
    disk = said(box, "system", "df", "--format", "{{.Type}}: {{.TotalCount}}").splitlines()
    assert disk == ["Images: 1", "Containers: 1", "Local Volumes: 1", "Build Cache: 0"]
    assert "there is no field `Nam`" in box("volume", "ls", "--format", "{{.Nam}}", code=1).stderr


def test_mistakes(box: Cli, name: str) -> None:
    failed = box("inspect", "-f", "{{.State.Stauts}}", name, code=1)
    assert failed.stdout == ""
    assert failed.stderr == (
        "error: template, at `.State.Stauts`: there is no field `Stauts`\nhint: did you mean `Status`?\n"
    )
    assert box("inspect", "-f", "{{.State", name, code=64).stderr == (
        "error: template, line 1: an action is not closed\nhint: it ends with `}}`\n"
    )
