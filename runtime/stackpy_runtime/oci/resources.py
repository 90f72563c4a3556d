"""`linux.resources` of a bundle → files of control groups, for both versions. Pure.

Files: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst. The conversions of shares and weights are runc's, since
callers have set their values with those in mind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import InvalidConfig, Unsupported
from stackpy_runtime.oci.process import cpu_list

if TYPE_CHECKING:
    from stackpy_runtime.oci.fields import Fields

_MOST = (1 << 64) - 1
_THROTTLES = {
    "throttleReadBpsDevice": ("read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("write_iops_device", "wiops"),
}
_PAGE_SIZE = re.compile(r"[1-9]\d{0,4}[KMG]B", re.ASCII)


class Write(NamedTuple):
    """One file to write. where: the field that asks for it; others: files that say the same on other kernels."""

    controller: str  # version 1; "" for version 2
    name: str
    value: str
    where: str
    others: tuple[str, ...] = ()
    optional: bool = False  # asks for what holds where there is no such file


def _limit(number: int) -> str:
    return "max" if number < 0 else str(number)


def weight_of_shares(shares: int) -> int:
    """cpu.weight for cpu.shares: 2…262144 → 1…10000."""
    return 1 + (max(2, min(shares, 262144)) - 2) * 9999 // 262142


def weight_of_blkio(weight: int) -> int:
    """io.weight for a weight of the block controller: 10…1000 → 1…10000."""
    return 1 + (max(10, min(weight, 1000)) - 10) * 9999 // 990


def writes(resources: Fields, version: int) -> list[Write]:
    """All files to write, in order; raises Unsupported or InvalidConfig naming the field."""
    result = [
        *_memory(resources.object("memory"), version),
        *_cpu(resources.object("cpu"), version),
        *_pids(resources.object("pids"), version),
        *_block(resources.object("blockIO"), version),
        *_huge_pages(resources, version),
        *_network(resources.object("network"), version),
        *_rdma(resources.object("rdma"), version),
    ]
    unified = resources.mapping("unified")
    if unified and version == 1:
        raise Unsupported(f"{resources.where('unified')}: this host's control groups are version 1")
    for name, value in unified.items():
        where = f"{resources.where('unified')}.{name}"
        # cgroup.procs and its kin would move processes, not limit them.
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII) or "." not in name or name.startswith(("cgroup.", ".")):
            raise InvalidConfig(f"{where} is not a file of a controller")
        result += [Write("", name, line, where) for line in value.splitlines() or [""]]
    return result


def _memory(memory: Fields, version: int) -> list[Write]:
    limit, swap = (memory.number(key, least=-1) for key in ("limit", "swap"))
    reservation = memory.number("reservation", least=-1)
    kernel, kernel_tcp = (memory.number(key, least=-1) for key in ("kernel", "kernelTCP"))
    swappiness = memory.number("swappiness", least=0, most=200)
    if limit and limit > 0 and swap is not None and 0 < swap < limit:
        raise InvalidConfig(f"{memory.where('swap')}: {swap} is less than memory.limit, which it includes")
    if limit == -1 and swap is None:
        # Both together have a limit of their own, which cannot be below.
        swap = -1
    result = []
    if version == 2:
        for key in ("kernel", "kernelTCP", "swappiness"):
            if (memory.number(key) or 0) > 0:
                raise Unsupported(f"{memory.where(key)}: there is no such limit in version 2 of control groups")
        memory.refuse("disableOOMKiller", "it cannot be turned off in version 2 of control groups")
        if limit:
            result.append(Write("", "memory.max", _limit(limit), memory.where("limit")))
        if swap:
            # Both together there, swap alone here.
            if swap > 0 and not (limit and limit > 0):
                raise InvalidConfig(f"{memory.where('swap')} needs memory.limit")
            alone = swap - (limit or 0) if swap > 0 else swap
            result.append(Write("", "memory.swap.max", _limit(alone), memory.where("swap"), optional=alone <= 0))
        if reservation:
            result.append(Write("", "memory.low", _limit(reservation), memory.where("reservation")))
        return result
    if memory.flag("useHierarchy"):
        name = "memory.use_hierarchy"
        result.append(Write("memory", name, "1", memory.where("useHierarchy"), optional=True))
    if limit:
        result.append(Write("memory", "memory.limit_in_bytes", str(limit), memory.where("limit")))
    if swap:
        without = swap == limit  # no swap at all, which holds where swap is not accounted
        name = "memory.memsw.limit_in_bytes"
        result.append(Write("memory", name, str(swap), memory.where("swap"), optional=without or swap < 0))
    if reservation:
        result.append(Write("memory", "memory.soft_limit_in_bytes", str(reservation), memory.where("reservation")))
    if kernel:
        result.append(
            Write("memory", "memory.kmem.limit_in_bytes", str(kernel), memory.where("kernel"), optional=kernel < 0)
        )
    if kernel_tcp:
        name = "memory.kmem.tcp.limit_in_bytes"
        result.append(Write("memory", name, str(kernel_tcp), memory.where("kernelTCP"), optional=kernel_tcp < 0))
    if swappiness is not None:
        result.append(Write("memory", "memory.swappiness", str(swappiness), memory.where("swappiness")))
    if memory.flag("disableOOMKiller"):
        result.append(Write("memory", "memory.oom_control", "1", memory.where("disableOOMKiller")))
    return result


def _cpu(cpu: Fields, version: int) -> list[Write]:
    shares, period = cpu.number("shares", least=0), cpu.number("period", least=0)
    quota, burst = cpu.number("quota", least=-1), cpu.number("burst", least=0)
    rt_runtime, rt_period = cpu.number("realtimeRuntime", least=-1), cpu.number("realtimePeriod", least=0)
    idle = cpu.number("idle", least=0, most=1)
    result = []
    if version == 2:
        for key in ("realtimeRuntime", "realtimePeriod"):
            cpu.refuse(key, "version 2 of control groups does not limit real time")
        if shares:
            result.append(Write("", "cpu.weight", str(weight_of_shares(shares)), cpu.where("shares")))
        if quota or period:
            text = f"{quota if quota and quota > 0 else 'max'} {period or 100_000}"
            result.append(Write("", "cpu.max", text, cpu.where("quota")))
        if burst is not None:
            result.append(Write("", "cpu.max.burst", str(burst), cpu.where("burst"), optional=not burst))
    else:
        for value, name, key in (
            (shares, "cpu.shares", "shares"),
            (period, "cpu.cfs_period_us", "period"),
            (quota, "cpu.cfs_quota_us", "quota"),
            (rt_period, "cpu.rt_period_us", "realtimePeriod"),
            (rt_runtime, "cpu.rt_runtime_us", "realtimeRuntime"),
        ):
            if value:
                result.append(Write("cpu", name, str(value), cpu.where(key)))
        if burst is not None:
            result.append(Write("cpu", "cpu.cfs_burst_us", str(burst), cpu.where("burst"), optional=not burst))
    if idle is not None:
        result.append(Write("" if version == 2 else "cpu", "cpu.idle", str(idle), cpu.where("idle"), optional=not idle))
    for key in ("cpus", "mems"):
        if text := cpu.text(key):
            cpu_list(text, cpu.where(key))
            result.append(Write("" if version == 2 else "cpuset", f"cpuset.{key}", text, cpu.where(key)))
    return result


def _pids(pids: Fields, version: int) -> list[Write]:
    limit = pids.number("limit", least=-1)
    if not limit:
        return []
    return [Write("" if version == 2 else "pids", "pids.max", _limit(limit), pids.where("limit"))]


def _device(fields: Fields) -> str:
    return f"{fields.count('major')}:{fields.count('minor')}"


def _block(block: Fields, version: int) -> list[Write]:
    result = []
    controller = "" if version == 2 else "blkio"
    weight, leaf = (block.number(key, least=0, most=1000) for key in ("weight", "leafWeight"))
    if weight:
        where = block.where("weight")
        if version == 2:
            result.append(Write("", "io.weight", f"default {weight_of_blkio(weight)}", where, ("io.bfq.weight",)))
        else:
            result.append(Write("blkio", "blkio.weight", str(weight), where, ("blkio.bfq.weight",)))
    if leaf:
        if version == 2:
            block.refuse("leafWeight", "there is no such weight in version 2 of control groups")
        result.append(Write("blkio", "blkio.leaf_weight", str(leaf), block.where("leafWeight")))
    for each in block.objects("weightDevice"):
        for key, name in (("weight", "blkio.weight_device"), ("leafWeight", "blkio.leaf_weight_device")):
            value = each.number(key, least=0, most=1000)
            if not value:
                continue
            if version == 2 and key == "leafWeight":
                each.refuse(key, "there is no such weight in version 2 of control groups")
            if version == 2:
                text = f"{_device(each)} {weight_of_blkio(value)}"
                result.append(Write("", "io.weight", text, each.where(key), ("io.bfq.weight",)))
            else:
                other = ("blkio.bfq.weight_device",) if key == "weight" else ()
                result.append(Write("blkio", name, f"{_device(each)} {value}", each.where(key), other))
    for key, (old, new) in _THROTTLES.items():
        for each in block.objects(key):
            rate = each.count("rate", most=_MOST)
            text = f"{_device(each)} {rate}" if version == 1 else f"{_device(each)} {new}={rate or 'max'}"
            name = f"blkio.throttle.{old}" if version == 1 else "io.max"
            result.append(Write(controller, name, text, each.path))
    return result


def _huge_pages(resources: Fields, version: int) -> list[Write]:
    result = []
    for each in resources.objects("hugepageLimits"):
        size, limit = each.needed("pageSize"), each.count("limit", most=_MOST)
        if not _PAGE_SIZE.fullmatch(size):
            raise InvalidConfig(f"{each.where('pageSize')}: `{size}` is not a page size", hint="2MB, 1GB, 64KB")
        if version == 2:
            names = [(f"hugetlb.{size}.max", False), (f"hugetlb.{size}.rsvd.max", True)]
        else:
            names = [(f"hugetlb.{size}.limit_in_bytes", False), (f"hugetlb.{size}.rsvd.limit_in_bytes", True)]
        controller = "" if version == 2 else "hugetlb"
        result += [Write(controller, name, str(limit), each.path, optional=optional) for name, optional in names]
    return result


def _network(network: Fields, version: int) -> list[Write]:
    result = []
    identity = network.number("classID", least=0, most=(1 << 32) - 1)
    if version == 2:
        for key in ("classID", "priorities"):
            network.refuse(key, "there is no such controller in version 2 of control groups")
        return []
    if identity:
        result.append(Write("net_cls", "net_cls.classid", str(identity), network.where("classID")))
    for each in network.objects("priorities"):
        text = f"{each.needed('name')} {each.count('priority', 0)}"
        result.append(Write("net_prio", "net_prio.ifpriomap", text, each.path))
    return result


def _rdma(rdma: Fields, version: int) -> list[Write]:
    result = []
    for device in rdma.value:
        each = rdma.object(device)
        parts = [device]
        for key, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            number = each.number(key, least=0)
            if number is not None:
                parts.append(f"{name}={number}")
        result.append(Write("" if version == 2 else "rdma", "rdma.max", " ".join(parts), each.path))
    return result
