"""config.json → what creating a container does: the refusals, each naming its field, and the decisions."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux import mounts, namespaces
from stackpy_runtime.oci import bundle, describing, devices, mount_options, resources
from stackpy_runtime.oci.executing import process_document
from stackpy_runtime.oci.fields import Fields
from stackpy_runtime.oci.plan import BundlePlan

Document = dict[str, Any]


def planned(folder: Path, document: Document, warnings: list[str] | None = None) -> BundlePlan:
    """The plan of a document."""
    (folder / "rootfs").mkdir(exist_ok=True)
    told = [] if warnings is None else warnings
    return bundle.plan(document, str(folder), "name", warn=told.append)


def changed(path: str, value: Any) -> Document:
    """The template with another value at a path; numbers are indexes."""
    document: Any = copy.deepcopy(describing.template())
    *above, last = path.split(".")
    here = document
    for part in above:
        here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
    if isinstance(here, list):
        here[int(last)] = value
    else:
        here[last] = value
    result: Document = document
    return result


REFUSED = [
    ("ociVersion", "2.0.0", "ociVersion: 2.0.0 is not supported"),
    ("ociVersion", "one", "ociVersion: `one` is not a version"),
    ("ociVersion", None, "ociVersion is missing"),
    ("root", None, "root.path is missing"),
    ("root.path", "nowhere", "root.path: `/"),
    ("root.readonly", "yes", "root.readonly is not true or false"),
    ("process.args", [], "process.args is empty"),
    ("process.args", ["a", 1], "process.args[1] is not a string"),
    ("process.args", ["a\0b"], "process.args[0] holds a NUL"),
    ("process.cwd", "relative", "process.cwd: `relative` is not absolute"),
    ("process.cwd", "", "process.cwd is missing"),
    ("process.user.uid", -1, "process.user.uid: -1"),
    ("process.user.uid", 1 << 32, "process.user.uid: 4294967296"),
    ("process.user.username", "me", "process.user.username: is for Windows"),
    ("process.user.additionalGids", ["x"], "process.user.additionalGids[0] is not a number"),
    ("process.oomScoreAdj", 1001, "process.oomScoreAdj: 1001 is not between -1000 and 1000"),
    ("process.rlimits", [{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "process.rlimits[0].type: `RLIMIT_X`"),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}], "process.rlimits[0]: the soft limit 2"),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2, "RLIMIT_CORE is given twice"),
    ("process.apparmorProfile", "strict", "process.apparmorProfile: AppArmor is not enabled"),
    ("process.selinuxLabel", "a:b:c", "process.selinuxLabel: SELinux is not enabled"),
    ("process.scheduler", {"policy": "SCHED_MINE"}, "process.scheduler.policy: `SCHED_MINE`"),
    ("process.scheduler", {"policy": "SCHED_OTHER", "priority": 3}, "process.scheduler.priority: only"),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 9}, "process.ioPriority.priority: 9"),
    ("process.capabilities", {"effective": ["CAP_KILL"]}, "process.capabilities.effective: CAP_KILL"),
    ("hostname", "x" * 65, "hostname is longer than 64 bytes"),
    ("windows", {"layerFolders": []}, "windows: is for another platform"),
    ("vm", {"kernel": {}}, "vm: is for another platform"),
    ("linux.namespaces", [{"type": "pid"}], "linux.namespaces: one of type mount is needed"),
    ("linux.namespaces", [{"type": "mount", "path": "/x"}], "linux.namespaces[0].path: a mount namespace"),
    ("linux.namespaces", [{"type": "mount"}] * 2, "linux.namespaces[1].type: a second"),
    ("linux.namespaces", [{"type": "what"}], "linux.namespaces[0].type: `what` is not supported"),
    ("linux.namespaces", [{"type": "mount"}, {"type": "pid", "path": "x"}], "linux.namespaces[1].path: `x`"),
    ("linux.uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}], "need a new user namespace"),
    ("linux.timeOffsets", {"boottime": {"secs": 1}}, "linux.timeOffsets needs a new namespace of type time"),
    ("linux.timeOffsets", {"tai": {"secs": 1}}, "linux.timeOffsets.tai"),
    ("linux.cgroupsPath", "/", "linux.cgroupsPath: `/` is not a group of the container's own"),
    ("linux.cgroupsPath", "/a/../..", "linux.cgroupsPath"),
    ("linux.cgroupsPath", "user.slice:pre:name", "is for a systemd"),
    ("linux.sysctl", {"kernel.panic": "1"}, "linux.sysctl.kernel.panic is a setting of the whole host"),
    ("linux.sysctl", {"net.core/../../kernel.panic": "1"}, "is not the name of a kernel setting"),
    ("linux.sysctl", {"kernel.hostname": "x"}, "linux.sysctl.kernel.hostname"),
    ("linux.devices", [{"path": "dev/x", "type": "c"}], "linux.devices[0].path"),
    ("linux.devices", [{"path": "/dev/x", "type": "z"}], "linux.devices[0].type: `z`"),
    ("linux.devices", [{"path": "/dev/x", "type": "c"}], "linux.devices[0].major is missing"),
    ("linux.devices", [{"path": "/dev/../x", "type": "p"}], "linux.devices[0].path"),
    ("linux.intelRdt", {"closID": "x"}, "linux.intelRdt: cache and bandwidth"),
    ("linux.netDevices", {"eth0": {}}, "linux.netDevices"),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND"}, "linux.memoryPolicy"),
    ("linux.personality", {"domain": "SOLARIS"}, "linux.personality.domain: `SOLARIS`"),
    ("linux.personality", {"domain": "LINUX", "flags": ["X"]}, "linux.personality.flags"),
    ("linux.rootfsPropagation", "sideways", "linux.rootfsPropagation: `sideways`"),
    ("linux.mountLabel", "x", "linux.mountLabel: SELinux"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_MAYBE"}, "linux.seccomp.defaultAction: `SCMP_ACT_MAYBE`"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY"),
    (
        "linux.seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]},
        "linux.seccomp.listenerPath is needed",
    ),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}, "linux.seccomp.flags: `X`"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}, "linux.seccomp.architectures"),
    ("hooks.prestart", [{"path": "hook"}], "hooks.prestart[0].path: `hook` is not absolute"),
    ("hooks.poststop", [{"path": "/hook", "timeout": 0}], "hooks.poststop[0].timeout"),
    ("mounts.0", {"type": "tmpfs"}, "mounts[0].destination is missing"),
    ("mounts.0", {"destination": "/x"}, "mounts[0].type is missing"),
    ("mounts.0", {"destination": "/x", "options": ["bind"]}, "mounts[0].source is missing"),
    ("mounts.0", {"destination": "/x", "source": "/", "options": ["bind", "size=1"]}, "mounts[0].options: `size`"),
    ("mounts.0", {"destination": "/x", "type": "tmpfs", "options": ["idmap"]}, "only a bind can be idmapped"),
    ("mounts.0", {"destination": "/x", "source": "/", "options": ["bind", "idmap"]}, "idmap needs uidMappings"),
    ("mounts.0", {"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}, "tmpcopyup is for a tmpfs"),
    ("mounts.0", {"destination": "/x", "type": "tmpfs", "options": ["ro=1"]}, "`ro` takes no value"),
    ("annotations", {"a": 1}, "annotations.a is not a string"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSED)])
def test_what_is_refused_names_its_field(tmp_path: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        planned(tmp_path, changed(path, value))
    assert message in str(caught.value)


def test_the_template_is_a_bundle(tmp_path: Path) -> None:
    plan = planned(tmp_path, describing.template())
    assert plan["rootfs"] == str(tmp_path / "rootfs")
    assert plan["read_only"]
    new = plan["spaces"]["new"]
    assert new & namespaces.CLONE_NEWNS
    assert not new & namespaces.CLONE_NEWUSER
    assert plan["cgroups_path"] == "/stackpy-oci/name"
    assert [mount["kind"] for mount in plan["mounts"]] == ["inside"] * 6 + ["cgroup"]


def test_null_is_absent_and_unknown_keys_are_left_alone(tmp_path: Path) -> None:
    document = changed("linux.resources", None)
    document["hooks"] = None
    document["x-mine"] = {"any": "thing"}
    document["process"]["rlimits"] = None
    planned(tmp_path, document)


def test_capabilities_that_cannot_be_given_are_warnings(tmp_path: Path) -> None:
    warnings: list[str] = []
    names = ["CAP_KILL", "CAP_OF_TOMORROW"]
    document = changed("process.capabilities", {"bounding": names, "permitted": names, "effective": names})
    plan = planned(tmp_path, document, warnings)
    assert plan["program"]
    assert plan["program"]["plan"]["sets"]["effective"] == ["KILL"]
    assert any("CAP_OF_TOMORROW" in text for text in warnings)


@pytest.mark.parametrize(
    ("options", "top", "whole", "own"),
    [
        (["ro", "nosuid"], (3, 0), (0, 0), {}),
        (["ro", "rw"], (0, 1), (0, 0), {}),
        (["noatime", "relatime"], (0, 0x70), (0, 0), {}),
        (["noatime"], (0x10, 0x70), (0, 0), {}),
        (["rro", "rnoexec"], (0, 0), (9, 0), {}),
        (["defaults", "async", "silent"], (0, 0), (0, 0), {}),
        (["size=5", "noswap", "sync"], (0, 0), (0, 0), {"size": "5", "noswap": None, "sync": None}),
    ],
)
def test_mount_options(
    options: list[str], top: tuple[int, int], whole: tuple[int, int], own: dict[str, str | None]
) -> None:
    found = mount_options.read(options, "mounts[0]")
    assert (found.top["set"], found.top["clear"]) == top
    assert (found.whole["set"], found.whole["clear"]) == whole
    assert found.own == own


def test_propagation_options() -> None:
    found = mount_options.read(["rbind", "rslave", "shared"], "mounts[0]")
    assert found.propagation == [(mounts.MS_SLAVE, True), (mounts.MS_SHARED, False)]
    assert found.bind
    assert found.recursive


def test_every_option_that_must_be_known_is() -> None:
    must = (
        "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec "
        "noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared "
        "rslave runbindable rw shared silent slave strictatime suid sync unbindable"
    ).split()
    assert set(must) <= set(mount_options.names())


def files(document: dict[str, Any], version: int) -> list[tuple[str, str]]:
    """The files that resources come to."""
    found = resources.writes(Fields(document, "linux.resources"), version)
    return [(each.name, each.value) for each in found]


RESOURCES = [
    (
        {"memory": {"limit": 100, "swap": 300, "reservation": 50}},
        [
            ("memory.limit_in_bytes", "100"),
            ("memory.memsw.limit_in_bytes", "300"),
            ("memory.soft_limit_in_bytes", "50"),
        ],
        [("memory.max", "100"), ("memory.swap.max", "200"), ("memory.low", "50")],
    ),
    (
        {"memory": {"limit": -1}},
        [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
        [("memory.max", "max"), ("memory.swap.max", "max")],
    ),
    ({"pids": {"limit": -1}}, [("pids.max", "max")], [("pids.max", "max")]),
    ({"pids": {"limit": 0}}, [], []),
    (
        {"cpu": {"shares": 1024, "quota": 50000, "period": 100000}},
        [("cpu.shares", "1024"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")],
        [("cpu.weight", "39"), ("cpu.max", "50000 100000")],
    ),
    ({"cpu": {"quota": -1}}, [("cpu.cfs_quota_us", "-1")], [("cpu.max", "max 100000")]),
    ({"cpu": {"cpus": "0-1", "idle": 1}}, [("cpu.idle", "1"), ("cpuset.cpus", "0-1")],
     [("cpu.idle", "1"), ("cpuset.cpus", "0-1")]),
    (
        {"blockIO": {"weight": 1000, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}]}},
        [("blkio.weight", "1000"), ("blkio.throttle.read_bps_device", "8:0 7")],
        [("io.weight", "default 10000"), ("io.max", "8:0 rbps=7")],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
        [("hugetlb.2MB.limit_in_bytes", "9"), ("hugetlb.2MB.rsvd.limit_in_bytes", "9")],
        [("hugetlb.2MB.max", "9"), ("hugetlb.2MB.rsvd.max", "9")],
    ),
    ({"rdma": {"mlx": {"hcaHandles": 3}}}, [("rdma.max", "mlx hca_handle=3")], [("rdma.max", "mlx hca_handle=3")]),
]  # fmt: skip


@pytest.mark.parametrize(("document", "old", "new"), RESOURCES)
def test_resources(document: dict[str, Any], old: list[tuple[str, str]], new: list[tuple[str, str]]) -> None:
    assert files(document, 1) == old
    assert files(document, 2) == new


@pytest.mark.parametrize(
    ("document", "version", "message"),
    [
        ({"memory": {"limit": 100, "swap": 50}}, 1, "linux.resources.memory.swap: 50 is less"),
        ({"memory": {"swappiness": 10}}, 2, "linux.resources.memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, 2, "linux.resources.memory.disableOOMKiller"),
        ({"memory": {"limit": "1g"}}, 1, "linux.resources.memory.limit is not a whole number"),
        ({"cpu": {"realtimeRuntime": 5}}, 2, "linux.resources.cpu.realtimeRuntime"),
        ({"cpu": {"cpus": "0-2147483647"}}, 1, "linux.resources.cpu.cpus: `0-2147483647`"),
        ({"network": {"classID": 1}}, 2, "linux.resources.network.classID"),
        ({"unified": {"memory.high": "1"}}, 1, "linux.resources.unified: this host's"),
        ({"unified": {"cgroup.procs": "1"}}, 2, "linux.resources.unified.cgroup.procs"),
        ({"unified": {"../memory.max": "1"}}, 2, "linux.resources.unified.../memory.max"),
        ({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, 1, "linux.resources.hugepageLimits[0].pageSize"),
    ],
)
def test_resources_that_are_refused(document: dict[str, Any], version: int, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        files(document, version)
    assert message in str(caught.value)


def test_device_rules() -> None:
    def written(*rows: dict[str, Any]) -> list[tuple[str, str]]:
        return devices.writes(devices.rules(Fields({"devices": list(rows)}, "r")))

    assert written({"allow": True, "access": "rwm"}) == [("devices.allow", "a")]
    denied = written({"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "r"})
    assert denied[:2] == [("devices.deny", "a"), ("devices.allow", "c 1:* r")]
    assert ("devices.allow", "c 5:0 rwm") in denied


def test_a_document_that_is_too_deep_is_no_crash() -> None:
    with pytest.raises(EngineError, match="is not JSON"):
        bundle.parse(b"[" * 1_000_000, "config.json")
    assert json.dumps(bundle.parse(b"{}", "config.json")) == "{}"


def test_capabilities_of_exec_are_ambient_where_the_container_inherits_them() -> None:
    sets = {"inheritable": ["CAP_SYSLOG"], "ambient": [], "bounding": ["CAP_SYSLOG"], "permitted": []}
    given = ["CAP_SYSLOG", "CAP_CHOWN"]
    found = process_document({"process": {"capabilities": sets}}, ["true"], capabilities=given)["capabilities"]
    assert found["permitted"] == found["effective"] == given
    assert found["ambient"] == found["inheritable"] == ["CAP_SYSLOG"]
    none = process_document({}, ["true"], capabilities=given)["capabilities"]
    assert not none.get("ambient")
    assert "inheritable" not in none
