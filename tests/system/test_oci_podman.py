"""podman with `stackpy-oci` as its runtime: run, -it, exec, stop, limits, pause, hooks of its own making."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oci_lab import REPOSITORY, make_rootfs

pytestmark = pytest.mark.root

# podman's own defaults are above what a host without CAP_SYS_RESOURCE can give.
QUIET = ("--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")


class Podman:
    """podman with a store of its own and our runtime."""

    def __init__(self, folder: Path) -> None:
        runtime = folder / "stackpy-oci"
        program = f"import sys; sys.path[:0] = {[str(REPOSITORY), str(REPOSITORY / 'runtime')]!r}; "
        program += "from stackpy.cli.main import oci; oci()"
        runtime.write_text(f"#!{sys.executable}\n{program}\n")
        runtime.chmod(0o755)
        self.folder = folder  # its current one too: conmon leaves notes there
        self.words = [
            "podman",
            f"--root={folder}/root",
            f"--runroot={folder}/run",
            f"--tmpdir={folder}/tmp",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            f"--runtime={runtime}",
        ]

    def __call__(self, *words: str, code: int = 0, given: str = "") -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*self.words, *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.folder,
        )
        assert result.returncode == code, f"{words}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def out(self, *words: str) -> str:
        """What a command prints."""
        return self(*words).stdout.strip()


@pytest.fixture(name="podman", scope="module")
def podman_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    podman = Podman(folder)
    make_rootfs(folder / "rootfs")
    with tarfile.open(folder / "base.tar", "w") as archive:
        archive.add(folder / "rootfs", ".")
    podman("import", "--change", "ENV PATH=/bin", str(folder / "base.tar"), "base")
    before = set(os.listdir())
    yield podman
    assert set(os.listdir()) <= before
    podman("rm", "--force", "--all", "--time", "0")
    podman("rmi", "--all", "--force")
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if str(folder) in line:
            subprocess.run(["umount", "-l", line.split()[4]], check=False)


def test_it_knows_the_runtime(podman: Podman) -> None:
    assert "stackpy-oci version" in podman.out("info", "--format", "{{.Host.OCIRuntime.Version}}")


def test_run_its_output_and_exit_codes(podman: Podman) -> None:
    result = podman("run", "--rm", *QUIET, "-i", "base", "sh", "-c", "cat; echo err >&2; exit 42", given="in", code=42)
    assert (result.stdout, result.stderr) == ("in", "err\n")
    assert "not found" in podman("run", "--rm", *QUIET, "base", "nosuch", code=127).stderr
    assert "denied" in podman("run", "--rm", *QUIET, "base", "/etc", code=126).stderr


def test_a_terminal(podman: Podman) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(podman.folder)
        os.execvp(
            "podman", [*podman.words, "run", "--rm", "-it", *QUIET, "base", "sh", "-c", "tty; read x; echo got $x"]
        )
    shown = b""
    while b"/dev/pts/0" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"word\n")
    try:
        while data := os.read(terminal, 1000):
            shown += data
    except OSError:
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"got word" in shown


def test_the_life_of_a_container(podman: Podman) -> None:
    podman("run", "-d", "--name", "life", *QUIET, "base", "sh", "-c",
           "trap 'echo stopping; exit 3' TERM; echo up; while true; do sleep 0.05; done")  # fmt: skip
    assert podman.out("ps", "--format", "{{.Names}}") == "life"
    assert podman.out("inspect", "life", "--format", "{{.State.Status}}") == "running"
    assert podman.out("exec", "life", "sh", "-c", "echo $PATH; id -u") == "/bin\n0"
    podman("exec", "life", "sh", "-c", "exit 9", code=9)
    podman("exec", "life", "nosuch", code=127)
    assert "sh -c trap" in podman.out("top", "life")
    podman("pause", "life")
    assert podman.out("inspect", "life", "--format", "{{.State.Status}}") == "paused"
    podman("unpause", "life")
    podman("stop", "--time", "20", "life")
    assert podman.out("inspect", "life", "--format", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
    assert podman.out("logs", "life") == "up\nstopping"
    podman("start", "life")
    assert podman.out("inspect", "life", "--format", "{{.State.Status}}") == "running"
    podman("kill", "life")
    podman("rm", "--force", "--time", "0", "life")


def test_limits(podman: Podman) -> None:
    limits = ("--memory=64m", "--pids-limit=30", "--cpus=0.5", "--cpu-shares=512", "--oom-score-adj=500")
    script = (
        "cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.shares /proc/self/oom_score_adj"
    )
    found = podman.out("run", "--rm", *QUIET, *limits, "base", "sh", "-c", f"cd /sys/fs/cgroup; {script}; ulimit -n")
    assert found.split() == [str(64 << 20), "30", "50000", "512", "500", "1024"]
    podman("run", "--rm", *QUIET, "--memory=16m", "--memory-swap=16m", "--tmpfs=/t", "base",
           "dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=60", code=137)  # fmt: skip


def test_what_podman_asks_of_a_sandbox(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("shared")
    tmp_path.chmod(0o755)
    words = ("run", "--rm", *QUIET, "--read-only", "--user=1000:1000", "--cap-drop=ALL", "--cap-add=KILL",
             "--security-opt=no-new-privileges", "--hostname=box", f"--volume={tmp_path}:/v:ro",
             "--device=/dev/fuse", "--sysctl=net.ipv4.ip_forward=1", "--init=false", "--workdir=/tmp",
             "--tmpfs=/t:size=1m", "base", "sh", "-c")  # fmt: skip
    script = (
        "id -u; hostname; cat /v/file; echo; touch /x 2>/dev/null || echo ro; touch /v/x 2>/dev/null || echo ro; pwd;"
        " cat /proc/sys/net/ipv4/ip_forward; ls /dev/fuse; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status"
    )
    lines = podman.out(*words, script).split()
    assert lines[:8] == ["1000", "box", "shared", "ro", "ro", "/tmp", "1", "/dev/fuse"]
    assert lines[9] == "0000000000000020"
    assert lines[11:14:2] == ["1", "2"]


def test_privileged_and_the_host_s_namespaces(podman: Podman) -> None:
    found = podman.out("run", "--rm", "--privileged", "--pid=host", "--ipc=host", "--uts=host", *QUIET, "base",
                       "sh", "-c", "readlink /proc/self/ns/pid; cat /proc/mounts | grep -c cgroup")  # fmt: skip
    assert found
    assert podman.out("run", "--rm", "--pid=host", *QUIET, "base", "readlink", "/proc/self/ns/pid") == os.readlink(
        "/proc/self/ns/pid"
    )


def test_a_pod_shares_namespaces(podman: Podman) -> None:
    podman("run", "-d", "--name", "first", *QUIET, "base", "sleep", "1000")
    words = ("run", "--rm", "--pid=container:first", "--ipc=container:first", "--ulimit=nofile=1024:1024",
             "--ulimit=nproc=4096:4096", "--network=container:first", "base")  # fmt: skip
    assert "sleep 1000" in podman.out(*words, "ps")
    podman("rm", "--force", "--time", "0", "first")


def test_a_user_namespace(podman: Podman) -> None:
    mapping = ("--uidmap=0:1870000000:65536", "--gidmap=0:1870000000:65536")
    found = podman.out(
        "run", "--rm", *QUIET, *mapping, "base", "sh", "-c", "cat /proc/self/uid_map; id -u; touch /made"
    )
    assert found.split() == ["0", "1870000000", "65536", "0"]


def test_update(podman: Podman) -> None:
    podman("run", "-d", "--name", "up", *QUIET, "base", "sleep", "1000")
    podman("update", "--memory=32m", "up")
    assert podman.out("exec", "up", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes") == str(32 << 20)
    document = json.loads(podman.out("inspect", "up"))[0]
    assert document["OCIRuntime"].endswith("stackpy-oci")
    podman("rm", "--force", "--time", "0", "up")
