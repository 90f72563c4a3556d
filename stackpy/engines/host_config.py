"""What a container may use and finds around it, in the shape and names of Docker's `HostConfig`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Document = Mapping[str, Any]

NANO = 1_000_000_000
SHARED_MEMORY = 64 << 20
_RATES = {
    "BlkioDeviceReadBps": "device_read_bps",
    "BlkioDeviceWriteBps": "device_write_bps",
    "BlkioDeviceReadIOps": "device_read_iops",
    "BlkioDeviceWriteIOps": "device_write_iops",
}


def limits(config: Document) -> dict[str, Any]:
    """The part of Docker's `Resources`."""
    memory, blkio = config.get("mem_limit") or 0, config.get("blkio_config") or {}
    return {
        "Memory": memory,
        # without a word about swap there is none beside a limit of memory
        "MemorySwap": config.get("memswap_limit") or memory,
        "MemoryReservation": config.get("mem_reservation") or 0,
        "MemorySwappiness": config.get("mem_swappiness"),
        "OomKillDisable": config.get("oom_kill_disable", False),
        "NanoCpus": round((config.get("cpus") or 0) * NANO),
        "CpuShares": config.get("cpu_shares") or 0,
        "CpuPeriod": config.get("cpu_period") or 0,
        "CpuQuota": config.get("cpu_quota") or 0,
        "CpuRealtimePeriod": config.get("cpu_rt_period") or 0,
        "CpuRealtimeRuntime": config.get("cpu_rt_runtime") or 0,
        "CpusetCpus": config.get("cpuset", ""),
        "CpusetMems": config.get("cpuset_mems", ""),
        "PidsLimit": config.get("pids_limit") or None,
        "BlkioWeight": blkio.get("weight") or 0,
        "BlkioWeightDevice": [{"Path": one["path"], "Weight": one["weight"]} for one in blkio.get("weight_device", ())],
        **{
            name: [{"Path": one["path"], "Rate": one["rate"]} for one in blkio.get(key, ())]
            for name, key in _RATES.items()
        },
        "CgroupParent": config.get("cgroup_parent", ""),
        **({"Runtime": config["runtime"]} if config.get("runtime") else {}),
        "Ulimits": [
            {"Name": name, "Hard": ulimit["hard"], "Soft": ulimit["soft"]}
            for name, ulimit in config.get("ulimits", {}).items()
        ],
    }


def surroundings(config: Document) -> dict[str, Any]:
    """What is not about amounts."""
    storage = config.get("storage_opt")
    return {
        "ShmSize": config.get("shm_size") or SHARED_MEMORY,
        "Sysctls": dict(config.get("sysctls", {})),
        "OomScoreAdj": config.get("oom_score_adj", 0),
        "Init": config.get("init"),
        "GroupAdd": list(config["group_add"]) if config.get("group_add") else None,
        "Dns": list(config.get("dns", ())),
        "DnsOptions": list(config.get("dns_opt", ())),
        "DnsSearch": list(config.get("dns_search", ())),
        "ExtraHosts": [
            f"{name}:{address}" for name, addresses in config.get("extra_hosts", {}).items() for address in addresses
        ]
        or None,
        "Annotations": dict(config["annotations"]) if config.get("annotations") else None,
        "CgroupnsMode": config.get("cgroup", "private"),
        "StorageOpt": {"size": str(storage["size"])} if storage else None,
    }
