"""Stack commands that ask no engine: graph, test, show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stackpy.cli.context import Context
from stackpy.cli.main import run
from stackpy.cli.options import Globals
from stackpy.planning.plan import Action, Change, Plan, Reason
from stackpy.render import saved

STACK = """\
from stackpy import Component, Container, Image, Volume

class Store(Component):
    \"\"\"Keeps things.\"\"\"
    def __init__(self, name):
        super().__init__(name)
        with self:
            self.server = Container("server", image="store:1", volumes={Volume("data"): "/data"})

Container("web", image="web:1", depends_on=[Store("db").server.healthy])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "stack.py").write_text(STACK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(line: str) -> int:
    return run(line.split(), Context(Globals()))


def test_graph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("graph") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0] == "  db (Store): Keeps things. [volume.db-data, container.db-server]"
    assert lines[-1] == "  container.web ← image.web, network.default, container.db-server (healthy)"
    assert typed("graph --format json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["groups"] == {"db (Store)": ["volume.db-data", "container.db-server"]}
    assert {"from": "container.web", "to": "container.db-server", "condition": "healthy"} in document["edges"]
    assert typed("graph --format dot") == 0
    assert '"container.web" -> "container.db-server" [label="healthy"];' in capsys.readouterr().out
    assert typed("graph --format pdf") == 64


def test_test(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("test") == 1
    assert "there are no tests in" in capsys.readouterr().err
    (folder / "test_stack.py").write_text(
        "from stackpy.testing import load_stack\n"
        "def test_good(): assert 'container.web' in load_stack()\n"
        "def test_bad(): assert load_stack().name == 7\n"
    )
    assert typed("test") == 1
    out = capsys.readouterr().out
    assert "ok     test_stack.py::test_good" in out
    assert "FAILED test_stack.py::test_bad" in out
    assert "2 tests, 1 failed in" in out
    assert typed("test -k good") == 0
    capsys.readouterr()
    assert typed("test -k good --format json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["ok"]) == ("test_stack.py::test_good", True)
    assert typed("test -k nothing") == 1
    assert typed("test nowhere.py") == 1


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = Change("container.web", Action.UPDATE, (Reason("mem_limit", 1, 2, "x"),), note="1 of 2 replicas")
    plan = Plan("shop", "embedded", 2, (change,))
    reading = saved.Reading("embedded", "/root", "", "", "", {}, {}, {})
    (folder / "shop.plan").write_text(saved.text(saved.Saved(plan, saved.Options(), reading, "1.0", "T")))
    assert typed("show shop.plan") == 0
    found = capsys.readouterr()
    assert "  ~ container.web           update 1 of 2 replicas in place" in found.out
    assert "made by stackpy 1.0 at T, sha256:" in found.err
    assert typed("show --format json shop.plan") == 0
    assert json.loads(capsys.readouterr().out)["changes"][0]["address"] == "container.web"
    assert typed("show stack.py") == 1
    assert "`stack.py` is no saved plan" in capsys.readouterr().err
    assert typed("show") == 64
