"""Hostile bundles and root file systems against `stackpy-oci`: rows of THREATS.md that concern an OCI runtime."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oci_lab import Oci, oci_fixture
from tests.waiting import wait_for

__all__ = ["oci_fixture"]
pytestmark = pytest.mark.root

Document = dict[str, Any]


@pytest.fixture(name="canary")
def canary_fixture(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host that nobody may change, and a setting of its kernel."""
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / "secret").write_text("of the host")

    def look() -> tuple[Any, ...]:
        names = sorted((str(path), path.stat().st_mode, path.stat().st_uid) for path in folder.rglob("*"))
        pattern = Path("/proc/sys/kernel/core_pattern").read_text()
        return names, (folder / "secret").read_text(), pattern, sorted(os.listdir("/"))

    before = look()
    yield folder
    assert look() == before


def link(rootfs: Path, name: str, target: str) -> None:
    """Puts a link in place of a folder of the root file system."""
    path = rootfs / name
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["tmp/false", "../../../../../canary", "/proc/self/fd/5"])
def test_2019_16884_a_link_in_place_of_proc_or_sys(oci: Oci, canary: Path, name: str, target: str) -> None:
    path = oci.bundle("true")
    (path / "rootfs/tmp/false").mkdir()
    link(path / "rootfs", name, target)
    assert "is not mounted on a link" in oci("run", "-b", str(path), "x", code=1).stderr
    assert not list((path / "rootfs/tmp/false").iterdir())


def test_2025_31133_a_link_in_place_of_dev(oci: Oci, canary: Path) -> None:
    def change(document: Document) -> None:
        document["mounts"] = [each for each in document["mounts"] if not each["destination"].startswith("/dev")]

    path = oci.bundle("true", change=change)
    link(path / "rootfs", "dev", str(canary))
    assert "is a link or a file" in oci("run", "-b", str(path), "x", code=1).stderr
    # With a tmpfs on it the link is followed inside the root, where there is no such folder.
    path = oci.bundle("sh", "-c", "ls -la /dev/null")
    link(path / "rootfs", "dev", "/tmp")
    assert "link" in oci("run", "-b", str(path), "y", code=1).stderr


def test_2025_31133_a_link_in_place_of_dev_null(oci: Oci, canary: Path) -> None:
    def change(document: Document) -> None:
        document["mounts"] = [each for each in document["mounts"] if not each["destination"].startswith("/dev")]
        document["linux"]["maskedPaths"] = ["/proc/sys/kernel/core_pattern"]

    path = oci.bundle(
        "sh", "-c", "cat /proc/sys/kernel/core_pattern; echo x > /proc/sys/kernel/core_pattern", change=change
    )
    (path / "rootfs/dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    result = oci("run", "-b", str(path), "x", code=None)
    # Made anew or refused; what masks is the host's null device in any case.
    assert result.stdout == ""
    assert not (path / "rootfs/dev/null").is_symlink() or result.returncode


def test_2025_52565_links_in_place_of_terminals(oci: Oci, canary: Path) -> None:
    def change(document: Document) -> None:
        document["process"]["terminal"] = True
        document["mounts"] = [each for each in document["mounts"] if not each["destination"].startswith("/dev")]

    path = oci.bundle("true", change=change)
    pts = path / "rootfs/dev/pts"
    pts.mkdir()
    for number in range(5):
        (pts / str(number)).symlink_to(f"../../../../../../{canary}/secret")
    (pts / "ptmx").symlink_to("/proc/self/exe")
    assert "process.terminal needs a devpts" in oci("run", "-b", str(path), "x", code=1).stderr

    def with_console(document: Document) -> None:
        document["process"]["terminal"] = True
        document["mounts"] = [each for each in document["mounts"] if each["destination"] != "/dev"]

    path = oci.bundle("true", change=with_console)
    (path / "rootfs/dev/console").symlink_to(f"{canary}/secret")
    assert "/dev/console is a link" in oci("run", "-b", str(path), "y", code=1).stderr


@pytest.mark.parametrize("folder", [f"/proc/self/fd/{number}" for number in (3, 4, 5, 7, 8, 9, 12)] + ["/out", "/out2"])
def test_2024_21626_a_working_folder_that_leads_out(oci: Oci, canary: Path, folder: str) -> None:
    def change(document: Document) -> None:
        document["process"]["cwd"] = folder

    path = oci.bundle("sh", "-c", "cat ../../../../../../../etc/hostname; pwd", change=change)
    (path / "rootfs/out").symlink_to("/proc/self/fd/5")
    (path / "rootfs/out2").symlink_to("/proc/1/cwd/../..")
    result = oci("run", "-b", str(path), "x", code=None)
    assert Path("/etc/hostname").read_text() not in result.stdout or not Path("/etc/hostname").read_text().strip()
    assert result.returncode == 1, result.stdout


def test_2024_21626_of_exec(oci: Oci, canary: Path) -> None:
    identity = oci.create("sleep", "1000")
    for number in range(3, 20):
        result = oci("exec", "--cwd", f"/proc/self/fd/{number}", identity, "sh", "-c", "ls ..", code=None)
        # runc's code for an exec that has not begun
        assert (result.returncode, result.stdout) == (255, ""), number
    assert oci("exec", identity, "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


def test_2019_5736_the_runtime_s_own_program(oci: Oci, canary: Path) -> None:
    digest = hashlib.sha256(Path(oci.program[0]).resolve().read_bytes()).hexdigest()
    identity = oci.create("sleep", "1000")
    script = "for n in 1 2 3 4 5; do for p in /proc/[0-9]*; do echo x 2>/dev/null >> $p/exe; done; done"
    path = oci.bundle("/proc/self/exe")
    assert oci("run", "-b", str(path), "self", code=None).returncode != 0
    root = Path(oci.state(identity)["rootfs"])
    (root / "tmp/self").write_text("#!/proc/self/exe\n")
    (root / "tmp/self").chmod(0o755)
    attack = subprocess.Popen(
        [*oci.program, "exec", identity, "sh", "-c", f"{script}; {script}"],
        env=oci.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(3):
        oci("exec", identity, "/tmp/self", code=None)
    attack.wait(timeout=60)
    assert hashlib.sha256(Path(oci.program[0]).resolve().read_bytes()).hexdigest() == digest


def test_2016_9962_nobody_looks_into_exec_before_it_executes(oci: Oci, canary: Path) -> None:
    # Root of the container watches every process that comes; none may show what is not the container's.
    watch = (
        "while [ ! -e /stop ]; do for p in /proc/[0-9]*; do"
        " readlink $p/root $p/exe $p/cwd 2>/dev/null; for f in $p/fd/*; do readlink $f 2>/dev/null; done; done; done"
    )
    path = oci.bundle("sh", "-c", watch)
    with open(oci.folder / "seen", "w") as seen:
        process = subprocess.Popen([*oci.program, "run", "-b", str(path), "watch"], stdout=seen, env=oci.environment)
        wait_for(lambda: oci("exec", "watch", "true", code=None).returncode == 0, "it runs")
        for _ in range(4):
            oci("exec", "watch", "true")
        oci("exec", "watch", "touch", "/stop")
        process.wait(timeout=60)
    seen_ = set((oci.folder / "seen").read_text().splitlines())
    # Its own output is what it may see of the host.
    found = seen_ - {str(oci.folder / "seen")}
    assert not {line for line in found if "python" in line or str(oci.folder) in line}


def test_2021_30465_a_target_that_is_exchanged_meanwhile(oci: Oci, canary: Path, tmp_path: Path) -> None:
    shared, source = tmp_path / "shared", tmp_path / "source"
    shared.mkdir()
    (shared / "target").mkdir()
    (shared / "other").symlink_to("/")
    source.mkdir()
    (source / "mark").write_text("")

    def change(document: Document) -> None:
        for number in range(3):
            document["mounts"].append(
                {"destination": "/v", "type": "bind", "source": str(shared), "options": ["rbind"]}
            )
            document["mounts"].append(
                {"destination": f"/v/target/sub{number}", "type": "bind", "source": str(source), "options": ["bind"]}
            )

    stop = threading.Event()

    def exchange() -> None:
        import ctypes

        libc = ctypes.CDLL(None)
        first, second = os.fsencode(shared / "target"), os.fsencode(shared / "other")
        while not stop.is_set():
            libc.renameat2(-100, first, -100, second, 2)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for number in range(12):
            path = oci.bundle("sh", "-c", "ls /", change=change)
            result = oci("run", "-b", str(path), f"race{number}", code=None)
            assert "canary" not in result.stdout
            assert "work" not in result.stdout.split()
    finally:
        stop.set()
        thread.join()
    assert not [name for name in os.listdir("/") if name.startswith("sub")]


def test_2022_0492_release_agent(oci: Oci, canary: Path) -> None:
    script = (
        "mount -t cgroup -o memory none /tmp 2>&1; echo /x > /sys/fs/cgroup/memory/release_agent;"
        " echo 1 > /sys/fs/cgroup/memory/notify_on_release; mkdir /sys/fs/cgroup/memory/x; echo $?"
    )
    result = oci.run("sh", "-c", script)
    assert result.stdout.splitlines()[-1] == "1"
    assert "Read-only file system" in result.stderr
    assert "mount:" in result.stdout


def test_2022_29162_nothing_is_inheritable(oci: Oci) -> None:
    identity = oci.create("sleep", "1000")
    for words in (["exec", identity], ["exec", "--cap", "CAP_SYS_ADMIN", identity]):
        status = oci(*words, "cat", "/proc/self/status").stdout
        assert "CapInh:\t0000000000000000" in status
        assert "CapAmb:\t0000000000000000" in status
    granted = oci("exec", "--cap", "CAP_SYS_ADMIN", identity, "grep", "CapEff", "/proc/self/status").stdout
    assert int(granted.split()[1], 16) >> 21 & 1


def test_a_hostile_cgroups_path_reaches_no_others(oci: Oci, canary: Path) -> None:
    other = oci.create("sleep", "1000")
    taken = json.loads((oci.root / other / "state.json").read_text())["cgroups_path"]

    def change(document: Document) -> None:
        document["linux"]["cgroupsPath"] = taken

    path = oci.bundle("true", change=change)
    assert "processes are in" in oci("run", "-b", str(path), "thief", code=1).stderr
    assert oci.state(other)["status"] == "running"


def test_mounts_into_procfs_are_refused(oci: Oci, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in ("/proc/self/attr/exec", "/proc/filesystems", "/proc/1/environ", "/proc"):

        def change(document: Document, target: str = target) -> None:
            source = str(tmp_path if target == "/proc" else tmp_path / "file")
            document["mounts"].append({"destination": target, "type": "bind", "source": source, "options": ["bind"]})

        assert "where nothing may be mounted" in oci.refusal(change), target

    def allowed(document: Document) -> None:
        row = {"destination": "/proc/meminfo", "type": "bind", "source": str(tmp_path / "file"), "options": ["bind"]}
        document["mounts"].append(row)

    assert oci.shell("cat /proc/meminfo", change=allowed) == "mine"


def test_state_of_a_container_is_root_s_alone(oci: Oci) -> None:
    identity = oci.create("sleep", "1000")
    assert (oci.root / identity).stat().st_mode & 0o777 == 0o700
    assert oci.root.stat().st_mode & 0o077 in (0o011, 0)


def test_long_values_are_exact(oci: Oci) -> None:
    def change(document: Document) -> None:
        document["process"]["env"].append(f"LONG={'x' * 100_000}")

    assert oci.shell("echo -n $LONG | wc -c", change=change) == "100000\n"
