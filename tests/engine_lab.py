"""An engine root with an image of this host's programs, for tests of the sandbox and of the engine's promises.

The image is made once a session; every test finds the root without containers, networks of its own, volumes and
secrets, and leaves it so. Programs for attacks are Python with ctypes, since a machine may lack a compiler.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError, EngineUnavailable, NotFound
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
from tests.waiting import PATIENT, wait_for

REPOSITORY = Path(__file__).parent.parent
IMAGE = "lab:latest"
PROGRAMS = (
    "python3 sh cat ls id sleep env grep head tail dd mkdir ln rm mv touch chmod chown true false yes stat seq "
    "readlink df tty wc mount umount unshare mknod kill stty"
).split()


class Ended(NamedTuple):
    """How a container ended, and what it wrote."""

    code: int
    out: str
    err: str


class Output(NamedTuple):
    """What a command of ours did."""

    code: int
    out: str
    err: str


class Lab:
    """An engine root for a session of tests."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.engine = Engine(root)
        self.count = 0

    # --- images ------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Makes IMAGE."""
        source: Any = {"base": {"kind": "host", "programs": PROGRAMS}, "steps": []}
        recipe = self.engine.resolve(source)
        self.engine.build(source, recipe, key="lab", tags=[IMAGE], labels={}, progress=lambda progress: None)

    def image(self, config: dict[str, Any] | None = None, tree: Callable[[Path], None] | None = None) -> str:
        """An image over IMAGE with another configuration and, where `tree` fills a folder, a layer more."""
        self.count += 1
        store = Store(self.root)
        try:
            base = store.image(IMAGE)
            added = []
            if tree:
                staged = layers.stage(store.root)
                tree(Path(staged) / "upper")
                added.append(f"lab{self.count}")
                layers.commit(store.root, staged, added[0])
            identity = f"sha256:{self.count:064x}"
            changed: Any = {"id": identity, "references": [], "layers": [*base["layers"], *added], "recipe": ""}
            store.put_image({**base, **changed, "config": {**base["config"], **(config or {})}})
            store.tag(f"lab-{self.count}:latest", identity)
        finally:
            store.close()
        return f"lab-{self.count}:latest"

    # --- containers --------------------------------------------------------------------------------------------------

    def config(self, argv: list[str], **fields: Any) -> Any:
        """A container's configuration with a name of its own; without a network unless it says more."""
        self.count += 1
        if not {"networks", "network_mode", "ports"} & set(fields):
            fields["network_mode"] = "none"
        elif fields.get("network_mode") == "bridge":
            del fields["network_mode"]
        return {"name": f"lab-{self.count}", "image": IMAGE, "command": argv, **fields}

    def up(self, argv: list[str], **fields: Any) -> str:
        """Starts a container; returns its name."""
        config = self.config(argv, **fields)
        self.engine.up(config)
        return str(config["name"])

    def run(self, argv: list[str], *, timeout: float = PATIENT, **fields: Any) -> Ended:
        """Runs a container to its end and removes it."""
        name = self.up(argv, **fields)
        return self.end(name, timeout)

    def shell(self, script: str, **fields: Any) -> Ended:
        """Runs a shell script in a container."""
        return self.run(["sh", "-c", script], **fields)

    def python(self, code: str, **fields: Any) -> Ended:
        """Runs Python in a container; the code finds `libc`, `os`, `ctypes` and `call(number, …)` → result, errno."""
        return self.run(["python3", "-c", PRELUDE + code], **fields)

    def end(self, name: str, timeout: float = PATIENT) -> Ended:
        """Waits for the end of a container and removes it."""
        wait_for(
            lambda: self.state(name)["status"] in ("exited", "created"),
            lambda: f"end of {name}: {self.seen(name)}",
            timeout,
        )
        self.engine.wait(name)
        ended = Ended(self.state(name)["exit_code"] or 0, self.log(name, "stdout"), self.log(name, "stderr"))
        self.engine.remove(name, force=True, volumes=True)
        return ended

    def state(self, name: str) -> Any:
        """A container's state."""
        return self.engine.container(name)["state"]

    def log(self, name: str, stream: str = "") -> str:
        """What a container wrote."""
        return "".join(line["text"] for line in self.engine.logs(name) if stream in ("", line["stream"]))

    def said(self, name: str, text: str, timeout: float = PATIENT) -> None:
        """Waits until a container has written `text`."""
        wait_for(lambda: text in self.log(name), lambda: f"`{text}` from {name}: {self.seen(name)}", timeout)

    def seen(self, name: str) -> str:
        """What a failed wait for a container says of it: its log's end, its state, its processes and ours."""
        found = self.engine.container(name)
        pid = found["state"]["pid"]
        kernel = [f"/proc/{pid}/{entry}" for entry in ("stat", "wchan", "cgroup")] if pid else []
        held = {path: Path(path).read_text().strip() for path in kernel if os.path.exists(path)}
        folder = f"{self.root}/containers/{found['id']}"
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)} if os.path.isdir(folder) else {}
        ours = {what: self.processes(what) for what in ("keeper", "supervisor")}
        return f"{ours}\nstate: {found['state']}\nits process: {held}\nfiles: {sizes}\nlog: {self.log(name)[-2000:]!r}"

    def exec(self, name: str, *argv: str, given: str = "", **options: Any) -> Output:
        """Runs a process in a container by the command line."""
        flags = [f"--{key}={value}" for key, value in options.items()]
        return self.cli("exec", *(["-i"] if given else []), *flags, name, *argv, given=given)

    def reason(self, argv: list[str], **fields: Any) -> str:
        """Why a container cannot be made or started; fails when it can."""
        config = self.config(argv, **fields)
        try:
            self.engine.up(config)
        except EngineError as error:
            return str(error)
        raise AssertionError(f"it started: {fields}")

    # --- processes ---------------------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """The argument vector of a `stackpy` command on this root."""
        return [sys.executable, "-m", "stackpy.cli.main", "--root", self.root, *words]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of our commands."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("STACKPY_")}
        return {**kept, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/runtime"}

    def cli(self, *words: str, given: str = "", timeout: float = 60.0) -> Output:
        """Runs a `stackpy` command."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            input=given.encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd="/",
        )
        return Output(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def processes(self, what: str = "") -> list[int]:
        """PIDs of this root's keeper and supervisor; what they fork has their title for a moment, and is left out."""
        parents: dict[int, tuple[str, int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    title = Path(f"/proc/{entry}/cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
                    parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]
                except OSError:
                    continue
                if title in self._titles():
                    parents[int(entry)] = title, int(parent)
        wanted = [f"stackpy {what} --root {self.root}"] if what else self._titles()
        return [
            pid
            for pid, (title, parent) in parents.items()
            if title in wanted and not (parent in parents and parents[parent][0] == title)
        ]

    def back(self, meanwhile: type[EngineError] = EngineUnavailable) -> None:
        """Waits until a supervisor answers. meanwhile: the error that asking it may raise until then"""

        def answers() -> bool:
            try:
                self.engine.client.call("ping")
            except meanwhile:
                return False
            return True

        wait_for(answers, "a supervisor")

    def _titles(self) -> list[str]:
        return [f"stackpy {what} --root {self.root}" for what in ("keeper", "supervisor")]

    def kill(self, what: str = "") -> None:
        """Kills the keeper or the supervisor with SIGKILL; both, at the same moment, when neither is named."""
        pids = wait_for(lambda: self.processes(what), f"a {what or 'process of ours'}")
        # Each would start the other anew.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        wait_for(lambda: not set(pids) & set(self.processes(what)), f"the end of {what or 'both'}")

    def clear(self) -> None:
        """Removes all that a test has made but images."""
        for container in self.engine.containers():
            # One with --rm, whose client a test has killed, may go by itself in this moment.
            with contextlib.suppress(NotFound):
                self.engine.remove(container["id"], force=True, volumes=True)
        for network in self.engine.networks():
            if network["name"] != "bridge":
                self.engine.remove_network(network["name"])
        for volume in self.engine.volumes():
            self.engine.remove_volume(volume["name"])
        for secret in self.engine.secrets():
            self.engine.remove_secret(secret["name"])

    def leave_processes(self) -> None:
        """Has our processes leave, and waits until they have; the next command starts others."""
        self.clear()
        if self.processes():
            self.engine.tidy()
        wait_for(lambda: not self.processes(), "the end of keeper and supervisor")

    def leave(self) -> None:
        """Has our processes leave for good."""
        self.leave_processes()
        self.engine.store.close()


PRELUDE = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) if isinstance(a, int) else a
             for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    return result, errno.errorcode.get(ctypes.get_errno(), 0)
"""


@pytest.fixture(scope="session", name="lab_of_session")
def lab_of_session_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab with its image."""
    lab = Lab(str(tmp_path_factory.mktemp("lab") / "root"))
    lab.build()
    yield lab
    lab.leave()
    shutil.rmtree(lab.root)


@pytest.fixture(name="lab")
def lab_fixture(lab_of_session: Lab) -> Iterator[Lab]:
    """The lab; afterwards nothing that the test has made is left in it."""
    yield lab_of_session
    lab_of_session.clear()


class Canary:
    """A folder of the host and settings of the kernel that no container may change or read.

    Kernel settings are those that escapes have been made with.
    """

    SETTINGS = ("core_pattern", "modprobe", "hotplug", "hostname")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = os.urandom(16).hex()
        folder.mkdir()
        (folder / "secret").write_text(self.secret)
        (folder / "secret").chmod(0o600)
        (folder / "empty").mkdir()
        self.before = self.state()

    def state(self) -> str:
        """Everything about it, as text."""
        found: dict[str, Any] = {"/": sorted(os.listdir("/"))}
        for path in [self.folder, *sorted(self.folder.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes().hex() if path.is_file() else ""
            found[str(path)] = [status.st_mode, status.st_uid, status.st_gid, status.st_ino, content]
        for name in self.SETTINGS:
            try:
                found[name] = Path(f"/proc/sys/kernel/{name}").read_text()
            except OSError:
                # Not every kernel has each.
                continue
        return json.dumps(found)

    def check(self, *seen: str) -> None:
        """Fails when it has changed, or its secret stands in what a container has shown."""
        assert self.state() == self.before
        assert not [text for text in seen if self.secret in text]


@pytest.fixture(name="canary")
def canary_fixture(tmp_path: Path) -> Iterator[Canary]:
    """A canary; it is checked once more after the test."""
    canary = Canary(tmp_path / "canary")
    yield canary
    canary.check()
