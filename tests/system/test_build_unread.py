"""A context that has not changed is hashed without opening one of its files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

FILES, FOLDERS = 50_000, 500
RESOLVE = """
import sys
sys.path[:0] = sys.argv[1:3]
from stackpy_runtime.build import recipe
from stackpy_runtime.store.store import Store
step = {"instruction": "copy", "text": "", "line": "", "sources": ["."], "target": "/x/", "context": sys.argv[4]}
store = Store(sys.argv[3], create=True)
print(recipe.resolve({"base": {"kind": "scratch"}, "steps": [step]}, store)["id"])
store.close()
"""


def _resolve(root: Path, context: Path, *before: str) -> str:
    repository = Path(__file__).parents[2]
    words = [str(repository), str(repository / "runtime"), str(root), str(context)]
    program = [*before, sys.executable, "-c", RESOLVE, *words]
    return subprocess.run(program, check=True, capture_output=True, text=True).stdout


def test_fifty_thousand_files_a_second_time(tmp_path: Path) -> None:
    context, root, log = tmp_path / "context", tmp_path / "root", tmp_path / "opened"
    for number in range(FOLDERS):
        folder = context / f"d{number}"
        folder.mkdir(parents=True)
        descriptor = os.open(folder, os.O_RDONLY)
        for name in range(FILES // FOLDERS):
            os.close(os.open(f"f{name}", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor))
        os.close(descriptor)
    (context / "d7" / "f7").write_text("content")
    time.sleep(0.05)  # what has changed within a tick of the clock is read once more
    first = _resolve(root, context)
    trace = ("strace", "-f", "--seccomp-bpf", "-e", "trace=open,openat,openat2", "-o", str(log))
    assert _resolve(root, context, *trace) == first
    lines = [line for line in log.read_text().splitlines() if "O_NOFOLLOW" in line and "O_DIRECTORY" not in line]
    assert [line for line in lines if '"f' in line] == []
    assert sum('"d' in line and "O_DIRECTORY" in line for line in log.read_text().splitlines()) == FOLDERS
    (context / "d7" / "f7").write_text("changed")
    assert _resolve(root, context, *trace) != first
    assert [line.split('"')[1] for line in log.read_text().splitlines() if '"f' in line] == ["f7"]
