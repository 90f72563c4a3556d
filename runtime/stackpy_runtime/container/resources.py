"""Whether this host can give a container what its configuration asks for: when one is made, and when one is planned.

A plan comes through here on every save, so what a field needs is imported where it is set.
"""

from __future__ import annotations

import os

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.model.resources import Surroundings

_LIMITS = (
    "mem_limit memswap_limit mem_reservation mem_swappiness oom_kill_disable cpus cpu_shares cpu_period cpu_quota "
    "cpu_rt_period cpu_rt_runtime cpuset cpuset_mems pids_limit blkio_config"
).split()
GATEWAY = "host-gateway"
_SMALLEST_SHARED_MEMORY, _SMALLEST_STORAGE = 4096, 1 << 20
_OF_DOMAINS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


def check(config: Surroundings) -> None:
    """Raises InvalidConfig for what makes no sense or is more than this host has, Unsupported for what it lacks."""
    spaces: Any = config  # with the fields that say whose namespaces it is in
    if any(key in config for key in _LIMITS):
        from stackpy_runtime.container import limit_checks

        limit_checks.check(config)
    if "ulimits" in config:
        from stackpy_runtime.container import ulimits

        ulimits.check(config["ulimits"])
    if "sysctls" in config:
        from stackpy_runtime.container import sysctls

        sysctls.check(
            config["sysctls"],
            own_network=spaces.get("network_mode") in (None, "none"),
            own_ipc=spaces.get("ipc") in (None, "private", "shareable", "none"),
        )
    if "oom_score_adj" in config:
        _check_score(config["oom_score_adj"])
    if config.get("shm_size", _SMALLEST_SHARED_MEMORY) < _SMALLEST_SHARED_MEMORY:
        raise InvalidConfig(f"shm_size {config['shm_size']} is less than {_SMALLEST_SHARED_MEMORY} bytes")
    _check_names(config)
    _check_spaces(config, spaces)
    if config.get("init") and spaces.get("pid"):
        raise InvalidConfig("init is the first process of a PID namespace, and `pid` names another one")
    if "storage_opt" in config and config["storage_opt"]["size"] < _SMALLEST_STORAGE:
        raise InvalidConfig(f"storage_opt: {config['storage_opt']['size']} bytes are less than 1 MiB")
    if "runtime" in config:
        from stackpy_runtime.container import runtimes

        runtimes.check(config)
    if above := config.get("cgroup_parent"):
        parts = above.strip("/").split("/")
        if any(part in ("", ".", "..") for part in parts) or len(above) > 255 or not above.isprintable():
            raise InvalidConfig(f"cgroup_parent `{above}` is not the path of a control group", hint="such as /build")


def _check_spaces(config: Surroundings, spaces: Any) -> None:
    """Raises InvalidConfig for what would be another's, in a namespace that is shared with it."""
    network, ipc = spaces.get("network_mode") or "", spaces.get("ipc") or "private"
    if network.startswith("container:"):
        for key in ("dns", "dns_search", "dns_opt", "extra_hosts", "domainname"):
            if key in config:
                raise InvalidConfig(f"{key} and network_mode={network} exclude each other", hint="it has that one's")
    if network == "none" and any(GATEWAY in found for found in config.get("extra_hosts", {}).values()):
        raise InvalidConfig(f"extra_hosts: without a network there is no way to {GATEWAY}")
    if config.get("domainname") and spaces.get("uts") == "host":
        raise InvalidConfig("domainname and uts=host exclude each other", hint="the host's would change")
    if "shm_size" in config and ipc not in ("private", "shareable"):
        raise InvalidConfig(f"shm_size and ipc={ipc} exclude each other", hint="it has no /dev/shm of its own")


def _check_score(score: int) -> None:
    from stackpy_runtime.container import ulimits

    if not -1000 <= score <= 1000:
        raise InvalidConfig(f"oom_score_adj {score} is not between -1000 and 1000")
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        own = int(file.read())
    if score < own and not os.geteuid() and not ulimits.may_raise():
        raise InvalidConfig(
            f"oom_score_adj {score} is lower than the engine's own, {own}, which this host allows at least",
            hint="it takes CAP_SYS_RESOURCE to give less",
        )


def _check_names(config: Surroundings) -> None:
    domain = config.get("domainname", "")
    if domain and (len(domain) > 63 or domain.strip("-.") != domain or set(domain) - _OF_DOMAINS):
        raise InvalidConfig(f"domainname `{domain[:70]}` is not a domain", hint="at most 63 letters, digits, `-`, `.`")
    for name, addresses in config.get("extra_hosts", {}).items():
        if not name or any(letter.isspace() or letter in "#\0" for letter in name):
            raise InvalidConfig(f"extra_hosts: `{name}` is not a host name")
        for address in addresses:
            if address != GATEWAY and not is_address(address):
                raise InvalidConfig(
                    f"extra_hosts: `{address}` of {name} is not an IP address", hint="or write host-gateway"
                )
    for server in config.get("dns", ()):
        if not is_address(server):
            raise InvalidConfig(f"dns: `{server}` is not an IP address")
    for word in (*config.get("dns_search", ()), *config.get("dns_opt", ())):
        if not word or any(letter.isspace() or letter == "#" for letter in word):
            raise InvalidConfig(f"dns_search and dns_opt: `{word}` is not one word")


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    import _socket  # `socket` imports five times as much

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False
