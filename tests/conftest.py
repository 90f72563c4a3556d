"""An engine root and the `stackpy` command for tests of the whole; each test leaves the host as it found it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent
GONE_WITHIN = 10.0  # seconds in which what a destroyed stack leaves behind must have gone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engine needs root; without it the pure tests still run."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: `make test` calls sudo"))


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """The first true value of `condition`; fails the test after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)


class Cli:
    """`stackpy` as users run it: a process of its own, on a root of its own.

    root: the engine root, as STACKPY_ROOT
    program: the argument vector that stands for `stackpy`
    """

    def __init__(self, root: Path, program: list[str], environment: dict[str, str]) -> None:
        self.root, self.program = root, program
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("STACKPY_", "NO_COLOR"))},
            **environment,
            "STACKPY_ROOT": str(root),
        }

    def __call__(
        self,
        *words: str,
        cwd: Path | str = "/",
        code: int | None = 0,
        given: str = "",
        environment: dict[str, str] | None = None,
        timeout: float = 300.0,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command and checks its exit code (None: any)."""
        result = subprocess.run(
            [*self.program, *words],
            cwd=cwd,
            env={**self.environment, **(environment or {})},
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if code is not None and result.returncode != code:
            raise AssertionError(
                f"`stackpy {' '.join(words)}` ended with {result.returncode}, not {code}\n"
                f"--- stdout\n{result.stdout}--- stderr\n{result.stderr}"
            )
        return result

    def json(self, *words: str, **options: Any) -> Any:
        """The document that `--format json` prints."""
        return json.loads(self("--format", "json", *words, **options).stdout)

    def start(self, *words: str, cwd: Path | str = "/", **options: Any) -> subprocess.Popen[str]:
        """Starts a command that goes on: `logs -f`, `watch`."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return subprocess.Popen([*self.program, *words], cwd=cwd, env=self.environment, **options)


def traces(root: Path) -> set[str]:
    """What an engine root has on the host now: processes, mounts, links, nft tables, network namespaces, cgroups."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(root) in line and int(entry) != os.getpid():
                found.add(f"process: {line.strip()}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found |= {f"mount: {line}" for line in mounts if f"{root}/" in line}
    return found


def host_state() -> set[str]:
    """Links, nft tables, named network namespaces and cgroups of any stackpy on this host."""
    links = {f"link: {name}" for name in os.listdir("/sys/class/net")}
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout.splitlines()
    namespaces = {f"netns: {name}" for name in os.listdir("/run/netns")} if os.path.isdir("/run/netns") else set()
    groups = {f"cgroup: {path}" for path, folders, _ in os.walk("/sys/fs/cgroup") if "stackpy" in path and not folders}
    return links | {f"nft: {line}" for line in tables} | namespaces | groups


def remove_everything(cli: Cli) -> None:
    """Takes down every stack and container of a root, and waits until the host shows nothing of it."""
    for row in cli.json("ls", code=None) if cli.root.exists() else ():
        cli("destroy", "--stack", row["name"], "--volumes", "--images", "--yes", code=None)
    if cli.root.exists():
        rows = cli.json("ps", "-a", code=None)
        if rows:
            cli("rm", "-f", *(row["name"] for row in rows), code=None)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The `stackpy` command on an empty engine root; afterwards nothing of it may be left on the host."""
    before = host_state()
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "runtime")])
    command = Cli(tmp_path / "root", [sys.executable, "-m", "stackpy.cli.main"], {"PYTHONPATH": path})
    yield command
    remove_everything(command)
    assert_gone(command, before)


def assert_gone(command: Cli, before: set[str]) -> None:
    """Fails when the root still has something on the host."""
    end = time.monotonic() + GONE_WITHIN
    while left := traces(command.root) | (host_state() - before):
        if time.monotonic() > end:
            raise AssertionError("left on the host:\n" + "\n".join(sorted(left)))
        time.sleep(0.05)
    shutil.rmtree(command.root, ignore_errors=True)


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Path]:
    """Copies an example into a folder of the test and returns it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(REPOSITORY / "examples" / name, tmp_path / name))

    return copy


@pytest.fixture
def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
