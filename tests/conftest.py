"""An engine root and the `stackpy` command for tests of the whole; each test leaves the host as it found it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.waiting import wait_for

# A shell has what it runs in the background ignore SIGINT, and what a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup does the same with SIGHUP.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No property is a matter of time, and where the run decides what lands, each tries the same examples.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    max_examples=60,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

REPOSITORY = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engine needs root; without it the pure tests still run."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: `make test` calls sudo"))


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
        self.started: list[subprocess.Popen[str]] = []

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
        """Starts a command that goes on: `logs -f`, `watch`. The test's end ends it where the test has not."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        process = subprocess.Popen(
            [*self.program, *words],
            cwd=cwd,
            env=self.environment,
            # Whoever runs the tests in the background may ignore it, and commands would then too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Ends what `start` has started."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def traces(root: Path) -> set[str]:
    """What an engine root has on the host now: processes, mounts, links, nft tables, cgroups.

    Other roots may be at work on the same host: links, tables and cgroups are told apart by the hash of the root's path
    in their names, which a test of a running stack checks to be there.
    """
    mark = hashlib.sha256(str(root).encode()).hexdigest()[:5]
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
    found |= {f"link: {name}" for name in os.listdir("/sys/class/net") if mark in name}
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    found |= {f"nft: {line}" for line in tables.splitlines() if mark in line}
    found |= {f"cgroup: {path}" for path, _, _ in os.walk("/sys/fs/cgroup") if f"stackpy-{mark}" in path}
    return found


def remove_everything(cli: Cli) -> None:
    """Takes down every stack and container of a root."""
    if not cli.root.exists():
        return
    if names := [row["name"] for row in cli.json("ps")]:
        cli("rm", "-f", *names)
    for row in cli.json("ls"):
        cli("destroy", "--stack", row["name"], "--volumes", "--images", "--yes", "--allow-data-loss", "*")


def checked_out(root: Path) -> Cli:
    """The `stackpy` command of this repository."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "runtime")])
    return Cli(root, [sys.executable, "-m", "stackpy.cli.main"], {"PYTHONPATH": path})


@contextmanager
def clean_host(command: Cli) -> Iterator[Cli]:
    """Takes everything of the command's root down at the end; nothing of it may be left on the host then."""
    try:
        yield command
    finally:
        command.end()
        remove_everything(command)
        assert_gone(command)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The `stackpy` command on an empty engine root."""
    with clean_host(checked_out(tmp_path / "root")) as command:
        yield command


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The `stackpy` command on an engine root of the module, whose store has the image `box`: python3, sh and cat."""
    folder = tmp_path_factory.mktemp("box")
    (folder / "stack.py").write_text(
        "from stackpy import Container, Image, Stack\n"
        'Stack("box")\n'
        'Container("box", image=Image.host("python3", "sh", "cat", "sleep", "ls", "id").tag("box"))\n'
    )
    with clean_host(checked_out(folder / "root")) as command:
        command("build", cwd=folder)
        yield command


def assert_gone(command: Cli) -> None:
    """Fails when the root still has something on the host."""
    wait_for(lambda: not traces(command.root), lambda: "an empty host\n" + "\n".join(sorted(traces(command.root))))
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
