"""--format of documents and listings: Docker's types in ours, and docker's tables."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.cli.context import Context
from stackpy.cli.formats import print_documents, print_templated
from stackpy.cli.options import Globals
from stackpy.errors import StackpyError
from stackpy.render.go_templates.values import Method

DOCUMENT: dict[str, Any] = {
    "Id": "abc",
    "State": {"Status": "running"},
    "Mounts": [{"Type": "bind", "Source": "/srv"}],
    "HostConfig": {"CapAdd": None, "PidsLimit": None, "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}},
    "Config": {"Labels": {"a": "b"}, "Cmd": None, "Volumes": None},
    "NetworkSettings": {"Networks": {"shop": {"IPAddress": "10.0.0.2"}}, "Ports": {"80/tcp": [{"HostPort": "1"}]}},
}


def printed(capsys: pytest.CaptureFixture[str], form: str | None, *documents: Any) -> str:
    assert print_documents(Context(Globals()), form, documents or (DOCUMENT,)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{{.Id}}", "abc"),
        ("{{.HostConfig.CapAdd}} {{.HostConfig.PidsLimit}} {{json .HostConfig.CapAdd}}", "[] <nil> null"),
        ("{{.Config.Labels.none}} {{.Config.Volumes}} {{.Config.Cmd}}", "<no value> map[] []"),
        ("{{if .State.Health}}x{{end}}{{if .Config.Healthcheck}}x{{end}}|", "|"),
        ("{{.Config.OnBuild}}{{.Config.ExposedPorts}}{{.Config.StopSignal}}", "[]map[]"),
        ('{{index .HostConfig.LogConfig.Config "max-size"}} {{.HostConfig.LogConfig.Config.none}}', "1m <no value>"),
        ("{{range .Mounts}}{{.Type}}:{{.Name}}:{{.Source}}{{end}}", "bind::/srv"),
        ("{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}}{{end}}", "shop=10.0.0.2"),
        ("{{.NetworkSettings.Networks.shop.IPAddress}} {{.NetworkSettings.Networks.none}}", "10.0.0.2 <no value>"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "1"),
    ],
)
def test_documents(capsys: pytest.CaptureFixture[str], form: str, expected: str) -> None:
    assert printed(capsys, form) == f"{expected}\n"


def test_one_line_for_each_document_and_nothing_before_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "{{.Id}}", {"Id": "a"}, {"Id": "b"}) == "a\nb\n"
    with pytest.raises(StackpyError, match="there is no field `Id`"):
        printed(capsys, "{{.Id}}", {"Id": "a"}, {})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("form", [None, "json", "text"])
def test_without_a_template_it_is_an_array(capsys: pytest.CaptureFixture[str], form: str | None) -> None:
    assert printed(capsys, form, {"Id": "a"}) == '[\n  {\n    "Id": "a"\n  }\n]\n'


ROWS: list[dict[str, Any]] = [
    {"ID": "0123456789ab", "Names": "web", "Label": Method(lambda name: f"{name}=1")},
    {"ID": "ba9876543210", "Names": "a-longer-name", "Label": Method(lambda name: "")},
]
HEADS = {"ID": "CONTAINER ID", "Names": "NAMES", "Label": Method(lambda name: name.upper())}


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("{{.Names}}", ["web", "a-longer-name"]),
        (r"{{.ID}}\t{{.Names}}", ["0123456789ab\tweb", "ba9876543210\ta-longer-name"]),
        (
            r'table {{.Names}}\t{{.Label "x"}}\t{{truncate .ID 4}}',
            [
                "NAMES           X         CONTAINER ID",
                "web             x=1       0123",
                "a-longer-name             ba98",
            ],
        ),
    ],
)
def test_listings(capsys: pytest.CaptureFixture[str], form: str, lines: list[str]) -> None:
    assert print_templated(form, ROWS, HEADS) == 0
    assert capsys.readouterr().out.splitlines() == lines
