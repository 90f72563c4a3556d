"""What is written for each limit, on either version of control groups, and what takes it away again."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.container import cgroups, limit_checks, resources, sysctls, ulimits
from stackpy_runtime.container.cgroups import Layout
from stackpy_runtime.container.limits import settings, weight_of_blkio, weight_of_shares
from stackpy_runtime.errors import EngineError, InvalidConfig, Unsupported

DISK = {"/dev/sda": "8:0"}
READ: Any = {"blkio_config": {"device_read_bps": [{"path": "/dev/sda", "rate": 1024}]}}
WEIGHT: Any = {"blkio_config": {"weight": 300, "weight_device": [{"path": "/dev/sda", "weight": 20}]}}


def written(version: int, limits: Any) -> list[tuple[str, str]]:
    return [
        (write.file, write.value) for setting in settings(version, limits, DISK).values() for write in setting.writes
    ]


def undone(version: int, limits: Any) -> list[tuple[str, str]]:
    return [(write.file, write.value) for setting in settings(version, limits, DISK).values() for write in setting.undo]


@pytest.mark.parametrize(
    ("limits", "files"),
    [
        ({}, []),
        ({"mem_limit": 0, "cpus": 0.0, "pids_limit": -1, "cpu_quota": -1}, []),
        ({"mem_limit": 64}, [("memory.max", "64"), ("memory.swap.max", "0")]),
        ({"mem_limit": 64, "memswap_limit": 100}, [("memory.max", "64"), ("memory.swap.max", "36")]),
        ({"mem_limit": 64, "memswap_limit": -1}, [("memory.max", "64"), ("memory.swap.max", "max")]),
        ({"mem_reservation": 32}, [("memory.low", "32")]),
        ({"cpus": 0.5}, [("cpu.max", "50000 100000")]),
        ({"cpu_quota": 2000, "cpu_period": 10000}, [("cpu.max", "2000 10000")]),
        ({"cpu_shares": 1024}, [("cpu.weight", "39")]),
        ({"cpuset": "0-1", "cpuset_mems": "0"}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
        ({"pids_limit": 20}, [("pids.max", "20")]),
        (WEIGHT, [("io.bfq.weight", "default 300"), ("io.bfq.weight", "8:0 20")]),
        (READ, [("io.max", "8:0 rbps=1024")]),
    ],
)
def test_version_2(limits: Any, files: list[tuple[str, str]]) -> None:
    assert written(2, limits) == files


@pytest.mark.parametrize(
    ("limits", "files"),
    [
        ({}, []),
        (
            {"mem_limit": 64},  # the limit with swap may not be below the one without
            [
                ("memory.memsw.limit_in_bytes", "-1"),
                ("memory.limit_in_bytes", "64"),
                ("memory.memsw.limit_in_bytes", "64"),
            ],
        ),
        (
            {"mem_limit": 64, "memswap_limit": -1},
            [
                ("memory.memsw.limit_in_bytes", "-1"),
                ("memory.limit_in_bytes", "64"),
                ("memory.memsw.limit_in_bytes", "-1"),
            ],
        ),
        ({"mem_reservation": 32}, [("memory.soft_limit_in_bytes", "32")]),
        ({"mem_swappiness": 0}, [("memory.swappiness", "0")]),
        ({"oom_kill_disable": True}, [("memory.oom_control", "1")]),
        ({"oom_kill_disable": False}, []),
        (
            {"cpus": 1.5},
            [("cpu.cfs_quota_us", "-1"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")],
        ),
        ({"cpu_shares": 512}, [("cpu.shares", "512")]),
        (
            {"cpu_rt_runtime": 950},
            [("cpu.rt_runtime_us", "0"), ("cpu.rt_period_us", "1000000"), ("cpu.rt_runtime_us", "950")],
        ),
        ({"cpuset": "1"}, [("cpuset.cpus", "1")]),
        (WEIGHT, [("blkio.bfq.weight", "300"), ("blkio.bfq.weight_device", "8:0 20")]),
        (READ, [("blkio.throttle.read_bps_device", "8:0 1024")]),
    ],
)
def test_version_1(limits: Any, files: list[tuple[str, str]]) -> None:
    assert written(1, limits) == files


def test_what_takes_limits_away() -> None:
    every: Any = {"mem_limit": 64, "cpus": 1.0, "pids_limit": 3, "cpu_shares": 4, "cpuset": "1", **READ}
    assert undone(2, every) == [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("cpu.max", "max 100000"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "\n"),
        ("pids.max", "max"),
        ("io.max", "8:0 rbps=max"),
    ]
    assert ("cpuset.cpus", "inherited") in undone(1, every)
    assert ("blkio.throttle.read_bps_device", "8:0 0") in undone(1, every)


def test_weights_keep_their_ends() -> None:
    assert (weight_of_shares(2), weight_of_shares(262144)) == (1, 10000)
    assert (weight_of_blkio(10), weight_of_blkio(1000)) == (1, 10000)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("0", [(0, 0)]),
        ("0-2,4", [(0, 2), (4, 4)]),
        ("0-2147483647", [(0, 2147483647)]),
        ("", None),
        ("2-1", None),
        ("0,", None),
        ("a", None),
        ("-1", None),
        ("0-99999999999999999999", None),
        ("0," * 5000 + "0", None),
    ],
)
def test_sets_are_never_counted_out(text: str, ranges: Any) -> None:
    assert limit_checks.parse_set(text) == ranges


@pytest.fixture(params=[1, 2], name="version")
def version_fixture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A host of either version, with two processors."""
    layout = Layout(request.param, {"": "/nowhere"} if request.param == 2 else {"cpu": "/nowhere"})
    monkeypatch.setattr(cgroups, "layout", lambda: layout)
    monkeypatch.setattr(limit_checks, "_present", lambda kind: "0-1" if kind == "cpu" else "0")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return int(request.param)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"mem_limit": 1}, "below 6 MiB"),
        ({"memswap_limit": 64 << 20}, "there is no mem_limit"),
        ({"mem_limit": 64 << 20, "memswap_limit": 1 << 20}, "less than mem_limit"),
        ({"mem_limit": 64 << 20, "mem_reservation": 65 << 20}, "mem_reservation"),
        ({"mem_swappiness": 101}, "mem_swappiness 101"),
        ({"cpus": 3.0}, "the 2 of this host"),
        ({"cpus": 1.0, "cpu_period": 1000}, "cpus and cpu_period exclude each other"),
        ({"cpus": 1.0, "cpu_quota": 1000}, "cpus and cpu_quota exclude each other"),
        ({"cpu_period": 999}, "cpu_period 999"),
        ({"cpu_quota": 1}, "less than 1000"),
        ({"cpu_shares": 1}, "cpu_shares 1"),
        ({"cpuset": "0-2147483647"}, "names CPUs that this host has not"),
        ({"cpuset": "x"}, "is no list of CPUs"),
        ({"cpuset_mems": "0-1"}, "names memory nodes that this host has not"),
        ({"pids_limit": -2}, "pids_limit is negative"),
        ({"blkio_config": {"weight": 9}}, "weight 9"),
        ({"blkio_config": {"device_read_bps": [{"path": "/nowhere", "rate": 1}]}}, "/nowhere: no such file"),
        ({"blkio_config": {"device_read_bps": [{"path": "/etc/passwd", "rate": 1}]}}, "is not a block device"),
        ({"ulimits": {"nofiles": {"soft": 1, "hard": 1}}}, "unknown ulimit `nofiles`"),
        ({"ulimits": {"nofile": {"soft": 2, "hard": 1}}}, "the soft limit 2 is above the hard limit 1"),
        ({"ulimits": {"nofile": {"soft": 2, "hard": 1 << 40}}}, "which this host allows at most"),
        ({"oom_score_adj": 1001}, "not between -1000 and 1000"),
        ({"shm_size": 1}, "shm_size 1"),
        ({"domainname": "a b"}, "is not a domain"),
        ({"extra_hosts": {"a": ["x"]}}, "`x` of a is not an IP address"),
        ({"extra_hosts": {"a b": ["1.2.3.4"]}}, "`a b` is not a host name"),
        ({"dns": ["example.com"]}, "is not an IP address"),
        ({"dns_search": ["a b"]}, "is not one word"),
        ({"cgroup_parent": "/a/../b"}, "is not the path of a control group"),
        ({"dns": ["::1"], "network_mode": "container:a"}, "dns and network_mode=container:a exclude each other"),
        ({"extra_hosts": {"a": ["::1"]}, "network_mode": "container:a"}, "extra_hosts and network_mode=container:a"),
        ({"extra_hosts": {"a": ["host-gateway"]}, "network_mode": "none"}, "no way to host-gateway"),
        ({"domainname": "a", "uts": "host"}, "domainname and uts=host exclude each other"),
        ({"shm_size": 1 << 20, "ipc": "host"}, "shm_size and ipc=host exclude each other"),
        ({"init": True, "pid": "container:a"}, "init is the first process of a PID namespace"),
        ({"storage_opt": {"size": 5}}, "less than 1 MiB"),
    ],
)
def test_what_no_host_or_not_this_one_can_give(config: Any, said: str) -> None:
    with pytest.raises(EngineError) as raised:
        resources.check(config)
    assert said in raised.value.message


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"mem_limit": 64 << 20, "memswap_limit": -1, "mem_reservation": 1 << 20, "cpu_period": 1000, "cpu_quota": 1000},
        {"cpuset": "0-1", "pids_limit": -1, "cpu_shares": 2},
        {"ulimits": {"core": {"soft": 0, "hard": 0}}},
        {"extra_hosts": {"a": ["1.2.3.4", "::1"], "b": ["host-gateway"]}, "dns": ["::1"], "dns_search": ["."]},
        {"cgroup_parent": "/build/one", "domainname": "example.com", "shm_size": 1 << 20},
    ],
)
def test_what_every_host_can_give(config: Any) -> None:
    resources.check(config)


@pytest.mark.parametrize(
    "config", [{"mem_swappiness": 0}, {"mem_limit": 64 << 20, "oom_kill_disable": True}, {"cpu_rt_runtime": 100}]
)
def test_what_version_2_does_not_know(version: int, config: Any) -> None:
    if version == 2:
        with pytest.raises(Unsupported, match="version 2"):
            resources.check(config)
    elif "cpu_rt_runtime" in config:
        with pytest.raises(Unsupported, match="real-time"):
            resources.check(config)
    else:
        resources.check(config)


def test_without_a_limit_the_killer_stays_on() -> None:
    with pytest.raises(EngineError, match="oom_kill_disable"):
        resources.check({"oom_kill_disable": True})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kernel.core_pattern", "of the whole host"),
        ("vm.overcommit_memory", "of the whole host"),
        ("kernel/core_pattern", "of the whole host"),
        ("net/../kernel/core_pattern", "not the name"),
        ("net...kernel", "not the name"),
        ("", "not the name"),
        ("kernel.hostname", "another field"),
    ],
)
def test_sysctls_of_the_host_are_refused(name: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        sysctls.check({name: "1"}, own_network=True, own_ipc=True)


def test_sysctls_of_namespaces() -> None:
    own = {"net.core.somaxconn": "1", "net/ipv4/ip_forward": "1", "kernel.shmmax": "1", "fs.mqueue.msg_max": "1"}
    sysctls.check(own, own_network=True, own_ipc=True)
    with pytest.raises(InvalidConfig, match="not the container's own"):
        sysctls.check({"net.core.somaxconn": "1"}, own_network=False, own_ipc=True)
    with pytest.raises(InvalidConfig, match="not the container's own"):
        sysctls.check({"kernel.shmmax": "1"}, own_network=True, own_ipc=False)
    assert sysctls.path("net.ipv4.conf.eth0/10.forwarding") == "net/ipv4/conf/eth0.10/forwarding"
    assert sysctls.path("net/ipv4/conf/eth0.10/forwarding") == "net/ipv4/conf/eth0.10/forwarding"


def test_every_limit_of_the_kernel_has_a_name() -> None:
    assert sorted(ulimits.NUMBERS.values()) == list(range(16))
