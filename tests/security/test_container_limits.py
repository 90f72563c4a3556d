"""Limits and settings of containers as ways to the host.

Rows of the threat list: 2018-20699 (huge cpuset strings), 2025-52881 (a sysctl that is written somewhere else),
2019-5736 (what is executed as init), 2022-36109 (groups that are added).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from stackpy_runtime.errors import EngineError
from tests.engine_lab import Canary, Lab

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    "text", ["0-2147483647", "0-4294967295", "0-9999999999", ",".join(["0-2147483647"] * 300), "0-1,2-2147483646"]
)
@pytest.mark.parametrize("field", ["cpuset", "cpuset_mems"])
def test_2018_20699_huge_cpusets_are_refused_at_once(lab: Lab, field: str, text: str) -> None:
    name = lab.up(["sleep", "60"])
    (supervisor,) = lab.processes("supervisor")

    def memory() -> int:
        line = next(line for line in Path(f"/proc/{supervisor}/status").read_text().splitlines() if "VmRSS" in line)
        return int(line.split()[1])

    before = memory()
    assert "this host has not" in lab.reason(["true"], **{field: text})
    with pytest.raises(EngineError, match="this host has not"):
        lab.engine.update(name, {field: text})
    assert memory() - before < 8 << 10
    shown = lab.cli("run", "--rm", "--pull", "never", f"--{field.replace('cpuset', 'cpuset-cpus', 1)}", text, "x")
    assert shown.code in (64, 125)


def test_2025_52881_a_sysctl_reaches_the_containers_namespace_and_nothing_else(lab: Lab, canary: Canary) -> None:
    """Whatever an image or a volume holds where /proc/sys would be: no path of the container is written."""

    def tree(upper: Path) -> None:
        (upper / "proc/sys/kernel").mkdir(parents=True)
        (upper / "proc/sys/kernel/msgmax").symlink_to(canary.folder / "secret")

    image = lab.image(tree=tree)
    before = Path("/proc/sys/kernel/msgmax").read_text()
    for _ in range(20):
        ended = lab.run(["cat", "/proc/sys/kernel/msgmax"], image=image, sysctls={"kernel.msgmax": "9123"})
        assert ended.out == "9123\n"
    assert Path("/proc/sys/kernel/msgmax").read_text() == before
    for name in ("kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "kernel.modprobe"):
        assert lab.reason(["true"], sysctls={name: "|/x"})
    canary.check(ended.out, ended.err)


OPEN_INIT = """
import os
for path in ("/proc/1/exe", f"/proc/1/map_files/{open('/proc/1/maps').readline().split()[0]}"):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        try:
            os.write(os.open(path, flags), b"evil")
            print("written", path)
        except OSError as error:
            print(error.errno)
"""


def test_2019_5736_init_is_no_file_of_the_host_and_cannot_be_written(lab: Lab) -> None:
    programs = [Path(os.path.realpath(os.sys.executable)), Path("/bin/sh")]  # type: ignore[attr-defined]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in programs]
    ended = lab.run(["python3", "-c", OPEN_INIT], init=True)
    assert "written" not in ended.out and len(ended.out.split()) == 6, ended
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in programs] == before
    # From its first moment on no process of the container is beside one of ours (2016-9962).
    for _ in range(20):
        assert lab.run(["cat", "/proc/1/cmdline"], init=True).out.startswith("init\0cat\0")
    again = lab.run(["sh", "-c", "exit 5"], init=True)
    assert again.code == 5


def test_2022_36109_groups_that_are_added_are_the_images(lab: Lab) -> None:
    def tree(upper: Path) -> None:
        (upper / "etc").mkdir()
        (upper / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nanna:x:1000:100::/:/bin/sh\n")
        (upper / "etc/group").write_text("root:x:0:\nusers:x:100:\nvideo:x:44:anna\ndisk:x:777:\n")

    image = lab.image(tree=tree)
    assert lab.run(["id", "-G"], image=image, user="anna", group_add=["disk", "9"]).out == "100 9 44 777\n"
    assert lab.run(["id", "-G"], image=image, user="anna:users", group_add=["disk"]).out == "100 777\n"
    for wrong in ("nobody-here", "65536", "4294967296"):
        assert lab.reason(["id"], image=image, group_add=[wrong])
