"""Control groups: what is read of a host, and what is written for a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy_runtime.container.cgroups import Group, Layout, Limits, parse_mountinfo, settings
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


def test_settings_of_version_2() -> None:
    assert settings(2, Limits(64 << 20, 0.5, 20)) == {
        "": [
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "20"),
        ]
    }
    assert settings(2, Limits()) == {
        "": [("memory.max", "max"), ("memory.swap.max", "max"), ("cpu.max", "max 100000"), ("pids.max", "max")]
    }


def test_settings_of_version_1_lift_the_limit_with_swap_first() -> None:
    assert settings(1, Limits(64 << 20, 1.5, 0)) == {
        "memory": [
            ("memory.memsw.limit_in_bytes", "-1"),
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "67108864"),
        ],
        "cpu": [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")],
        "pids": [("pids.max", "max")],
    }


def test_a_limit_whose_controller_is_missing_is_an_error_and_missing_swap_accounting_is_not(tmp_path: Path) -> None:
    group = Group("stackpy-test", "g", Layout(2, {"": str(tmp_path)}))
    folder = tmp_path / group.name
    folder.mkdir(parents=True)
    (folder / "memory.max").touch()
    group.limit(Limits(memory=1 << 20), fresh=True)
    assert (folder / "memory.max").read_text() == "1048576"
    with pytest.raises(Unsupported, match="cannot limit cpu"):
        group.limit(Limits(cpus=1.0), fresh=True)
