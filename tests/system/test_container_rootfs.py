"""A container's root where the disk is full: the kernel mounts it read-only, and says so to its own log alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime"

pytestmark = pytest.mark.root

# In a mount namespace of its own, with room for just so many more files on the disk.
CODE = """
import os, sys
from stackpy_runtime.container import rootfs
from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux import mounts
os.makedirs("lower"); os.makedirs("disk"); os.makedirs("scratch")
mounts.mount("tmpfs", "disk", "tmpfs", 0, "nr_inodes=16")
os.makedirs("disk/upper"); os.makedirs("disk/work")
count = 0
try:
    while True:
        open(f"disk/{count}", "x").close()
        count += 1
except OSError:
    pass
for number in range(int(sys.argv[1])):
    os.unlink(f"disk/{number}")
here = os.getcwd()
try:
    root = rootfs.overlay([f"{here}/lower"], f"{here}/disk", -1, 0, f"{here}/scratch")
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=root))
    print("writable")
except KernelError as error:
    print(error, "|", error.hint)
"""


@pytest.mark.parametrize("room", [0, 8])
def test_a_root_is_writable_or_there_is_none(tmp_path: Path, room: int) -> None:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", CODE, str(room)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=True,
    )
    full = f"mount overlay workdir={tmp_path}/disk/work: no space left on device | free some space and try again\n"
    assert done.stdout == ("writable\n" if room else full)
