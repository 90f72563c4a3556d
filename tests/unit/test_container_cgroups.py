"""Control groups: what is read of a host, and what is written for a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy_runtime.container.cgroups import Group, Layout, parse_mountinfo
from stackpy_runtime.errors import Unsupported

V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 20 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (V2, Layout(2, {"": "/sys/fs/cgroup"})),
        (V1, Layout(1, {"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"})),
        (
            V1 + "40 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            Layout(1, {"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"}),
        ),
        ("", Layout(2, {})),
    ],
)
def test_layouts(text: str, expected: Layout) -> None:
    assert parse_mountinfo(text) == expected


def test_the_hierarchies_that_few_containers_are_in_stand_apart() -> None:
    text = V1 + "35 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    assert parse_mountinfo(text).rare == {"cpuset": "/sys/fs/cgroup/cpuset"}
    assert "cpuset" not in parse_mountinfo(text).mounts


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


def test_version_1_joins_a_further_hierarchy_with_the_first_limit_of_it(tmp_path: Path) -> None:
    """And takes all processes along; processors and memory come from the group above."""
    for name in ("memory", "cpuset"):
        (tmp_path / name / "stackpy-test/g").mkdir(parents=True)
    group = Group("stackpy-test", "g", Layout(1, {"memory": f"{tmp_path}/memory"}, {"cpuset": f"{tmp_path}/cpuset"}))
    (tmp_path / "memory/stackpy-test/g/cgroup.procs").write_text("7\n8\n")
    (tmp_path / "cpuset/stackpy-test/g/cgroup.procs").touch()
    (tmp_path / "cpuset/cpuset.cpus").write_text("0-3\n")
    (tmp_path / "cpuset/cpuset.mems").write_text("0\n")
    for folder in ("cpuset/stackpy-test", "cpuset/stackpy-test/g"):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (tmp_path / folder / name).touch()
    assert group.paths() == {"memory": f"{tmp_path}/memory/{group.name}"}
    group.limit({"cpuset": "1"})
    own = tmp_path / "cpuset/stackpy-test/g"
    assert (own / "cpuset.mems").read_text() == "0"
    assert (own / "cpuset.cpus").read_text().startswith("1")
    assert (own / "cgroup.procs").read_text() == "8"  # a plain file keeps the last
    assert set(group.paths()) == {"memory", "cpuset"}
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
