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


FRONT = """
from stackpy import Container, Output, Stack, StackRef, Volume
from stackpy.policies import no_deleted_data, no_public_ports

Stack("front", policies=[no_deleted_data, no_public_ports])
back = StackRef("back")
Container("web", image="box", command=["sleep", "1000"], stop_grace_period=0, volumes={Volume("data"): "/data"},
          environment={"URL": back.output("url")})
"""
BACK = """
from stackpy import Container, Output, Stack

Stack("back")
web = Container("web", image="box", command=["python3", "-m", "http.server", "80"], ports=["80"], stop_grace_period=0)
Output("url", f"http://127.0.0.1:{web.port(80)}/")
Output("ip", web.ip())
"""


def test_stacks_read_each_other_s_outputs_and_policies_stand_in_the_way(box: Cli, tmp_path: Path) -> None:
    for name, text in {"back": BACK, "front": FRONT}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "stack.py").write_text(text)
    back, front = tmp_path / "back", tmp_path / "front"
    assert "stack `back` has not been applied on this engine" in box("plan", cwd=front, code=1).stderr

    box("apply", "--yes", cwd=back)
    url = box("output", "url", cwd=back).stdout.strip()
    [port] = box.json("inspect", "back-web-1")[0]["NetworkSettings"]["Ports"]["80/tcp"]
    assert url == f"http://127.0.0.1:{port['HostPort']}/"
    web_ip = box("output", "ip", cwd=back).stdout.strip()
    shell = box("output", "--format", "shell", "--stack", "back").stdout.splitlines()
    assert f"export URL='{url}'" in shell
    assert "reads output `url` of stack back, as of its generation 1" in box("plan", cwd=front).stdout
    (back / "stack.py").write_text(BACK.replace('Output("ip"', 'Output("name"'))
    differs = box("plan", "--detailed-exitcode", cwd=back, code=2).stdout
    assert ": output.name             added" in differs
    assert differs.endswith("Plan: 2 outputs to change.\n")
    assert f"name = {web_ip}\n" in box("apply", cwd=back).stdout  # of what no container notices nobody is asked
    assert box.json("output", cwd=back) == {"url": url, "name": web_ip}
    assert "nothing to change" in box("plan", "--detailed-exitcode", cwd=back).stdout
    box("apply", "--yes", cwd=front)
    assert f"URL={url}" in box.json("inspect", "front-web-1")[0]["Config"]["Env"]

    (front / "stack.py").write_text(
        FRONT.replace("Container(", 'Container("open", image="box", ports=["0.0.0.0:80"])\nContainer(')
    )
    denied = box("apply", "--yes", cwd=front, code=1)
    assert "deny  no-public-ports  container.open: publishes port (any) on 0.0.0.0 (stack.py:7)" in denied.stdout
    assert "denied by `no-public-ports`: 1 finding, and nothing was changed" in denied.stderr
    assert box("plan", cwd=front, code=1).stdout == denied.stdout
    (front / "stack.py").write_text(FRONT)
    assert "denied by `no-deleted-data`" in box("destroy", "--volumes", "--yes", cwd=front, code=1).stderr

    box("stop", "-t", "0", "front-web-1")
    why = box("why", "web", cwd=front).stdout
    assert "an apply would have it started: it exited with 137" in why
    assert "stack.py:7" in why
    assert "is published by back-web-1 (container.web of stack back)" in box("why", "port", port["HostPort"]).stdout
    image = box.json("inspect", "front-web-1")[0]["Image"]
    assert "(box:latest) needs it; made of it: back-web-1, front-web-1" in box("why", "blob", image).stdout
