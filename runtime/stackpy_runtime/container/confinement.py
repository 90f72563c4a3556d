"""What of a container's isolation its configuration changes: namespaces, rights, devices. Pure.

A plain container has nothing of this, and its start asks no more than `is_plain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from stackpy_runtime.container import security, security_options
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux.processes import CAPABILITIES

if TYPE_CHECKING:
    from stackpy_runtime.container.plan import ProcessPlan
    from stackpy_runtime.container.security_options import SecurityOptions
    from stackpy_runtime.model import ContainerConfig

SHARED = "container:"
# Namespaces that may be another container's, by field; the flags are CLONE_NEW… (sched.h).
SHAREABLE = {"network_mode": 0x40000000, "pid": 0x20000000, "ipc": 0x8000000}
_FIELDS = ("privileged", "security_opt", "devices", "device_cgroup_rules", "userns", "pid", "ipc", "uts", "cgroup")
# On the host's network these need the host's user namespace to be of any use.
_NETWORK_RIGHTS = {"NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "ALL"}
_WORDS = {
    "userns": ("auto", "host"),
    "uts": ("host",),
    "cgroup": ("host", "private"),
    "pid": ("host",),
    "ipc": ("host", "private", "shareable", "none"),
    "network_mode": ("none", "host"),
}


class Confinement(NamedTuple):
    """How a container is kept apart.

    users: its user namespace: its own, the host's, or that of the container it shares another namespace with
    capabilities: names without CAP_
    new: CLONE_NEW… of the namespaces made for it, the user namespace aside
    joined: field → name or ID of the container whose namespace it is put into
    """

    users: Literal["own", "host", "joined"]
    capabilities: frozenset[str]
    new: int
    joined: dict[str, str]
    options: SecurityOptions
    privileged: bool


def is_plain(config: ContainerConfig) -> bool:
    """Whether nothing is said of isolation but capabilities and a network of its own, the host's or none."""
    mode = config.get("network_mode", "")
    if mode.startswith(SHARED) or (mode == "host" and implied_host(config)):
        return False
    return not any(config.get(field) for field in _FIELDS)


def implied_host(config: ContainerConfig) -> str:
    """What makes a container use the host's user namespace, as the user wrote it; "" when nothing does."""
    if config.get("userns") == "host":
        return "userns=host"
    if config.get("privileged"):
        return "privileged"
    for field in ("pid", "ipc"):
        if config.get(field) == "host":
            return f"{field}=host"
    if config.get("device_cgroup_rules"):
        return "device_cgroup_rules"
    if config.get("network_mode") == "host":
        added = {name.upper().removeprefix("CAP_") for name in config.get("cap_add", [])}
        if found := sorted(added & _NETWORK_RIGHTS):
            return f"network_mode=host with cap_add {found[0]}"
    return ""


def shared_with(config: ContainerConfig) -> dict[str, str]:
    """Field → the container whose namespace is meant."""
    values = {field: str(config.get(field) or "") for field in SHAREABLE}
    return {field: value.removeprefix(SHARED) for field, value in values.items() if value.startswith(SHARED)}


def of(config: ContainerConfig) -> Confinement:
    """What the configuration asks for; raises InvalidConfig for fields that exclude each other."""
    joined = shared_with(config)
    host = implied_host(config)
    privileged = config.get("privileged", False)
    flags = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000
    for field, flag in SHAREABLE.items():
        if field in joined or config.get(field) == "host":
            flags &= ~flag
    if config.get("uts") == "host":
        flags &= ~0x4000000
    if config.get("cgroup") == "host":
        flags &= ~0x2000000
    return Confinement(
        "host" if host else "joined" if joined else "own",
        capabilities(config),
        flags,
        joined,
        security_options.parse(config.get("security_opt", ())),
        privileged,
    )


def capabilities(config: ContainerConfig) -> frozenset[str]:
    """The capabilities that a container's root holds; a privileged one has all but those it drops."""
    added, dropped = config.get("cap_add", []), config.get("cap_drop", [])
    found = security.capabilities(added, dropped)
    if config.get("privileged"):
        gone = {name.upper().removeprefix("CAP_") for name in dropped}
        found = frozenset() if "ALL" in gone else frozenset(set(CAPABILITIES) - gone)
    # In a user namespace of its own its root holds what it is given. In the host's, the engine gives what it has.
    return found & security.held() if implied_host(config) else found


def every_capability(config: ContainerConfig) -> frozenset[str]:
    """All that a process in the container can be given at most."""
    return frozenset(CAPABILITIES) & security.held() if implied_host(config) else frozenset(CAPABILITIES)


def filtered(config: ContainerConfig) -> tuple[bool, str]:
    """Whether system calls are filtered, and by which profile (JSON; "" for the default)."""
    if not config.get("security_opt"):
        return not config.get("privileged", False), ""
    options = security_options.parse(config["security_opt"])
    if options.seccomp == "unconfined":
        return False, ""
    # As in Docker, a profile that is given holds for a privileged container too.
    return bool(options.seccomp) or not config.get("privileged", False), options.seccomp


def grant(config: ContainerConfig, process: ProcessPlan) -> None:
    """Gives a process what privileges and security options say of it."""
    options = security_options.parse(config.get("security_opt", ()))
    privileged = config.get("privileged", False)
    if privileged if options.new_privileges is None else options.new_privileges:
        process["new_privileges"] = True
    if options.apparmor not in ("", "unconfined") or (options.apparmor and security.has_apparmor()):
        process["apparmor"] = options.apparmor
    if label := security.selinux_label(options.labels):
        process["label"] = label


def check(config: ContainerConfig) -> None:
    """Raises InvalidConfig for words that nobody knows and fields that exclude each other."""
    for field, words in _WORDS.items():
        value = config.get(field)
        if value and value not in words and not (field in SHAREABLE and _names_container(str(value))):
            known = ", ".join([*words, *(["container:NAME"] if field in SHAREABLE else [])])
            raise InvalidConfig(f"{field} `{str(value)[:80]}` is not known", hint=f"known are {known}")
    if is_plain(config):
        return
    found = of(config)
    host = implied_host(config)
    if host and config.get("userns") == "auto":
        raise InvalidConfig(f"{host} needs the host's user namespace", hint="leave userns=auto out")
    name = config["name"]
    for field, other in found.joined.items():
        if other == name:
            raise InvalidConfig(f"{field} names the container itself")
    hostname = config.get("hostname")
    if hostname and "network_mode" in found.joined:
        raise InvalidConfig("a hostname and another container's network exclude each other", hint="it has its hostname")
    if hostname and config.get("uts") == "host":
        raise InvalidConfig("a hostname and uts=host exclude each other", hint="the host's would change")
    added = {name.upper().removeprefix("CAP_") for name in config.get("cap_add", [])} - {"ALL"}
    if host and (lacking := sorted(added - security.held())):
        raise InvalidConfig(
            f"cap_add {lacking[0]}: the engine does not hold it itself, and with {host} it can give no more",
            hint="capabilities(7); a container in a user namespace of its own may have it",
        )
    _check_devices(config)
    if found.options.seccomp.lstrip().startswith("{"):
        from stackpy_runtime.container import seccomp

        # Compiled once here, so that what libseccomp refuses is refused before anything is made.
        seccomp.program(found.capabilities, found.options.seccomp)
    security.check_modules(found.options)


def _names_container(value: str) -> bool:
    return value.startswith(SHARED) and len(value) > len(SHARED) and "/" not in value


def _check_devices(config: ContainerConfig) -> None:
    if not config.get("devices") and not config.get("device_cgroup_rules"):
        return
    from stackpy_runtime.container import device_rules

    devices = [device_rules.parse(text) for text in config.get("devices", [])]
    for text in config.get("device_cgroup_rules", []):
        device_rules.rule(text)
    targets = [device.target for device in devices]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidConfig(f"two devices at `{target}`")
    device_rules.nodes(devices)
