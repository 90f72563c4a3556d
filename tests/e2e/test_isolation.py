"""A stack whose containers share namespaces, have devices and rights: applied, planned again, changed, taken down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stackpy_runtime.container import security
from tests.conftest import Cli

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, Stack
Stack("apart")
app = Image.host("sh", "sleep", "cat", "readlink", "python3")
common = dict(image=app, command=["sleep", "1000"], stop_signal="KILL")
db = Container("db", ipc="shareable", replicas=2, **common)
Container("side", network_mode=db, ipc="service:db", pid="service:db", replicas=2, **common)
Container("watcher", privileged=True, pid="host", devices=["/dev/full:/dev/mine"], **common)
Container("strict", security_opt=["seccomp=profile.json", "no-new-privileges:false", "label=disable"],
          devices=[{"source": "/dev/zero", "target": "/dev/z", "permissions": "r"}], userns="auto", uts="host",
          cgroup="host", **common)
Container("maker", device_cgroup_rules=["c 1:7 rwm"], cap_add=["SYS_ADMIN"], ipc="none", learn=True, **common)
"""
PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}


def _space(cli: Cli, container: str, kind: str) -> str:
    return cli("exec", container, "readlink", f"/proc/self/ns/{kind}").stdout


def test_a_stack_that_says_how_its_containers_are_kept_apart(cli: Cli, tmp_path: Path) -> None:
    stack = tmp_path / "stack.py"
    stack.write_text(STACK)
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(PROFILE, indent=1))
    plan = cli("plan", cwd=tmp_path).stdout
    assert 'container.watcher: privileged implies userns="host": root inside is root of the host' in plan
    assert 'container.maker: device_cgroup_rules implies userns="host"' in plan
    assert "container.strict: no-new-privileges=false" in plan
    assert "container.maker: learn:" in plan
    cli("apply", "--yes", cwd=tmp_path)
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout
    for replica in (1, 2):
        for kind in ("user", "net", "ipc", "pid"):
            assert _space(cli, f"apart-db-{replica}", kind) == _space(cli, f"apart-side-{replica}", kind), kind
    assert _space(cli, "apart-db-1", "net") != _space(cli, "apart-db-2", "net")
    assert cli("exec", "apart-watcher-1", "cat", "/proc/1/comm").stdout == Path("/proc/1/comm").read_text()

    # Formatting is no change of a profile; what it says is.
    profile.write_text(json.dumps(PROFILE))
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout
    PROFILE["syscalls"][0]["names"].append("rmdir")  # type: ignore[index]
    profile.write_text(json.dumps(PROFILE))
    changed = cli.json("plan", cwd=tmp_path)["changes"]
    assert [(change["address"], change["action"]) for change in changed] == [("container.strict", "restart")]
    assert [reason["path"] for reason in changed[0]["reasons"]] == ["security_opt.seccomp"]

    identity = cli.json("inspect", "apart-strict-1")[0]["Id"]
    cli("apply", "--yes", cwd=tmp_path)
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout
    assert cli.json("inspect", "apart-strict-1")[0]["Id"] == identity
    refused = cli("exec", "apart-strict-1", "python3", "-c", "import os; os.mkdir('/d')", code=1).stderr
    assert "Operation not permitted" in refused

    # Who is in the namespaces of another begins anew with it.
    stack.write_text(
        STACK.replace(
            'replicas=2, **common)\nContainer("side"', 'labels={"a": "b"}, replicas=2, **common)\nContainer("side"', 1
        )
    )
    assert not [change for change in cli.json("plan", cwd=tmp_path)["changes"] if change["address"] == "container.side"]
    stack.write_text(STACK.replace('ipc="shareable"', 'ipc="shareable", hostname="one"', 1))
    actions = {change["address"]: change["action"] for change in cli.json("plan", cwd=tmp_path)["changes"]}
    assert (actions["container.db"], actions["container.side"]) == ("replace", "restart")
    cli("apply", "--yes", cwd=tmp_path)
    assert "nothing to change" in cli("plan", cwd=tmp_path).stdout
    assert cli("exec", "apart-side-1", "cat", "/etc/hostname").stdout == "one\n"
    cli("kill", "apart-db-1")
    cli("wait", "apart-db-1", code=None)
    actions = {change["address"]: change["action"] for change in cli.json("plan", cwd=tmp_path)["changes"]}
    assert actions == {"container.db": "start", "container.side": "restart"}
    cli("apply", "--yes", cwd=tmp_path)
    assert _space(cli, "apart-db-1", "net") == _space(cli, "apart-side-1", "net")
    cli("destroy", "--yes", cwd=tmp_path)


def test_what_this_host_cannot_give_is_said_by_the_plan(cli: Cli, tmp_path: Path) -> None:
    fields = {
        'devices=["/dev/no-such-device"]': "/dev/no-such-device: no such file",
        'userns="host", cap_add=["ALL"], device_cgroup_rules=["c 1:3 rwmx"]': "must be a rule",
    }
    if not security.has_apparmor():
        fields['security_opt=["apparmor=no-such-profile"]'] = "AppArmor"
    if not security.has_selinux():
        fields['security_opt=["label=type:no_such_t"]'] = "SELinux"
    for field, words in fields.items():
        (tmp_path / "stack.py").write_text(
            f'from stackpy import Container, Image\nContainer("web", image=Image.scratch(), command=["/x"], {field})\n'
        )
        refused = cli("plan", cwd=tmp_path, code=1).stderr
        assert words in refused and "stack.py:2" in refused, refused
