"""Limits and surroundings as users meet them: in stack files, by flags, changed while things run, refused in plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

pytestmark = pytest.mark.root

HEAD = """\
from stackpy import Container, Image, Job, Stack
Stack("limited")
image = Image.host("sh", "sleep", "cat", "id")
common = dict(image=image, command=["sleep", "600"], network_mode="none")
"""
# Each accepted form at least once.
FORMS = [
    "mem_limit='64m', memswap_limit='96m', mem_reservation=33554432, pids_limit=50, cpus='0.5'",
    "mem_limit=67108864, memswap_limit=-1, cpu_shares='200', cpuset=0",
    "cpu_period='50ms', cpu_quota=20000, cpuset='0', blkio_config={'weight': 300}",
    "mem_limit=0, cpus=0, pids_limit=-1, cpu_quota=-1, shm_size=0, cpuset=''",
    "shm_size='16m', ulimits={'nofile': {'soft': 100, 'hard': '200'}, 'core': 0}, init=True",
    "shm_size='64m', ulimits={'core': -1}, init=False, cgroup='private', oom_kill_disable=False",
    "sysctls={'net.ipv4.ip_default_ttl': 70}, oom_score_adj=5, group_add=['5', 7], domainname='example.org'",
    "sysctls=['kernel.msgmax=9000', 'net/ipv4/ip_default_ttl=71'], oom_score_adj='6'",
    "extra_hosts=['a:192.0.2.1', 'b=::1'], dns='192.0.2.53', dns_search='example.org', dns_opt=['ndots:2']",
    "extra_hosts={'a': '192.0.2.1', 'b': ['::1', '192.0.2.2']}, dns=['192.0.2.53'], dns_search=['.']",
    "annotations={'a': 'b'}, tmpfs=['/t:size=1m,uid=5,gid=6,mode=700,exec', '/u']",
    "annotations=['a=b'], volumes=[{'type': 'tmpfs', 'target': '/t', 'tmpfs': {'size': '1m', 'mode': 0o700}}]",
]


def write(folder: Path, text: str) -> None:
    (folder / "stack.py").write_text(HEAD + text)


def changes(cli: Cli, folder: Path) -> list[Any]:
    found: list[Any] = cli.json("plan", cwd=folder)["changes"]
    return found


def test_after_an_apply_there_is_nothing_to_do(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, "".join(f"Container('c{n}', **common, {form})\n" for n, form in enumerate(FORMS)))
    cli("apply", "--yes", cwd=tmp_path)
    assert changes(cli, tmp_path) == []
    shown = cli.json("inspect", "limited-c0-1")[0]["HostConfig"]
    assert (shown["Memory"], shown["MemorySwap"], shown["NanoCpus"]) == (64 << 20, 96 << 20, 500_000_000)


def test_limits_change_while_it_runs_and_the_rest_does_not(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, "Container('web', **common, mem_limit='64m', pids_limit=50, ulimits={'nofile': 100})")
    cli("apply", "--yes", cwd=tmp_path)

    def pid() -> int:
        return int(cli.json("inspect", "limited-web-1")[0]["State"]["Pid"])

    first = pid()
    write(tmp_path, "Container('web', **common, mem_limit='96m', cpuset='0', cpu_shares=300, ulimits={'nofile': 100})")
    (change,) = changes(cli, tmp_path)
    assert (change["action"], {reason["path"] for reason in change["reasons"]}) == (
        "update", {"mem_limit", "pids_limit", "cpuset", "cpu_shares"}
    )  # fmt: skip
    cli("apply", "--yes", cwd=tmp_path)
    assert (pid(), changes(cli, tmp_path)) == (first, [])
    assert "Cpus_allowed_list:\t0" in cli("exec", "limited-web-1", "cat", "/proc/self/status").stdout

    assert cli("update", "--memory", "128m", "--cpus", "0.5", "web", cwd=tmp_path).stdout == "web\n"
    assert cli.json("inspect", "limited-web-1")[0]["HostConfig"]["Memory"] == 128 << 20
    (drift,) = changes(cli, tmp_path)
    assert [reason["path"] for reason in drift["reasons"]] == ["mem_limit", "cpus"]
    refused = cli("update", "--cpus", "1", "--cpuset-cpus", "0-2147483647", "limited-web-1", code=1)
    assert "names CPUs that this host has not" in refused.stderr
    assert cli.json("inspect", "limited-web-1")[0]["HostConfig"]["NanoCpus"] == 500_000_000
    assert pid() == first

    cli("exec", "web.1", "sh", "-c", "echo kept > /written", cwd=tmp_path)
    write(tmp_path, "Container('web', **common, mem_limit='96m', cpuset='0', cpu_shares=300, ulimits={'nofile': 70})")
    assert [change["action"] for change in changes(cli, tmp_path)] == ["restart"]
    cli("apply", "--yes", cwd=tmp_path)
    assert (pid() != first, changes(cli, tmp_path)) == (True, [])
    assert cli("exec", "web.1", "sh", "-c", "ulimit -n; cat /written", cwd=tmp_path).stdout == "70\nkept\n"

    write(tmp_path, "Container('web', **common, mem_limit='96m', cpuset='0', cpu_shares=300, user='5')")
    assert [change["action"] for change in changes(cli, tmp_path)] == ["replace"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("cpuset='0-2147483647'", "names CPUs that this host has not"),
        ("cpus=100000 - 1", "is not between 0 and the"),
        ("ulimits={'nofile': 2**40}", "which this host allows at most"),
        ("sysctls={'kernel.core_pattern': 'x'}", "is of the whole host"),
        ("blkio_config={'device_read_bps': [{'path': '/dev/null', 'rate': 1}]}", "is not a block device"),
    ],
)
def test_what_the_host_cannot_give_is_an_error_of_the_plan(cli: Cli, tmp_path: Path, fields: str, said: str) -> None:
    write(tmp_path, f"Container('web', **common, {fields})\n")
    for words in (("plan",), ("apply", "--yes")):
        refused = cli(*words, cwd=tmp_path, code=1)
        assert said in refused.stderr
        assert "stack.py:5" in refused.stderr
    assert cli.json("ps") == []


def test_flags(box: Cli) -> None:
    def run(*words: str) -> str:
        return box("run", "--rm", "--pull", "never", *words).stdout

    assert run("--ulimit", "nofile=40:50", "box", "sh", "-c", "ulimit -Sn; ulimit -Hn") == "40\n50\n"
    assert run("--init", "--network", "none", "box", "cat", "/proc/1/cmdline") == "init\0cat\0/proc/1/cmdline\0"
    assert run("--sysctl", "kernel.msgmax=9000", "box", "cat", "/proc/sys/kernel/msgmax") == "9000\n"
    hosts = run("--add-host", "db:192.0.2.1", "--domainname", "example.org", "-h", "web", "box", "cat", "/etc/hosts")
    assert "192.0.2.1\tdb\n" in hosts and "web.example.org\tweb\n" in hosts
    assert "search a.example\n" in run("--dns-search", "a.example", "box", "cat", "/etc/resolv.conf")
    assert run("--group-add", "7", "box", "id", "-G") == "0 7\n"
    assert run("--oom-score-adj", "9", "box", "cat", "/proc/self/oom_score_adj") == "9\n"
    assert "--memory-swap" in box("run", "--memory-swap", "1g", "box", code=64).stderr
    assert "nofiles" in box("run", "--ulimit", "nofiles=1", "box", code=64).stderr
    assert "of the whole host" in box("run", "--sysctl", "vm.swappiness=1", "box", "true", code=125).stderr
