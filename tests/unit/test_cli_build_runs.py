"""Options of `stackpy build` for all its RUN steps: docker's words, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.cli import build_runs
from stackpy.cli.commands.build import COMMAND
from stackpy.cli.parsing import parse_command, to_arguments
from stackpy.errors import UsageError


def parsed(line: str) -> Any:
    return to_arguments(parse_command(line.split(), COMMAND.options, COMMAND.arguments, "stackpy build"))


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("", {}),
        ("--network default", {}),
        ("--network none", {"network": "none"}),
        ("--network host --allow network.host", {"network": "host"}),
        (
            "--add-host a:10.0.0.1 --add-host b=::1 --add-host a=[::2] --add-host c:host-gateway",
            {"extra_hosts": {"a": ["10.0.0.1", "::2"], "b": ["::1"], "c": ["host-gateway"]}},
        ),
        ("--shm-size 128m", {"shm_size": 128 << 20}),
        (
            "--ulimit nofile=10:20 --ulimit core=-1 --ulimit nproc=5:unlimited",
            {
                "ulimits": {
                    "nofile": {"soft": 10, "hard": 20},
                    "core": {"soft": -1, "hard": -1},
                    "nproc": {"soft": 5, "hard": -1},
                }
            },
        ),
        ("--rm --force-rm --compress", {}),
    ],
)
def test_settings(line: str, settings: dict[str, Any]) -> None:
    assert build_runs.settings(parsed(line)) == settings


def test_limits() -> None:
    line = "-m 64m --memory-swap -1 -c 512 --cpu-period 1000 --cpu-quota 500 --cpuset-cpus 0 --cpuset-mems 0"
    assert build_runs.limits(parsed(f"{line} --cgroup-parent /ci")) == {
        "mem_limit": 64 << 20,
        "memswap_limit": -1,
        "cpu_shares": 512,
        "cpu_period": 1000,
        "cpu_quota": 500,
        "cpuset": "0",
        "cpuset_mems": "0",
        "cgroup_parent": "/ci",
    }
    assert build_runs.limits(parsed("")) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--network host", "shows every step the host's network"),
        ("--network mine", "joins no network of containers"),
        ("--add-host a", "must be NAME:ADDRESS"),
        ("--add-host a:b", "must be an IP address or host-gateway"),
        ("--ulimit nofile", "must be NAME=SOFT or NAME=SOFT:HARD"),
        ("--ulimit nofile=a", "--ulimit nofile=a"),
        ("--ulimit nofiles=1", "is no limit of a process"),
        ("--rm=false", "no container of a step stays"),
        ("--shm-size much", "--shm-size much"),
    ],
)
def test_what_is_refused(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_runs.settings(parsed(line))


def test_what_docker_has_and_this_has_not_is_refused_with_the_reason() -> None:
    for name in build_runs.REFUSED:
        with pytest.raises(UsageError, match=f"`stackpy build` has no `{name}`: ") as refused:
            parse_command([".", f"{name}=x"], (), COMMAND.arguments, "stackpy build", build_runs.REFUSED)
        assert refused.value.hint
    parse_command(["--", "--squash"], (), COMMAND.arguments, "stackpy build", build_runs.REFUSED)
