"""libnftables beside a thousand descriptors: it waits with select(2), which ends a process with a higher one."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, resource
from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux import nftables

resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
if {early}:
    nftables.reserve()
many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
try:
    handle = nftables.Nftables()
except EngineError as error:
    print(error)
else:
    handle.run("add table inet many")
    handle.run("delete table inet many")
    handle.close()
    again = nftables.Nftables()
    again.run("list tables")
    again.close()
    print("done")
"""


def outcome(*, early: bool) -> str:
    """What a process says that has opened many descriptors, in a network namespace of its own."""
    words = ["unshare", "-n", sys.executable, "-c", CODE.format(early=early)]
    result = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": "runtime"})
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_handle_works_beside_a_thousand_descriptors() -> None:
    assert outcome(early=True) == "done\n"


def test_without_a_low_descriptor_it_says_so() -> None:
    assert outcome(early=False) == "libnftables needs a descriptor below 1024, and all are in use\n"
