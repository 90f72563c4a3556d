"""Bundles with a static shell, and `stackpy-oci` as podman and containerd call it."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent
BUSYBOX = shutil.which("busybox") or "/bin/busybox"
APPLETS = (
    "sh ls cat id true false echo sleep mount umount ps stat kill hostname dnsdomainname env pwd touch mkdir rm ln ip "
    "head grep dd wc tty stty mknod readlink test printf date find chmod sync sort tr"
).split()
PATH = "PATH=/bin"


def make_rootfs(folder: Path) -> Path:
    """A root file system with busybox alone."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, folder / "bin/busybox")
    for name in APPLETS:
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return folder


class Oci:
    """An OCI runtime with a state folder of its own; what a test leaves is deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "state"
        self.program = [sys.executable, "-c", "from stackpy.cli.main import oci; oci()", "--root", str(self.root)]
        self.environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'runtime'}"}
        self.count = 0
        self.template = self._template()

    def _template(self) -> dict[str, Any]:
        (self.folder / "template").mkdir()
        self("spec", "--bundle", str(self.folder / "template"))
        found: dict[str, Any] = json.loads((self.folder / "template/config.json").read_text())
        found["process"]["terminal"] = False
        found["process"]["env"] = [PATH]
        found["root"]["readonly"] = False
        return found

    @property
    def identity(self) -> str:
        """The ID for the newest bundle: control groups are named by it, whatever the state folder."""
        return f"c{os.getpid()}-{self.count}"

    def __call__(
        self, *words: str, code: int | None = 0, given: str | None = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a verb and checks its exit code (None: any)."""
        result = subprocess.run(
            [*self.program, *words],
            input=given,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=60,
            check=False,
            **options,
        )
        if code is not None and result.returncode != code:
            raise AssertionError(
                f"`stackpy-oci {' '.join(words)}` ended with {result.returncode}, not {code}\n"
                f"--- stdout\n{result.stdout}--- stderr\n{result.stderr}"
            )
        return result

    def bundle(self, *argv: str, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
        """A new bundle that runs `argv`; `change` alters its document."""
        self.count += 1
        path = self.folder / f"bundle-{self.count}"
        make_rootfs(path / "rootfs")
        document = copy.deepcopy(self.template)
        document["process"]["args"] = list(argv)
        if change:
            change(document)
        (path / "config.json").write_text(json.dumps(document))
        return path

    def run(
        self, *argv: str, change: Callable[[dict[str, Any]], None] | None = None, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a bundle in the foreground."""
        path = self.bundle(*argv, change=change)
        return self("run", "--bundle", str(path), self.identity, code=code, **options)

    def shell(
        self, script: str, *, change: Callable[[dict[str, Any]], None] | None = None, code: int | None = 0
    ) -> str:
        """What a shell script in a new container writes to its standard output."""
        return self.run("sh", "-c", script, change=change, code=code).stdout

    def refusal(self, change: Callable[[dict[str, Any]], None]) -> str:
        """The message with which a bundle is refused; nothing is left of it."""
        result = self.run("true", change=change, code=1)
        assert self.states() == []
        return result.stderr

    def create(self, *argv: str, change: Callable[[dict[str, Any]], None] | None = None, start: bool = True) -> str:
        """A container that runs `argv`, its standard streams on /dev/null."""
        path = self.bundle(*argv, change=change)
        identity = self.identity
        self.detached("create", "--bundle", str(path), identity)
        if start:
            self("start", identity)
        return identity

    def detached(self, *words: str, code: int = 0) -> str:
        """Runs a verb whose container goes on with its standard streams; what the verb wrote to stderr."""
        # Not a pipe: the container would hold it open as long as it lives.
        said = self.folder / "detached.err"
        with open(os.devnull, "r+b") as null, open(said, "wb") as errors:
            result = subprocess.run(
                [*self.program, *words],
                stdin=null,
                stdout=null,
                stderr=errors,
                env=self.environment,
                timeout=60,
                check=False,
            )
        assert result.returncode == code, said.read_text()
        return said.read_text()

    def state(self, identity: str) -> dict[str, Any]:
        """The document of `state`."""
        found: dict[str, Any] = json.loads(self("state", identity).stdout)
        return found

    def states(self) -> list[dict[str, Any]]:
        """The document of `list`."""
        found: list[dict[str, Any]] = json.loads(self("list", "--format", "json").stdout)
        return found

    def end(self) -> None:
        """Deletes what is left."""
        for each in self.states():
            self("delete", "--force", each["id"])


@pytest.fixture(name="oci")
def oci_fixture(tmp_path: Path) -> Iterator[Oci]:
    """A runtime; afterwards it has left neither containers nor control groups nor mounts."""
    runtime = Oci(tmp_path)
    yield runtime
    runtime.end()
    left = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp_path) in line]
    assert left == []
    assert not any(runtime.root.iterdir()) if runtime.root.exists() else True
