"""`plan --out`, `show`, `apply FILE`: what was read is what is applied, once, or it is refused with what has moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Stack, var

Stack("saved")
Container("web", image="box", command=["sleep", "1000"], stop_grace_period=0,
          environment={"PASSWORD": "hunter2-hunter2"},
          mem_limit=var("limit", default="64m"), labels={"token": var("token", default="none")})
"""


def test_a_saved_plan_is_applied_once_and_only_to_what_it_was_made_from(box: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(STACK)
    refused = [1]

    def message(*words: str) -> str:
        return box(*words, cwd=tmp_path, code=refused[0]).stderr

    box("plan", "--out", "first.plan", cwd=tmp_path)
    content = (tmp_path / "first.plan").read_text()
    assert "hunter2" not in content
    shown = json.loads(box("show", "first.plan", "--format", "json", cwd=tmp_path).stdout)
    assert [change["address"] for change in shown["changes"]][-1] == "container.web"

    (tmp_path / "stack.py").write_text(STACK.replace('"64m"', '"65m"'))
    assert "stack.py: the file has changed" in message("apply", "first.plan")
    (tmp_path / "stack.py").write_text(STACK)
    box("apply", "first.plan", cwd=tmp_path)  # without a question
    assert [row["name"] for row in box.json("ps", "--stack", "saved")] == ["saved-web-1"]
    assert "has been applied already" in message("apply", "first.plan")

    box("plan", "--set", "limit=80m", "--out", "second.plan", cwd=tmp_path)
    box("stop", "-t", "0", "saved-web-1")
    assert "container.web: it is exited, and was running" in message("apply", "second.plan")
    box("start", "saved-web-1")
    (tmp_path / "stack.py").write_text(STACK.replace("hunter2-hunter2", "another"))
    assert "container.web: the stack file's `environment` differs" in message("apply", "second.plan")
    (tmp_path / "stack.py").write_text(STACK + "# a remark changes nothing\n")
    box("apply", "second.plan", cwd=tmp_path)
    assert box.json("inspect", "saved-web-1")[0]["HostConfig"]["Memory"] == 80 * 2**20

    # A value that may be a secret is not kept, and is asked for again.
    box("plan", "--set", "token=abc", "--set", "limit=80m", "--out", "third.plan", cwd=tmp_path)
    assert "abc" not in json.loads((tmp_path / "third.plan").read_text())["options"]["sets"].values()
    refused[0] = 64
    assert "was made with `--set token`" in message("apply", "third.plan")
    assert "comes too late" in message("apply", "third.plan", "--set", "limit=1m")
    refused[0] = 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "stack.py").write_text('from stackpy import Volume\nVolume("data")\n')
    third = ("apply", "third.plan", "--set", "token=abc")
    assert "of stack `saved`, and does not fit the stack file here" in message("-f", "other/stack.py", *third)
    assert "of stack `saved`, and this is stack `other`" in message("-f", "other/stack.py", "apply", "first.plan")
    assert "was made on the engine" in message("--root", str(tmp_path / "nowhere"), *third)

    box("plan", "--destroy", "--out", "end.plan", "--set", "limit=80m", cwd=tmp_path)
    box("apply", "end.plan", cwd=tmp_path)
    assert box.json("ps", "--stack", "saved") == []
