"""The quickstart as a new user meets it: apply, ask, change, look, destroy, and what its plans say."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, traces
from tests.waiting import wait_for

pytestmark = pytest.mark.root

FIRST_PLAN = """\
quickstart on embedded · generation 0 → 1

  + network.backend         create
  + volume.counts           create
  + secret.token            create
  + network.default         create
  + container.counter       create
  + container.web           create 2 replicas
  * image.counter           build 3 of 3 steps
  * image.web               build 3 of 3 steps

  container.web: http://127.0.0.1:{port} (this host only)

Plan: 2 to build, 6 to create.
"""
DESTROY_PLAN = """\
quickstart on embedded · generation {before} → {after}

  - container.counter       delete                         the stack is destroyed
  - container.web           delete                         the stack is destroyed
  - network.backend         delete                         the stack is destroyed
  - network.default         delete                         the stack is destroyed
  - secret.token            delete                         the stack is destroyed

  volume.counts is kept: `stackpy destroy --volumes` deletes it and its data
  2 images and the history are kept: --images removes them

Plan: 5 to delete.
"""


def ask(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        return str(answer.read().decode())


def hold_back(folder: Path) -> None:
    """Has the counter listen when it is let go, and its health check be patient."""
    counter, stack = folder / "counter.py", folder / "stack.py"
    gate = "import os, time\nwhile not os.path.exists('/var/lib/counter/go'): time.sleep(0.05)\n"
    counter.write_text(gate + counter.read_text())
    stack.write_text(stack.read_text().replace("tcp=7000, interval=1", "tcp=7000, interval=1, retries=60"))


def let_go(cli: Cli, here: Any) -> None:
    """Lets the counter listen that was held back."""
    cli("exec", "counter", "sh", "-c", "echo > /var/lib/counter/go", **here)


def same_lines(found: str, expected: str) -> None:
    """Rows of equal rank have no order that a user could rely on."""
    assert sorted(found.splitlines()) == sorted(expected.splitlines())


def test_the_whole_way(cli: Cli, example: Callable[[str], Path], free_port: int) -> None:
    folder = example("quickstart")
    here = {"cwd": folder, "environment": {"STACKPY_VAR_port": str(free_port)}}

    assert cli("plan", "--detailed-exitcode", code=2, **here).stdout == FIRST_PLAN.format(port=free_port)
    assert not cli.root.exists()  # planning touches nothing

    applied = cli("apply", "--yes", **here)
    assert applied.stdout == FIRST_PLAN.format(port=free_port) + f"url = http://localhost:{free_port}\n"
    assert re.search(r"^Done: 2 built, 6 created in \d+\.\d s\.$", applied.stderr, re.MULTILINE)
    kinds = {trace.partition(":")[0] for trace in traces(cli.root)}
    assert kinds == {"process", "mount", "link", "nft", "cgroup"}

    answers = [ask(free_port) for _ in range(8)]
    assert [answer.rpartition(" ")[2] for answer in answers] == [f"{n}\n" for n in range(1, 9)]
    assert len({answer.partition(",")[0] for answer in answers}) == 2  # both replicas answered

    rows = cli.json("ps")
    assert [(row["name"], row["resource"], row["replica"], row["health"]) for row in rows] == [
        ("quickstart-counter-1", "container.counter", 1, "healthy"),
        ("quickstart-web-1", "container.web", 1, "healthy"),
        ("quickstart-web-2", "container.web", 2, "healthy"),
    ]
    assert cli("plan", "--detailed-exitcode", **here).stdout == (
        "quickstart on embedded · generation 1 · nothing to change\n"
    )
    assert cli("output", "url", **here).stdout == f"http://localhost:{free_port}\n"
    assert cli.json("output", **here) == {"url": f"http://localhost:{free_port}"}
    assert [(row["name"], row["generation"], row["running"]) for row in cli.json("ls")] == [("quickstart", 1, 3)]
    assert cli("exec", "web.2", "sh", "-c", "echo $HOSTNAME", **here).stdout.strip() == rows[2]["id"][:12]
    assert (
        cli("run", "counter", "python3", "-c", "print(open('/var/lib/counter/visits').read())", **here).stdout == "8\n"
    )
    logged = cli("logs", "web", "--tail", "1", **here).stdout.splitlines()
    assert all(re.match(r'quickstart-web-[12] \| \S+ "GET / HTTP/1\.1" 200', line) for line in logged)
    assert len(logged) == 2

    change = json.loads(cli("plan", "--set", "greeting=Hi", "--format", "json", **here).stdout)
    assert [(c["address"], c["action"]) for c in change["changes"]] == [("container.web", "restart")]
    assert change["changes"][0]["reasons"][0]["path"] == "files./etc/web.toml"
    cli("apply", "--yes", "--set", "greeting=Hi", **here)
    assert ask(free_port).startswith("Hi from ")

    refused = cli("destroy", code=1, **here)
    assert refused.stderr == "error: there is no terminal to ask on, and nothing was changed\nhint: add `--yes`\n"
    destroyed = cli("destroy", "--yes", **here)
    same_lines(destroyed.stdout, DESTROY_PLAN.format(before=2, after=3))
    assert cli.json("ps") == cli.json("network", "ls") == []
    assert [row["name"] for row in cli.json("volume", "ls")] == ["quickstart_counts"]

    cli("apply", "--yes", "-q", **here)
    assert ask(free_port).endswith("visit 10\n")  # the volume has outlived the containers
    cli("destroy", "--stack", "quickstart", "--volumes", "--images", "--yes", "--allow-data-loss", "volume.*")
    assert cli.json("volume", "ls") == cli.json("image", "ls") == cli.json("ls") == []


def test_what_dies_is_seen_and_mended(cli: Cli, example: Callable[[str], Path], free_port: int) -> None:
    here = {"cwd": example("quickstart"), "environment": {"STACKPY_VAR_port": str(free_port)}}
    stack = here["cwd"] / "stack.py"
    stack.write_text(stack.read_text().replace('    restart="always",\n', ""))
    cli("apply", "--yes", **here)
    cli("kill", "web.1", **here)
    cli("wait", "web.1", **here)
    plan = cli("plan", **here).stdout
    assert re.search(r"^  ! container\.web +start 1 of 2 replicas +replica 1 exited with 137 ", plan, re.MULTILINE), (
        plan
    )
    cli("apply", "--yes", **here)
    assert [row["state"] for row in cli.json("ps")] == ["running"] * 3


def test_limits_change_in_place(cli: Cli, example: Callable[[str], Path], free_port: int) -> None:
    here = {"cwd": example("quickstart"), "environment": {"STACKPY_VAR_port": str(free_port)}}
    cli("apply", "--yes", **here)
    before = [row["id"] for row in cli.json("ps")]
    stack = here["cwd"] / "stack.py"
    stack.write_text(stack.read_text().replace('mem_limit="128m"', 'mem_limit="192m"'))
    plan = cli("plan", **here).stdout
    assert re.search(r"^  ~ container\.web +update in place$", plan, re.MULTILINE), plan
    assert re.search(r"^      mem_limit +128 MiB → 192 MiB$", plan, re.MULTILINE), plan
    cli("apply", "--yes", **here)
    assert [row["id"] for row in cli.json("ps")] == before
    [document] = json.loads(cli("inspect", "web.1", **here).stdout)
    assert document["HostConfig"]["Memory"] == 192 << 20


def test_an_interrupted_apply_says_where_things_stand_and_converges(
    cli: Cli, example: Callable[[str], Path], free_port: int
) -> None:
    here = {"cwd": example("quickstart"), "environment": {"STACKPY_VAR_port": str(free_port)}}
    hold_back(here["cwd"])
    process = cli.start("apply", "--yes", "--set", f"port={free_port}", cwd=here["cwd"])
    wait_for(lambda: any(row["resource"] == "container.counter" for row in cli.json("ps")), "the first container")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after the running actions" in errors
    assert re.search(r"^Interrupted: \d+ of 8 changes done\.$", errors, re.MULTILINE), errors
    assert "not begun: container.web" in errors
    let_go(cli, here)
    cli("apply", "--yes", **here)
    assert ask(free_port).endswith("visit 1\n")


def test_a_second_apply_waits_and_says_for_whom(cli: Cli, example: Callable[[str], Path], free_port: int) -> None:
    here = {"cwd": example("quickstart"), "environment": {"STACKPY_VAR_port": str(free_port)}}
    hold_back(here["cwd"])
    first = cli.start("apply", "--yes", "--set", f"port={free_port}", cwd=here["cwd"])
    wait_for(
        lambda: ("container.counter", "running") in [(row["resource"], row["state"]) for row in cli.json("ps")],
        "the first apply's container",
    )
    late = cli("apply", "--yes", "--lock-timeout", "0.1", code=1, **here)
    assert re.fullmatch(
        rf"waiting for `stackpy apply` \(pid {first.pid}, since [\d:]+\)\n"
        rf"error: stack `quickstart` is held by `stackpy apply` \(pid {first.pid}, since [\d:]+\)\n"
        r"hint: wait for it, or allow more time with --lock-timeout\n",
        late.stderr,
    ), late.stderr
    second = cli.start("apply", "--yes", "--set", f"port={free_port}", cwd=here["cwd"])
    assert second.stderr
    assert f"waiting for `stackpy apply` (pid {first.pid}" in second.stderr.readline()
    let_go(cli, here)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    said, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert "nothing to change" in said


def test_watch_applies_each_save_and_survives_mistakes(
    cli: Cli, example: Callable[[str], Path], free_port: int
) -> None:
    folder = example("quickstart")
    log = (folder.parent / "watch.log").open("w+")
    process = cli.start("watch", "--set", f"port={free_port}", cwd=folder, stdout=log, stderr=log)

    def written(text: str) -> bool:
        log.seek(0)
        return text in log.read()

    wait_for(lambda: written("waiting for changes"), "the first apply")
    assert ask(free_port).startswith("Hello ")
    stack = folder / "stack.py"
    whole = stack.read_text()
    stack.write_text(whole.replace("Container(", "Contaner(", 1))
    wait_for(lambda: written("did you mean"), "the mistake's message")
    assert ask(free_port).startswith("Hello ")  # everything runs on
    stack.write_text(whole.replace("Hello", "Ahoy"))
    wait_for(lambda: answered(free_port, "Ahoy "), "the new greeting")
    (folder / "web.py").write_text((folder / "web.py").read_text().replace(", visit", ", call"))
    wait_for(lambda: answered(free_port, ", call "), "the new code")
    assert written("web.py differs")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    log.close()
    assert len(cli.json("ps")) == 3  # the containers are left running


def answered(port: int, text: str) -> bool:
    try:
        return text in ask(port)
    except OSError:
        time.sleep(0.1)
        return False


def test_a_second_interrupt_stops_at_once_and_the_next_apply_converges(
    cli: Cli, example: Callable[[str], Path], free_port: int
) -> None:
    here = {"cwd": example("quickstart"), "environment": {"STACKPY_VAR_port": str(free_port)}}
    stack = here["cwd"] / "stack.py"
    stack.write_text(stack.read_text().replace('.copy("web.py"', '.run("while :; do :; done").copy("web.py"'))
    process = cli.start("apply", "--yes", "--set", f"port={free_port}", cwd=here["cwd"])
    assert process.stderr
    while "while :" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # the step that runs is not given up
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping at once" in errors
    stack.write_text(stack.read_text().replace('.run("while :; do :; done")', ""))
    cli("apply", "--yes", **here)
    assert ask(free_port).endswith("visit 1\n")


def test_run_takes_a_resource_s_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(
        "from stackpy import Image, Job, Secret, Stack, Volume\n"
        'Stack("jobs")\n'
        'image = Image.host("sh", "cat").env(FROM_IMAGE="1")\n'
        'data = Volume("data")\n'
        'word = Secret("word", command=["echo", "open sesame"])\n'
        'Job("count", image=image, environment={"A": "job"}, volumes={data: "/data"}, secrets=[word],\n'
        '    command=["sh", "-c", "echo x >> /data/runs; cat /data/runs /run/secrets/word; echo $A $B $FROM_IMAGE"])\n'
    )
    early = cli("run", "count", cwd=tmp_path, code=125)
    assert early.stderr.startswith("error: ")
    cli("apply", "--yes", cwd=tmp_path)
    assert cli("logs", "count", cwd=tmp_path).stdout == "x\nopen sesamejob 1\n"
    again = cli("run", "-e", "B=typed", "count", cwd=tmp_path)
    assert again.stdout == "x\nx\nopen sesamejob typed 1\n"
    assert cli("run", "count", "cat", "/data/runs", cwd=tmp_path).stdout == "x\nx\n"
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout  # what `run` has run is no part of the stack
    assert [row["name"] for row in cli.json("ps")] == ["jobs-count-1"]
