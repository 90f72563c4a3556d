"""Values of the container commands: environment, times, signals, and `run`'s flags as a container configuration."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stackpy.cli.commands.kill import signal_name
from stackpy.cli.commands.run import COMMAND
from stackpy.cli.environment import merged
from stackpy.cli.parsing import parse_command, to_arguments
from stackpy.cli.quantities import moment, seconds, tail
from stackpy.cli.run_config import config
from stackpy.errors import StackpyError, UsageError


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10.0), ("1.5", 1.5), ("2m", 120.0), ("1h30m", 5400.0), ("100ms", 0.1), ("0", 0.0)]
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "10 apples", "1m2"])
def test_seconds_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
        ("1767225600", "2026-01-01T00:00:00.000000Z"),
        ("1767225600.5", "2026-01-01T00:00:00.500000Z"),
    ],
)
def test_moment(text: str, expected: str) -> None:
    assert moment(text) == expected


def test_moments_compare_as_text_with_the_times_of_a_log() -> None:
    half = "2026-01-31T12:00:00.500000Z"
    assert moment("2026-01-31T12:00:00Z") < half < moment("2026-01-31T12:00:01Z")


def test_moment_ago() -> None:
    found = datetime.fromisoformat(moment("10m"))
    assert found.tzinfo == UTC
    assert abs(found.timestamp() - (time.time() - 600)) < 5


def test_tail() -> None:
    assert (tail("all"), tail("20"), tail("-1")) == (None, 20, None)
    with pytest.raises(ValueError, match="not a number of lines"):
        tail("many")


@pytest.mark.parametrize(
    ("text", "expected"), [("TERM", "TERM"), ("sigterm", "TERM"), ("15", "15"), ("rtmin+1", "RTMIN+1")]
)
def test_signal_names(text: str, expected: str) -> None:
    assert signal_name(text) == expected


@pytest.mark.parametrize("text", ["FOO", "0", "99", ""])
def test_signal_names_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a signal"):
        signal_name(text)


def test_environment(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("\ufeffA=0\n# a comment\n\nA=1\nB = 2\nHOME_DIR\nC=x=y # kept\n".replace("B = 2", "B=2 "))
    ours = {"HOME_DIR": "/root", "D": "ours"}
    assert merged(["A=9", "D", "NOT_SET", "E="], [str(file)], ours) == {
        "A": "9", "B": "2 ", "HOME_DIR": "/root", "C": "x=y # kept", "D": "ours", "E": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (["=1"], "`-e =1`: a variable needs a name without spaces"),
        (["A B=1"], "`-e A B`: a variable needs a name without spaces"),
    ],
)
def test_environment_refused(variables: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        merged(variables, [], {})
    assert caught.value.message == message


def test_environment_file_missing() -> None:
    with pytest.raises(StackpyError) as caught:
        merged([], ["/nowhere/env"], {})
    assert caught.value.message == "cannot read `/nowhere/env`: No such file or directory"


def run_config(line: str) -> dict[str, Any]:
    """What `stackpy run LINE` asks of the engine."""
    parsed = parse_command(line.split(), COMMAND.options, COMMAND.arguments, "stackpy run")
    return config(to_arguments(parsed))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", {}),
        ("-v /data x", {"mounts": [{"type": "volume", "source": "", "target": "/data", "read_only": False}]}),
        ("--mount src=data,dst=/d,ro,volume-nocopy x", {"mounts": [
            {"type": "volume", "source": "data", "target": "/d", "read_only": True, "nocopy": True}]}),
        ("--mount type=bind,source=/etc,target=/d,readonly=false x", {"mounts": [
            {"type": "bind", "source": "/etc", "target": "/d", "read_only": False}]}),
        ("--mount type=tmpfs,destination=/t,tmpfs-size=64m,tmpfs-mode=700 x", {"mounts": [
            {"type": "tmpfs", "source": "", "target": "/t", "read_only": False, "size": 64 << 20, "mode": 0o700}]}),
        ("--rm -it --name n x sh", {
            "name": "n", "auto_remove": True, "stdin_open": True, "stdin_once": True, "tty": True, "command": ["sh"],
        }),
        ("-e A=1 -e B=2 x", {"environment": {"A": "1", "B": "2"}}),
        ("-m 256m --cpus 0.5 --pids-limit 20 x", {"mem_limit": 268435456, "cpus": 0.5, "pids_limit": 20}),
        ("-m 64m --memory-swap -1 --memory-reservation 32m --memory-swappiness 0 --oom-kill-disable x", {
            "mem_limit": 64 << 20, "memswap_limit": -1, "mem_reservation": 32 << 20, "mem_swappiness": 0,
            "oom_kill_disable": True,
        }),
        ("-c 512 --cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0-1 --cpuset-mems 0 --cpu-rt-runtime 1000 x", {
            "cpu_shares": 512, "cpu_period": 50000, "cpu_quota": 20000, "cpuset": "0-1", "cpuset_mems": "0",
            "cpu_rt_runtime": 1000,
        }),
        ("--pids-limit -1 --cpu-quota -1 --shm-size 0 x", {}),
        ("--blkio-weight 300 --device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:5 x", {"blkio_config": {
            "weight": 300, "device_read_bps": [{"path": "/dev/sda", "rate": 1 << 20}],
            "device_write_iops": [{"path": "/dev/sda", "rate": 5}],
        }}),
        ("--ulimit nofile=10:20 --ulimit core=-1 --shm-size 1m --oom-score-adj 5 --init x", {
            "ulimits": {"nofile": {"soft": 10, "hard": 20}, "core": {"soft": -1, "hard": -1}}, "shm_size": 1 << 20,
            "oom_score_adj": 5, "init": True,
        }),
        ("--sysctl net.core.somaxconn=5 --group-add mail --group-add 7 --domainname example.org x", {
            "sysctls": {"net.core.somaxconn": "5"}, "group_add": ["mail", "7"], "domainname": "example.org",
        }),
        ("--add-host a:1.2.3.4 --add-host b:host-gateway --dns ::1 --dns-search . --dns-opt ndots:2 x", {
            "extra_hosts": {"a": ["1.2.3.4"], "b": ["host-gateway"]}, "dns": ["::1"], "dns_search": ["."],
            "dns_opt": ["ndots:2"],
        }),
        ("--dns-option ndots:2 --annotation a=b --cgroup-parent /x --cgroupns host --storage-opt size=1G x", {
            "dns_opt": ["ndots:2"], "annotations": {"a": "b"}, "cgroup_parent": "/x", "cgroup": "host",
            "storage_opt": {"size": 1 << 30},
        }),
        ("-p 8080:80 -p 0.0.0.0:53:53/udp x", {"ports": [
            {"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"},
            {"host_ip": "0.0.0.0", "published": 53, "target": 53, "protocol": "udp"},
        ]}),
        ("-p 80 x", {"ports": [{"host_ip": "127.0.0.1", "published": 0, "target": 80, "protocol": "tcp"}]}),
        ("-v data:/data:ro -v /tmp:/host --tmpfs /cache:size=1m x", {"mounts": [
            {"type": "volume", "source": "data", "target": "/data", "read_only": True},
            {"type": "bind", "source": "/tmp", "target": "/host", "read_only": False},
            {"type": "tmpfs", "source": "", "target": "/cache", "read_only": False, "size": 1048576},
        ]}),
        ("-d -i x", {"stdin_open": True}),
        ("--tmpfs /t:size=10%,nr_inodes=10k x", {"mounts": [
            {"type": "tmpfs", "source": "", "target": "/t", "read_only": False, "size": "10%", "nr_inodes": 10240}]}),
        ("-u :5 x", {"user": ":5"}),
        ("-i -a STDIN x", {"stdin_open": True, "stdin_once": True}),
        ("-i -a stdout x", {"stdin_open": True}),
        ("-i -a stdin x", {"stdin_open": True, "stdin_once": True}),
        ("--network none x", {"network_mode": "none"}),
        ("--network back --network front --network-alias db x", {"networks": {
            "back": {"aliases": ["db"]}, "front": {"aliases": ["db"]},
        }}),
        ("--network name=back,alias=db,alias=sql,ip=10.0.0.9,gw-priority=-1 --network front --network-alias www x", {
            "networks": {
                "back": {"aliases": ["db", "sql", "www"], "ipv4_address": "10.0.0.9", "gw_priority": -1},
                "front": {"aliases": ["www"]},
            }
        }),
        ("--network name=none x", {"network_mode": "none"}),
        ("-v /tmp:/x:ro,rslave -v data:/d:nocopy x", {"mounts": [
            {"type": "bind", "source": "/tmp", "target": "/x", "read_only": True, "propagation": "rslave"},
            {"type": "volume", "source": "data", "target": "/d", "read_only": False, "nocopy": True}]}),
        ("--mount type=bind,src=/tmp,dst=/x,bind-propagation=shared,bind-recursive=disabled x", {"mounts": [
            {"type": "bind", "source": "/tmp", "target": "/x", "read_only": False, "propagation": "shared",
             "recursive": "disabled"}]}),
        ("--mount src=data,dst=/d,volume-subpath=a/b,volume-nocopy=false,volume-driver=local x", {"mounts": [
            {"type": "volume", "source": "data", "target": "/d", "read_only": False, "nocopy": False,
             "subpath": "a/b"}]}),
        ('--mount "src=a",dst=/d x', {"mounts": [
            {"type": "volume", "source": "a", "target": "/d", "read_only": False}]}),
        ("--network back --ip 10.0.0.9 x", {"networks": {"back": {"aliases": [], "ipv4_address": "10.0.0.9"}}}),
        ("-w /app -u 1000:1000 -h box --entrypoint sh x -c ls", {
            "working_dir": "/app", "user": "1000:1000", "hostname": "box",
            "entrypoint": ["sh"], "command": ["-c", "ls"],
        }),
        ("--read-only --restart on-failure:3 --stop-signal INT --stop-timeout 3 x", {
            "read_only": True, "restart": "on-failure:3", "stop_signal": "SIGINT", "stop_grace_period": 3.0,
        }),
        ("--cap-add NET_ADMIN --cap-drop ALL -l a=b --label c x", {
            "cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"], "labels": {"a": "b", "c": ""},
        }),
        ("--health-cmd true --health-interval 1s --health-retries 2 x", {"healthcheck": {
            "test": ["/bin/sh", "-c", "true"], "interval": 1.0, "timeout": 30.0, "retries": 2,
            "start_period": 0.0, "start_interval": 5.0,
        }}),
    ],
)  # fmt: skip
def test_run_flags(line: str, expected: dict[str, Any]) -> None:
    assert run_config(line) == {"name": "", "image": "x", **expected}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-m lots x", '`--memory lots`: must be a size such as "256m" or "1.5gb", or a number of bytes, not "lots"'),
        ("--cpus many x", '`--cpus many`: must be a number of processors such as 0.5, not "many"'),
        ("-p 70000:80 x", None),
        ("-v data x", None),
        ("--mount type=bind,source=/no/such,target=/x x",
         "`--mount type=bind,source=/no/such,target=/x`: there is no `/no/such` on this host"),
        ("--mount data x", "`--mount data`: `data` must be KEY=VALUE"),
        ("--mount type=nfs,target=/x x", None),
        ("--mount target=/x,readonly=perhaps x",
         "`--mount target=/x,readonly=perhaps`: `readonly` must be true or false, not `perhaps`"),
        ("--mount target=/x,propagation=shared x", None),
        ("-v /no/such:/x x", "`--volume /no/such:/x`: there is no `/no/such` on this host"),
        ("-v a:b:c:d x", None),
        (
            "--restart sometimes x",
            (
                "`--restart sometimes`: must be `no`, `always`, `on-failure`, `on-failure:N` or `unless-stopped`, not"
                ' "sometimes"'
            ),
        ),
        ("--rm --restart always x", "`--rm` and `--restart` exclude each other"),
        ("--network none --network a x", None),
        ("--network none --network-alias a x",
         "`--network none` goes with no other network, alias, address or published port"),
        ("-p 1:1 --network host x", "`--network host` goes with no other network, alias, address or published port"),
        ("--ip 10.0.0.1 x", "`--ip` needs a network"),
        ("--ip nonsense --network back x",
         '`--ip nonsense`: must be an IPv4 address such as 10.5.0.10, not "nonsense"'),
        ("--ip 10.0.0.1 --network name=back,ip=10.0.0.2 x",
         "an address is given twice, by `--ip` and by `--network`"),
        ("--network back --network name=back,alias=x x", "`--network back` is given twice"),
        ("--network alias=x x", "`--network alias=x`: no network is named"),
        ("--network name=a,mac-address=02:00:00:00:00:01 x",
         "`--network name=a,mac-address=02:00:00:00:00:01`: there is no `mac-address`"),
        ("--network name=a,gw-priority=high x",
         '`--network name=a,gw-priority=high`: must be a whole number, not "high"'),
        ("--mount src=a,dst=/d,volume-opt=type=nfs x",
         "`--mount src=a,dst=/d,volume-opt=type=nfs`: there is no `volume-opt`"),
        ("-v /tmp:/x:slow x",
         "`--volume /tmp:/x:slow`: has an unknown option `slow`"),
        ("--cap-add NET-ADMIN x", '`--cap-add NET-ADMIN`: must be a capability such as "NET_ADMIN", not "NET-ADMIN"'),
        ("-l stackpy.stack=x x", None),
        ("-w app x", '`--workdir app`: must be an absolute path, not "app"'),
        ("-h a_b x", None),
        ("-u a:b:c x", None),
        ("-u : x", None),
        ("--cpus 0.009 x", '`--cpus 0.009`: must be at least 0.01, not "0.009"'),
        ("--tmpfs /x:size=101% x", None),
        ("--tmpfs /x:noatime x", "`--tmpfs /x:noatime`: has an unknown option `noatime`"),
        ("--log-opt mode=non-blocking x", "`--log-opt mode`: has an unknown key `mode`"),
        ("--tmpfs /x:size=big x", None),
    ],
)  # fmt: skip
def test_run_flags_refused(line: str, message: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        run_config(line)
    assert message in (None, caught.value.message)
    assert caught.value.hint or caught.value.message
