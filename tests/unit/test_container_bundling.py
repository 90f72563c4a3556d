"""The engine's sandbox as a bundle for an external runtime, and which containers can be handed over."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container import bundling, confinement, runtimes, seccomp
from stackpy_runtime.container.plan import SandboxPlan
from stackpy_runtime.container.users import Identity
from stackpy_runtime.errors import InvalidConfig, NotFound
from stackpy_runtime.linux import seccomp as filters
from stackpy_runtime.oci import bundle

PLAN: SandboxPlan = {
    "name": "x",
    "lowers": [],
    "writable": "",
    "hostname": "box",
    "network": "own",
    "read_only": True,
    "volatile": False,
    "mounts": [
        {
            "kind": "tmpfs",
            "source": "",
            "target": "/t",
            "read_only": False,
            "ids": "container",
            "options": {"mode": "1777", "size": "5"},
            "fill": False,
        }
    ],
    "files": [],
    "secrets": [],
    "etc": {},
    "cgroup_view": {},
    "masked": ["/proc/kcore"],
    "locked": ["/proc/sys"],
    "scratch": "",
    "process": {
        "argv": ["a", "b"],
        "environment": {"A": "1"},
        "working_dir": "/w",
        "user": "",
        "capabilities": ["CHOWN"],
        "tty": False,
        "filter": "",
        "ulimits": {"core": {"soft": -1, "hard": -1}},
        "score": 5,
    },
    "handed_to": {"program": "/usr/bin/crun", "root": "/r", "id": "x"},
}


def made(**changes: Any) -> dict[str, Any]:
    """The document of the plan with other values."""
    plan: Any = {**PLAN, **changes}
    binds = [("/run/b/0", "/t/deep/er", True), ("/run/b/1", "/etc/hosts", False)]
    return bundling.document(plan, Identity(7, 8, (9,), "/home"), 100_000, "/above/group", binds)


def test_what_the_engine_knows_is_in_the_document() -> None:
    document = made()
    process, linux = document["process"], document["linux"]
    assert process["user"] == {"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o022}
    assert process["env"] == ["HOME=/home", "A=1"]
    # An ordinary user holds none, as in the engine's own sandbox.
    assert process["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}
    assert process["rlimits"][0] == {"type": "RLIMIT_CORE", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1}
    assert process["oomScoreAdj"] == 5
    assert process["noNewPrivileges"]
    assert document["root"] == {"path": "rootfs", "readonly": True}
    assert linux["cgroupsPath"] == "/above/group"
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 100_000, "size": 65536}]
    assert {each["type"] for each in linux["namespaces"]} == {"pid", "ipc", "uts", "mount", "user", "cgroup", "network"}
    targets = [mount["destination"] for mount in document["mounts"]]
    assert targets.index("/proc") < targets.index("/t") < targets.index("/t/deep/er")
    assert {"rbind", "ro"} <= set(next(m for m in document["mounts"] if m["destination"] == "/t/deep/er")["options"])


def test_the_host_s_network_brings_its_sysfs() -> None:
    document = made(network="host")
    assert not any(each["type"] == "network" for each in document["linux"]["namespaces"])
    assert next(m for m in document["mounts"] if m["destination"] == "/sys")["source"] == "/sys"


def test_the_filter_is_the_engine_s() -> None:
    rules = seccomp.rules(confinement.capabilities({"name": "x", "image": "y"}))
    document = bundling.filter_document(filters.act_errno(errno.ENOSYS), rules, None)
    assert (document["defaultAction"], document["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)
    assert document["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert sum(len(row["names"]) for row in document["syscalls"]) == len(rules)
    mount = next(row for row in document["syscalls"] if "mount" in row["names"])
    assert (mount["action"], mount["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.EPERM)


def test_our_own_runtime_takes_the_document(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    rules = seccomp.rules(frozenset({"CHOWN"}))
    seccomp_ = bundling.filter_document(filters.act_errno(errno.ENOSYS), rules, None)
    document = made(handed_to={"program": "/p", "root": "/r", "id": "x", "seccomp": seccomp_}, domainname="d")
    plan = bundle.plan(document, str(tmp_path), "x", warn=pytest.fail)
    assert plan["filter"] is not None
    assert plan["domainname"] == "d"


def test_which_runtimes_there_are(tmp_path: Path) -> None:
    program = tmp_path / "runtime"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(NotFound, match="is not on this host"):
        runtimes.resolve(str(program))
    program.chmod(0o755)
    assert runtimes.resolve(str(program)) == str(program)
    with pytest.raises(NotFound, match="runtime `nothere` is not on this host"):
        runtimes.check({"runtime": "nothere"})
    with pytest.raises(InvalidConfig, match="neither a name nor an absolute path"):
        runtimes.resolve("a/b")
    runtimes.check({"runtime": "stackpy", "privileged": True})
    for changes in ({"privileged": True}, {"init": True}, {"pid": "host"}, {"devices": ["/dev/fuse"]}):
        with pytest.raises(InvalidConfig):
            runtimes.check({"runtime": str(program), **changes})
