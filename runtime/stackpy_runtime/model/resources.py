"""What a container may use of its host, and what it finds around it. Sizes are bytes, CPU times microseconds."""

from __future__ import annotations

from typing import Literal, TypedDict


class DeviceWeight(TypedDict):
    """A block device's share of its time, from 10 to 1000."""

    path: str
    weight: int


class DeviceRate(TypedDict):
    """How much a second of a block device: bytes, or operations."""

    path: str
    rate: int


class Blkio(TypedDict, total=False):
    """Shares and rates of block devices."""

    weight: int
    weight_device: list[DeviceWeight]
    device_read_bps: list[DeviceRate]
    device_write_bps: list[DeviceRate]
    device_read_iops: list[DeviceRate]
    device_write_iops: list[DeviceRate]


class Ulimit(TypedDict):
    """A resource limit of each process (getrlimit(2)); -1 is none."""

    soft: int
    hard: int


class StorageOption(TypedDict):
    """What a container may write to its root."""

    size: int


class Limits(TypedDict, total=False):
    """The settings of a container's control group: all of them can change while it runs. 0 is none."""

    mem_limit: int
    memswap_limit: int  # memory and swap together; -1: as much swap as there is. Absent: no swap beside a mem_limit
    mem_reservation: int
    mem_swappiness: int  # 0 to 100; 0 is a value
    oom_kill_disable: bool
    cpus: float
    cpu_shares: int
    cpu_period: int
    cpu_quota: int
    cpu_rt_period: int
    cpu_rt_runtime: int
    cpuset: str  # "0-2,4"
    cpuset_mems: str
    pids_limit: int
    blkio_config: Blkio


class Surroundings(Limits, total=False):
    """What is set once, at each start."""

    shm_size: int
    ulimits: dict[str, Ulimit]
    sysctls: dict[str, str]
    oom_score_adj: int  # -1000 to 1000
    init: bool
    group_add: list[str]
    domainname: str
    extra_hosts: dict[str, list[str]]  # name → addresses, or "host-gateway"
    dns: list[str]
    dns_search: list[str]
    dns_opt: list[str]
    annotations: dict[str, str]
    cgroup_parent: str
    runtime: str  # an external OCI runtime, by its name or path
    cgroup: Literal["host", "private"]
    storage_opt: StorageOption
