"""The flags of `run`, `update` and `build` about what a container may use and what it finds around it, as docker's.

A table: flag, field, parser. The parsers are the stack file's, imported with the first flag that needs one.
"""

from __future__ import annotations

from stackpy.cli.grammar import Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RATES = ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")

LIMITS = [
    Option("-m", "--memory", metavar="BYTES", help="memory limit: 256m, 1g"),
    Option("--memory-swap", metavar="BYTES", help="limit of memory and swap together; -1: any swap (default: none)"),
    Option("--memory-reservation", metavar="BYTES", help="memory that it keeps when the host is short of it"),
    Option("--cpus", metavar="NUMBER", help="how many CPUs it may use: 0.5"),
    Option("-c", "--cpu-shares", metavar="NUMBER", help="its weight where CPUs are contended (default: 1024)"),
    Option("--cpu-period", metavar="MICROSECONDS", help="period of --cpu-quota (default: 100000)"),
    Option("--cpu-quota", metavar="MICROSECONDS", help="CPU time in each period; -1: no limit"),
    Option("--cpu-rt-period", metavar="MICROSECONDS", help="period of --cpu-rt-runtime (default: 1000000)"),
    Option("--cpu-rt-runtime", metavar="MICROSECONDS", help="real-time CPU time in each period"),
    Option("--cpuset-cpus", metavar="LIST", help="the CPUs that it may run on: 0-2,4"),
    Option("--cpuset-mems", metavar="LIST", help="the memory nodes that it may use: 0,1"),
    Option("--pids-limit", metavar="NUMBER", help="how many processes it may have; -1: no limit"),
    Option("--blkio-weight", metavar="WEIGHT", help="its share of block devices, from 10 to 1000"),
]
SURROUNDINGS = [
    Option("--memory-swappiness", metavar="NUMBER", help="how readily its memory is swapped out, from 0 to 100"),
    Option("--oom-kill-disable", help="wait instead of killing at the memory limit (cgroup version 1)"),
    Option("--oom-score-adj", metavar="NUMBER", help="how likely it is killed when the host is short of memory"),
    Option("--blkio-weight-device", metavar="DEVICE:WEIGHT", many=True, help="its share of one device", words="file"),
    Option("--device-read-bps", metavar="DEVICE:BYTES", many=True, help="bytes a second from a device", words="file"),
    Option("--device-write-bps", metavar="DEVICE:BYTES", many=True, help="bytes a second to a device", words="file"),
    Option("--device-read-iops", metavar="DEVICE:NUMBER", many=True, help="reads a second from it", words="file"),
    Option("--device-write-iops", metavar="DEVICE:NUMBER", many=True, help="writes a second to it", words="file"),
    Option("--cgroup-parent", metavar="PATH", help="the control group that its own is in"),
    Option("--runtime", metavar="NAME", help="the OCI runtime to hand it over to, by name or path"),
    Option("--cgroupns", metavar="MODE", choices=("host", "private"), help="host or private (default)"),
    Option("--shm-size", metavar="BYTES", help="size of /dev/shm (default: 64m)"),
    Option("--ulimit", metavar="NAME=SOFT[:HARD]", many=True, help="a limit of each process: nofile=1024:2048"),
    Option("--sysctl", metavar="NAME=VALUE", many=True, help="a kernel setting of its namespaces"),
    Option("--init", help="a first process that reaps others and passes signals on"),
    Option("--group-add", metavar="GROUP", many=True, help="one more group of its user"),
    Option("--domainname", metavar="NAME", help="its domain name"),
    Option("--add-host", metavar="NAME:ADDRESS", many=True, help="a line of /etc/hosts; `host-gateway` is this host"),
    Option("--dns", metavar="ADDRESS", many=True, help="a resolver instead of the host's"),
    Option("--dns-search", metavar="DOMAIN", many=True, help="a domain that names are tried in; `.`: none"),
    Option("--dns-option", "--dns-opt", metavar="OPTION", many=True, help="an option of resolv.conf"),
    Option("--annotation", metavar="KEY=VALUE", many=True, help="a note for runtimes"),
    Option("--storage-opt", metavar="size=BYTES", many=True, help="how much it may write to its root"),
]
# flag's key → field, name of its parser
_PLAIN = {
    "memory": ("mem_limit", "size"),
    "memory_swap": ("memswap_limit", "size_or_unlimited"),
    "memory_reservation": ("mem_reservation", "size"),
    "memory_swappiness": ("mem_swappiness", "swappiness"),
    "cpus": ("cpus", "processors"),
    "cpu_shares": ("cpu_shares", "shares"),
    "cpu_period": ("cpu_period", "microseconds"),
    "cpu_quota": ("cpu_quota", "microseconds"),
    "cpu_rt_period": ("cpu_rt_period", "microseconds"),
    "cpu_rt_runtime": ("cpu_rt_runtime", "microseconds"),
    "cpuset_cpus": ("cpuset", "cpuset"),
    "cpuset_mems": ("cpuset_mems", "cpuset"),
    "pids_limit": ("pids_limit", "processes"),
    "oom_score_adj": ("oom_score_adj", "score"),
    "cgroup_parent": ("cgroup_parent", "group_path"),
    "runtime": ("runtime", "runtime_name"),
    "shm_size": ("shm_size", "shared_memory"),
    "domainname": ("domainname", "domain"),
}
_MANY = {
    "ulimit": ("ulimits", "ulimit_words"),
    "sysctl": ("sysctls", "sysctls"),
    "group_add": ("group_add", "groups"),
    "add_host": ("extra_hosts", "extra_hosts"),
    "dns": ("dns", "resolvers"),
    "dns_search": ("dns_search", "single_words"),
    "dns_opt": ("dns_opt", "single_words"),
    "annotation": ("annotations", "annotated"),
    "storage_opt": ("storage_opt", "storage_words"),
}


def asked(arguments: Any) -> dict[str, Any]:
    """What was asked for, by field; None where it was that there be no limit. Raises UsageError naming the flag."""
    given = [key for key in (*_PLAIN, *_MANY) if getattr(arguments, key, None) not in (None, [])]
    document: dict[str, Any] = _flags(arguments)
    if not given and not _wants_blkio(arguments):
        return document
    from functools import partial

    from stackpy.cli.run_config import parsed
    from stackpy.dsl import quantities, resource_fields

    for key in given:
        field, parser = _PLAIN.get(key) or _MANY[key]
        value, flag = getattr(arguments, key), f"--{key.replace('_', '-')}"
        found = getattr(resource_fields, parser, None) or getattr(quantities, parser)
        document[field] = parsed(flag, found, value)
    blkio: dict[str, Any] = {}
    if getattr(arguments, "blkio_weight", None) is not None:
        blkio["weight"] = parsed("--blkio-weight", resource_fields.weight, arguments.blkio_weight)
    for key in ("weight_device", *RATES):
        flag = "blkio_weight_device" if key == "weight_device" else key
        for text in getattr(arguments, flag, ()):
            read = partial(resource_fields.device_rate, key)
            blkio.setdefault(key, []).append(parsed(f"--{flag.replace('_', '-')}", read, text))
    if blkio:
        # 0 takes the weight away, and what else there is with it
        document["blkio_config"] = {key: value for key, value in blkio.items() if value} or None
    for field in resource_fields.unlimited(document):
        document[field] = None
    return document


def _wants_blkio(arguments: Any) -> bool:
    keys = ("blkio_weight_device", *RATES)
    return getattr(arguments, "blkio_weight", None) is not None or any(getattr(arguments, key, ()) for key in keys)


def _flags(arguments: Any) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if getattr(arguments, "oom_kill_disable", False):
        document["oom_kill_disable"] = True
    if getattr(arguments, "init", False):
        document["init"] = True
    if getattr(arguments, "cgroupns", None) is not None:
        document["cgroup"] = arguments.cgroupns
    return document


def add(document: dict[str, Any], arguments: Any) -> None:
    """Adds what was asked for to a new container's configuration. Raises UsageError."""
    found = asked(arguments)
    if found.get("memswap_limit") and not found.get("mem_limit"):
        raise UsageError("`--memory-swap` counts memory and swap together, and needs `--memory`", hint="give both")
    document.update({key: value for key, value in found.items() if value is not None})
