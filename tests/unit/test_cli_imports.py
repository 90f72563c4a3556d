"""What the commands that run on every save or in every script may import: an import that costs is seen here first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DEAR = (
    "argparse asyncio concurrent.futures ctypes dataclasses datetime difflib email http importlib.metadata inspect "
    "jinja2 logging msgspec multiprocessing pathlib rich shutil sqlite3 ssl subprocess tempfile threading tomllib "
    "traceback urllib.request uuid watchfiles"
).split()
STACK = """\
from stackpy import Container, HealthCheck, Image, Network
Network("back", internal=True)
Container("web", image=Image.host("sh").cmd(["sh"]), networks=["back"], ports=["8080:80"], mem_limit="64m",
          healthcheck=HealthCheck(tcp=80))
"""


def imported(line: str, folder: Path) -> set[str]:
    """The modules that are loaded when a command has ended."""
    program = "import sys; from stackpy.cli.main import run; from stackpy.cli.context import Context; "
    program += "from stackpy.cli.options import Globals; "
    program += f"run({line.split()!r}, Context(Globals())); print('modules', *sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": f"{TOP}:{TOP / 'runtime'}", "PATH": "/usr/bin:/bin", "STACKPY_ROOT": str(folder / "root")},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.splitlines()[-1].split())


# What `typing`, `json`, `signal` and `socket` bring with them: 12 ms of the 30 that a `run` takes.
FOR_MANY = "array collections contextlib enum functools json re signal socket typing".split()


def loaded(*modules: str) -> set[str]:
    """What is loaded when these have been imported, beside the entry point."""
    program = f"import sys, {', '.join(modules)}; import stackpy.cli.main; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {[str(TOP), str(TOP / 'runtime')]}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.split())


def test_run_and_exec_load_nothing_that_many_modules_need() -> None:
    modules = ["stackpy.cli.commands.run", "stackpy.cli.run_config", "stackpy.engines.embedded"]
    modules += ["stackpy_runtime.engine", "stackpy_runtime.host.streams", "stackpy_runtime.host.exec_client"]
    assert sorted(set(FOR_MANY) & loaded(*modules)) == []


def test_exec_loads_no_more_of_the_engine_than_it_needs() -> None:
    modules = ["stackpy.cli.commands.exec", "stackpy.engines.embedded_executions", "stackpy_runtime.execution_verbs"]
    found = loaded(*modules, "stackpy_runtime.host.exec_client", "stackpy_runtime.host.client")
    parts = {
        "stackpy.engines.embedded",
        "stackpy_runtime.engine",
        "stackpy_runtime.host.terminals",
        "stackpy.cli.naming",
    }
    assert sorted(parts & found) == []
    assert len([name for name in found if name.startswith("stackpy")]) <= 30


def test_plan_loads_nothing_that_many_modules_need(tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(STACK.replace('host("sh")', "scratch()"))
    found = imported("plan", tmp_path)
    assert sorted(found & set(FOR_MANY)) == []


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("run --help", set()),
        ("ps", {"sqlite3", "datetime", "threading"}),
        ("plan", {"ctypes"}),
        ("validate", set()),
    ],
)
def test_nothing_dear(tmp_path: Path, line: str, allowed: set[str]) -> None:
    (tmp_path / "stack.py").write_text(STACK)
    found = imported(line, tmp_path)
    assert sorted(name for name in DEAR if name in found and name not in allowed) == []
