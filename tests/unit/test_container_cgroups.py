"""Control groups: what is read of a host, and what is written for a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy_runtime.container.cgroups import Group, Layout, parse_mountinfo, shown
from stackpy_runtime.errors import Unsupported

V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 20 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory\n"
)
V1_MOUNTS = {
    "cpu": "/sys/fs/cgroup/cpu,cpuacct",
    "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
    "memory": "/sys/fs/cgroup/memory",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (V2, Layout(2, {"": "/sys/fs/cgroup"})),
        (V1, Layout(1, V1_MOUNTS)),
        (
            V1 + "40 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            Layout(1, V1_MOUNTS),
        ),
        ("", Layout(2, {})),
    ],
)
def test_layouts(text: str, expected: Layout) -> None:
    assert parse_mountinfo(text) == expected


def test_a_container_sees_a_folder_for_each_hierarchy_of_version_1() -> None:
    group = Group("stackpy-test", "g", parse_mountinfo(V1))
    assert shown(group.paths()) == {
        "memory": "/sys/fs/cgroup/memory/stackpy-test/g",
        "cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct/stackpy-test/g",
    }
    assert group.entrances() == [f"{folder}/cgroup.procs" for folder in shown(group.paths()).values()]


def test_a_limit_whose_controller_is_missing_is_an_error_and_missing_swap_accounting_is_not(tmp_path: Path) -> None:
    group = Group("stackpy-test", "g", Layout(2, {"": str(tmp_path)}))
    folder = tmp_path / group.name
    folder.mkdir(parents=True)
    (folder / "memory.max").touch()
    group.limit({"mem_limit": 1 << 20})
    assert (folder / "memory.max").read_text() == "1048576"
    with pytest.raises(Unsupported, match="cannot limit cpu"):
        group.limit({"cpus": 1.0})
    with pytest.raises(Unsupported, match="does not count swap"):
        group.limit({"mem_limit": 1 << 20, "memswap_limit": 1 << 21})


def test_version_1_has_processors_and_memory_of_the_group_above(tmp_path: Path) -> None:
    own = tmp_path / "stackpy-test/g"
    own.mkdir(parents=True)
    for folder in (tmp_path, own.parent, own):
        for name in ("cpuset.cpus", "cpuset.mems", "cgroup.clone_children"):
            (folder / name).touch()
    (tmp_path / "cpuset.cpus").write_text("0-3\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    group = Group("stackpy-test", "g", Layout(1, {"cpuset": str(tmp_path)}))
    group.create()
    assert ((own / "cpuset.cpus").read_text(), (own / "cpuset.mems").read_text()) == ("0-3", "0")
    assert (own.parent / "cgroup.clone_children").read_text() == "1"
    (own / "cpuset.cpus").write_text("\n")  # as if no limit had been set; a plain file keeps what is longer
    group.limit({"cpuset": "1"})
    assert (own / "cpuset.cpus").read_text().startswith("1")
    group.limit({}, {"cpuset": "1"})
    assert (own / "cpuset.cpus").read_text().startswith("0-3")


def test_memory_that_cannot_be_given_back(tmp_path: Path) -> None:
    two = Group("stackpy-test", "g", Layout(2, {"": str(tmp_path)}))
    folder = tmp_path / two.name
    folder.mkdir(parents=True)
    assert two.anonymous_memory() == 0
    (folder / "memory.stat").write_text("anon 4096\nfile 8192\ntotal_rss 5000\n")
    assert two.anonymous_memory() == 4096
    one = Group("stackpy-test", "g", Layout(1, {"memory": str(tmp_path)}))
    assert one.anonymous_memory() == 5000
