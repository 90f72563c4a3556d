"""The device filter of version 2 of control groups, on a group of the host's own cgroup2 hierarchy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpy_runtime.container.device_rules import DEFAULT, EVERYTHING
from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux.bpf import DeviceRule, filter_devices

pytestmark = pytest.mark.root

TRIED = [
    ("/dev/null", os.O_RDWR), ("/dev/null", os.O_RDONLY), ("/dev/full", os.O_RDONLY),
    ("/dev/loop-control", os.O_RDONLY),
]  # fmt: skip


@pytest.fixture(name="group")
def group_fixture(tmp_path: Path) -> Iterator[Path]:
    """A group on a mount of its own: hosts of version 1 have the hierarchy too, with no controllers."""
    mount = tmp_path / "cgroup2"
    mount.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", mount], check=True)
    folder = mount / f"stackpy-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()
    subprocess.run(["umount", mount], check=True)


def _opened(group: Path) -> list[str]:
    """What a process in the group can open of TRIED, each with its errno where it cannot."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            (group / "cgroup.procs").write_text("0")
            found = []
            for path, flags in TRIED:
                try:
                    os.close(os.open(path, flags))
                    found.append("yes")
                except OSError as error:
                    found.append(str(error.errno))
            os.write(writing, " ".join(found).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text.split()


def test_what_the_rules_say_holds_and_the_last_rules_are_all_that_do(group: Path) -> None:
    assert _opened(group) == ["yes", "yes", "yes", "yes"]
    for rules, expected in (
        ([], ["1", "1", "1", "1"]),
        (DEFAULT, ["yes", "yes", "yes", "1"]),
        ([DeviceRule("c", 1, 3, "r")], ["1", "yes", "1", "1"]),
        ([DeviceRule("c", 1, None, "rw")], ["yes", "yes", "yes", "1"]),
        ([*DEFAULT, DeviceRule("c", 10, 237, "r")], ["yes", "yes", "yes", "yes"]),
        ([*EVERYTHING, DeviceRule("c", 1, 7, "rwm", allow=False)], ["yes", "yes", "1", "yes"]),
        (EVERYTHING, ["yes", "yes", "yes", "yes"]),
    ):
        filter_devices(str(group), rules)
        assert _opened(group) == expected, rules


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        filter_devices(str(tmp_path / "none"), DEFAULT)
    with pytest.raises(KernelError):
        filter_devices(str(tmp_path), DEFAULT)
