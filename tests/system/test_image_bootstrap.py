"""Fresh systems by mmdebstrap: what they hold, that apt works in them, and what is said when it cannot be."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from stackpy_runtime.errors import InvalidConfig, ProcessFailed, Unsupported
from stackpy_runtime.image import bootstrap
from tests.waiting import wait_for

pytestmark = [pytest.mark.root]
needs_mmdebstrap = pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed")


def in_system(root: Path, script: str) -> str:
    """Runs a script in the system, with the device nodes that the engine would give it."""
    mounts = 'mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" sh -ec "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounts, str(root), script],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.network
@needs_mmdebstrap
def test_a_fresh_debian(tmp_path: Path) -> None:
    root = tmp_path / "upper"
    root.mkdir()
    told: list[str] = []
    bootstrap.bootstrap("debian:bookworm", ["ca-certificates"], str(root), told.append)
    assert told[0] == "running apt-get update...\n"
    assert told[-1].startswith("success in ")
    assert all(line.endswith("\n") and not line.startswith(("I:", "W:")) for line in told)
    # nothing of this host, nothing of the making
    assert os.listdir(root / "dev") == []
    assert [(root / "etc" / name).read_text() for name in ("hostname", "resolv.conf", "hosts", "machine-id")] == [
        ""
    ] * 4
    for folder in ("tmp", "var/tmp", "var/log/apt", "var/cache/apt/archives", "var/lib/apt/lists", "run"):
        left = set(os.listdir(root / folder)) if (root / folder).exists() else set()
        assert left <= {"lock", "partial"}, folder
    assert not list(root.glob("etc/*/*/99mmdebstrap"))
    assert {stat.S_IFMT(path.lstat().st_mode) for path in root.rglob("*")} == {stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK}
    assert {path.lstat().st_uid for path in root.rglob("*")} <= {0, 42, *range(100, 1000)}
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    # what containers need
    assert (root / "usr/sbin/policy-rc.d").stat().st_mode & 0o777 == 0o755
    assert len([line for line in (root / "etc/apt/sources.list").read_text().splitlines() if line]) == 3
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    script = (
        "apt-get update -q >&2; apt-get install -y -q --no-install-recommends tini >&2; tini --version; useradd web"
    )
    assert in_system(root, script).startswith("tini version")
    assert not list(root.glob("var/cache/apt/archives/*.deb"))


@pytest.mark.network
@needs_mmdebstrap
@pytest.mark.parametrize(
    ("suite", "packages", "message"),
    [
        ("debian:bookwrm", [], "debian:bookwrm cannot be fetched: "),
        ("bookworm", ["no-such-package"], "there is no package `no-such-package` in bookworm"),
    ],
)
def test_what_cannot_be_fetched(suite: str, packages: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    with pytest.raises(ProcessFailed) as caught:
        bootstrap.bootstrap(suite, packages, str(tmp_path / "upper"), lambda text: None)
    assert caught.value.message.startswith(message)
    assert caught.value.output
    assert caught.value.hint


def test_what_is_missing_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfig, match="unknown distribution `fedora`"):
        bootstrap.bootstrap("fedora:41", [], str(tmp_path), print)
    if shutil.which("mmdebstrap") and not os.path.exists("/usr/share/keyrings/ubuntu-archive-keyring.gpg"):
        with pytest.raises(Unsupported) as caught:
            bootstrap.bootstrap("ubuntu:noble", [], str(tmp_path), print)
        assert caught.value.hint == "apt-get install ubuntu-keyring"
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(Unsupported) as missing:
        bootstrap.bootstrap("bookworm", [], str(tmp_path), print)
    assert missing.value.hint == "apt-get install mmdebstrap"


@needs_mmdebstrap
def test_nothing_goes_on_when_we_are_killed(tmp_path: Path) -> None:
    """mmdebstrap and all it started die with the process that asked for it, also by SIGKILL."""
    import sys

    code = (
        "import sys; from stackpy_runtime.image import bootstrap; "
        "bootstrap.bootstrap('bookworm', [], sys.argv[1], lambda text: print(text, flush=True))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    (tmp_path / "upper").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path / "upper")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert users(tmp_path)
        process.kill()
    wait_for(lambda: not users(tmp_path), lambda: f"their end: {users(tmp_path)}")


def users(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and int(pid) != os.getpid():
            found.append(line)
    return found
