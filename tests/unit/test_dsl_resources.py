"""What a container may use and finds around it, in the forms of the Compose specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pytest

from stackpy.dsl import container_fields, resource_fields, specs
from stackpy_runtime.container import ulimits
from stackpy_runtime.model import ContainerConfig, Limits
from stackpy_runtime.model.resources import Surroundings
from tests.unit.stack_files import complaints, resources


def test_the_fields_are_the_engines() -> None:
    assert (*resource_fields.LIMITS,) == specs.LIMITS
    assert (*resource_fields.SURROUNDINGS,) == specs.SURROUNDINGS
    # Compose has no field for memory nodes; the flag of `run` is the engine's own
    assert {*specs.LIMITS, "cpuset_mems"} == set(get_type_hints(Limits))
    assert {*specs.LIMITS, *specs.SURROUNDINGS, "cpuset_mems"} == set(get_type_hints(Surroundings))
    assert set(get_type_hints(Surroundings)) <= set(get_type_hints(ContainerConfig))
    assert {*specs.LIMITS, *specs.SURROUNDINGS} <= set(container_fields.JOB_FIELDS)
    assert sorted(resource_fields.ULIMITS) == sorted(ulimits.NUMBERS)


MEMORY = "mem_limit='64m', "


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("mem_limit='64m', memswap_limit='1g', mem_reservation=1048576, mem_swappiness='0'",
         {"mem_limit": 64 << 20, "memswap_limit": 1 << 30, "mem_reservation": 1 << 20, "mem_swappiness": 0}),
        (f"{MEMORY} memswap_limit=-1", {"mem_limit": 64 << 20, "memswap_limit": -1}),
        (f"{MEMORY} memswap_limit='-1', oom_kill_disable=True",
         {"mem_limit": 64 << 20, "memswap_limit": -1, "oom_kill_disable": True}),
        ("memswap_limit=0, mem_reservation=0, cpu_shares=0, cpu_period=0, cpu_quota=-1, cpuset='', shm_size=0", {}),
        ("mem_swappiness=-1", {}),
        ("cpu_shares='512', cpu_period='50ms', cpu_quota=20000, cpuset='0-2,4'",
         {"cpu_shares": 512, "cpu_period": 50000, "cpu_quota": 20000, "cpuset": "0-2,4"}),
        ("cpu_rt_runtime='400ms', cpu_rt_period=1000000", {"cpu_rt_runtime": 400000, "cpu_rt_period": 1000000}),
        ("cpuset=1", {"cpuset": "1"}),
        ("cpuset='0-2147483647'", {"cpuset": "0-2147483647"}),  # the host says no, and counts nothing out
        (("blkio_config={'weight': 300, 'weight_device': [{'path': '/dev/sda', 'weight': 400}], "
         "'device_read_bps': [{'path': '/dev/sdb', 'rate': '12mb'}], 'device_read_iops': [{'path': '/dev/sdb', "
         "'rate': 120}], 'device_write_bps': [{'path': '/dev/sdb', 'rate': '1024k'}], 'device_write_iops': [{'path': "
         "'/dev/sdb', 'rate': 30}]}"),
         {"blkio_config": {"weight": 300, "weight_device": [{"path": "/dev/sda", "weight": 400}],
                           "device_read_bps": [{"path": "/dev/sdb", "rate": 12 << 20}],
                           "device_read_iops": [{"path": "/dev/sdb", "rate": 120}],
                           "device_write_bps": [{"path": "/dev/sdb", "rate": 1 << 20}],
                           "device_write_iops": [{"path": "/dev/sdb", "rate": 30}]}}),
        ("blkio_config={'weight': 0, 'weight_device': []}", {}),
        ("shm_size='2gb'", {"shm_size": 2 << 30}),
        ("ulimits={'nproc': 65535, 'nofile': {'soft': 20000, 'hard': '40000'}, 'core': 'unlimited', 'as': -1}",
         {"ulimits": {"as": {"soft": -1, "hard": -1}, "core": {"soft": -1, "hard": -1},
                      "nofile": {"soft": 20000, "hard": 40000}, "nproc": {"soft": 65535, "hard": 65535}}}),
        ("ulimits={}", {}),
        ("sysctls={'net.core.somaxconn': 1024, 'kernel.msgmax': '65536'}",
         {"sysctls": {"net.core.somaxconn": "1024", "kernel.msgmax": "65536"}}),
        ("sysctls=['net.ipv4.tcp_syncookies=0', 'net/core/somaxconn=1']",
         {"sysctls": {"net.ipv4.tcp_syncookies": "0", "net/core/somaxconn": "1"}}),
        ("oom_score_adj='-500', init=True", {"oom_score_adj": -500, "init": True}),
        ("group_add=['mail', 33, 'mail']", {"group_add": ["mail", "33"]}),
        ("domainname='example.com'", {"domainname": "example.com"}),
        (("extra_hosts=['somehost=162.242.195.82', 'otherhost:50.31.209.229', 'six=::1', 'more=[::1]', "
         "'me:host-gateway']"),
         {"extra_hosts": {"somehost": ["162.242.195.82"], "otherhost": ["50.31.209.229"], "six": ["::1"],
                          "more": ["::1"], "me": ["host-gateway"]}}),
        ("extra_hosts={'a': '1.2.3.4', 'b': ['1.2.3.4', '::1']}",
         {"extra_hosts": {"a": ["1.2.3.4"], "b": ["1.2.3.4", "::1"]}}),
        ("dns='8.8.8.8', dns_search='example.com', dns_opt=['use-vc', 'no-tld-query']",
         {"dns": ["8.8.8.8"], "dns_search": ["example.com"], "dns_opt": ["use-vc", "no-tld-query"]}),
        ("dns=['8.8.8.8', '::1'], dns_search=['.']", {"dns": ["8.8.8.8", "::1"], "dns_search": ["."]}),
        ("annotations={'com.example.foo': 'bar'}", {"annotations": {"com.example.foo": "bar"}}),
        ("annotations=['com.example.foo=bar', 'com.example.stackpy.x']",
         {"annotations": {"com.example.foo": "bar", "com.example.stackpy.x": ""}}),
        ("cgroup_parent='m-executor-abcd/', cgroup='host'", {"cgroup_parent": "/m-executor-abcd", "cgroup": "host"}),
        ("storage_opt={'size': '1G'}", {"storage_opt": {"size": 1 << 30}}),
        ("tmpfs='/run:size=1m,mode=755,uid=1000,gid=50,exec,nosuid,nodev'",
         {"volumes": [{"type": "tmpfs", "source": "", "target": "/run", "read_only": False, "size": 1 << 20,
                       "mode": 0o755, "uid": 1000, "gid": 50, "executable": True}]}),
        ("volumes=[{'type': 'tmpfs', 'target': '/run', 'tmpfs': {'size': '1m', 'mode': 0o700, 'uid': 5}}]",
         {"volumes": [{"type": "tmpfs", "source": "", "target": "/run", "read_only": False, "size": 1 << 20,
                       "mode": 0o700, "uid": 5}]}),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, argument: str, expected: dict[str, Any]) -> None:
    spec = resources(tmp_path, f"Container('web', image='app', network_mode='none', {argument})")["container.web"]
    assert dict(spec.fields) == {"image": "image.web", "network_mode": "none", **expected}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("mem_limit='lots'", '`mem_limit` of container `web` must be a size such as "256m"'),
        ("memswap_limit='1g'", "`memswap_limit` of container `web` counts memory and swap together"),
        (f"{MEMORY}memswap_limit='1m'", "`memswap_limit` of container `web` is less than mem_limit"),
        (f"{MEMORY}mem_reservation='65m'", "`mem_reservation` of container `web` is more than mem_limit"),
        ("oom_kill_disable=True", "`oom_kill_disable` of container `web` needs mem_limit"),
        ("mem_swappiness=101", "must be a whole number from -1 to 100, not 101"),
        ("cpus=1, cpu_quota=1000", "`cpu_quota` of container `web` cannot be used with cpus"),
        ("cpu_period='x'", "must be a duration"),
        ("cpu_shares=-1", "must be a whole number from 0 to 262144"),
        ("cpuset='a-b'", 'must be a list of CPUs such as "0-2,4", not "a-b"'),
        ("cpu_count=2", "on Linux `cpus` says how many"),
        ("blkio_config={'weight': 5}", "must be a whole number from 10 to 1000, not 5"),
        ("blkio_config={'device_read_bp': []}", "did you mean `device_read_bps`?"),
        ("blkio_config={'device_read_bps': [{'path': '/dev/sda'}]}", "must be a mapping with `path` and `rate`"),
        ("blkio_config={'device_read_bps': [{'path': '/dev/sda', 'rate': 0}]}", "must be a rate above 0"),
        ("shm_size=5", "must be at least 4 KiB"),
        ("ulimits={'nofiles': 5}", "did you mean `nofile`?"),
        ("ulimits={'nofile': {'soft': 5}}", "must have `soft` and `hard`"),
        ("ulimits={'nofile': {'soft': 5, 'hard': 4}}", "has a soft limit above the hard one: 5 and 4"),
        ("sysctls={'somaxconn': 1}", "is not the name of a sysctl"),
        ("sysctls=['net.core.somaxconn']", "must have a value"),
        ("oom_score_adj=2000", "must be a whole number from -1000 to 1000"),
        ("init='yes'", "must be True or False"),
        ("group_add=['a b']", "must be a group's name or number"),
        ("domainname='a b'", "must be a domain such as example.com"),
        ("extra_hosts=['a']", "must be NAME:ADDRESS"),
        ("extra_hosts={'a': 'b'}", "must be an IP address or host-gateway"),
        ("dns=['example.com']", "must be an IP address"),
        ("dns_search=['a b']", "must be one word"),
        ("cgroup_parent='../x'", "must be the path of a control group"),
        ("cgroup='mine'", "must be `host` or `private`"),
        ("storage_opt={'sizes': 1}", "must be a mapping with `size`"),
        ("tmpfs='/run:uid=70000'", "has a uid that must be a whole number from 0 to 65535"),
        ("tmpfs='/run:suid'", "has an unknown option `suid`"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, argument: str, said: str) -> None:
    assert said in complaints(tmp_path, f"Container('web', image='app', {argument})")
