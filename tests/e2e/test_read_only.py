"""Commands that only look have no way to write: what they ask of the kernel is looked at, call by call."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Cli, checked_out, clean_host

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, Network, Output, Secret, Volume
image = Image.host("sleep", "sh").copy("file", "/file").cmd(["sleep", "1000"])
data, back, key = Volume("data"), Network("back"), Secret("key", env="KEY")
web = Container("web", image=image, networks=[back], volumes={data: "/data"}, secrets=[key], ports=["{port}:80"],
                mem_limit="64m", stop_grace_period=0)
Output("port", web.port(80))
"""
LOOKING = (
    "plan", "plan --destroy", "plan --refresh-only", "drift", "why web", "why port {port}", "show {plan}", "graph",
    "history", "history 1", "validate", "output", "output port --format json", "ls", "rollback 1 --dry-run",
    "plan --format html", "plan --target web --replace web", "drift --format json", "why blob {blob}",
)  # fmt: skip
# What changes a file system, a mount, a process, a filter or a network.
CHANGING = (
    "mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat "
    "chmod fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat truncate ftruncate fallocate "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr mount umount2 move_mount fsmount open_tree "
    "mount_setattr pivot_root unshare setns bpf kill tgkill pidfd_send_signal sethostname copy_file_range splice "
    "sendfile flock"
).split()
LOOKED_AT = [*CHANGING, *"open openat openat2 creat socket connect write pwrite64 writev pwritev".split()]
# SQLite's own bookkeeping of readers, which may write the two files beside the index.
ALLOWED = re.compile(r"/state\.db(-wal|-shm)?$|^/dev/(null|tty)$")
BESIDE = re.compile(r"\d+<[^>]*/state\.db-(wal|shm)>")
OUTWARDS = re.compile(r"socket\(.*AF_NETLINK|connect\(.*supervisor\.sock|p?write\w*\(\d+<[^>]*/state\.db>")


def offences(log: str) -> list[str]:
    """The lines of a trace that change something."""
    found = []
    for line in log.splitlines():
        call = re.sub(r"^\d+ +", "", line)
        name, _, rest = call.partition("(")
        opens = name.startswith(("open", "creat")) and re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE)", rest)
        path = re.search(r'"([^"]*)"', rest)
        if (
            (name in CHANGING and not BESIDE.match(rest))
            or (opens and not (path and ALLOWED.search(path[1])))
            or OUTWARDS.match(call)
        ):
            found.append(call)
    return found


def test_what_only_looks_asks_the_kernel_for_no_change(cli: Cli, tmp_path: Path, free_port: int) -> None:
    folder = tmp_path / "looked"
    folder.mkdir()
    (folder / "file").write_text("one")
    (folder / "stack.py").write_text(STACK.replace("{port}", str(free_port)))
    cli.environment["KEY"] = "value"
    # the interpreter's own cache is not the commands' matter
    cli.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    cli("apply", "--yes", cwd=folder)
    # something to plan, something to find, and files whose hashes are not known
    cli("update", "--memory", "48m", "looked-web-1")
    (folder / "file").write_text("another")
    plan, log = tmp_path / "plan", tmp_path / "trace"
    blob = cli.json("image", "ls")[0]["id"]
    cli("plan", "--out", str(plan), cwd=folder)
    found = {}
    for line in LOOKING:
        words = line.format(port=free_port, plan=plan, blob=blob).split()
        trace = ["strace", "-f", "-y", "--seccomp-bpf", "-e", f"trace={','.join(LOOKED_AT)}", "-o", str(log)]
        done = subprocess.run(
            [*trace, *cli.program, *words], cwd=folder, env=cli.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 2), f"{line}: {done.stdout}{done.stderr}"
        assert "openat(" in log.read_text(), "the trace has seen nothing"
        if wrong := offences(log.read_text()):
            found[line] = wrong
    assert found == {}


def test_who_may_read_the_root_may_look() -> None:
    # pytest's own folders are root's alone
    with tempfile.TemporaryDirectory() as name, clean_host(checked_out(Path(name) / "root")) as cli:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "stack.py").write_text(
            "from stackpy import Container, HealthCheck, Image, Stack\n"
            'Stack("shown")\n'
            'check = HealthCheck(["sleep", "0"])\n'
            'Container("web", image=Image.host("sleep"), command=["sleep", "1000"], healthcheck=check)\n'
        )
        cli("apply", "--yes", cwd=folder)
        cli("kill", "web", cwd=folder)
        subprocess.run(["chmod", "-R", "a+rX", cli.root], check=True)
        # the right over files is for this Python, which may lie in root's home
        rights = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
        cli.program = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *rights, *cli.program]
        try:
            assert "! container.web" in cli("plan", cwd=folder).stdout
            assert "killed by SIGKILL" in cli("why", "web", cwd=folder).stdout
            assert cli("inspect", "--format", "{{len .State.Health.Log}}", "web", cwd=folder).stdout == "1\n"
            for line in ("plan --destroy", "drift", "history 1", "logs --details web"):
                cli(*line.split(), cwd=folder)
            refused = cli("start", "web", cwd=folder, code=1).stderr
        finally:
            del cli.program[: len(rights) + 4]
    assert refused == "error: containers are run by root, and this user is not root\nhint: run it again with sudo\n"
