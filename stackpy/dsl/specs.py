"""Specs: the complete, normalised, frozen description of each resource. What the planner compares.

`fields` holds JSON values only, under the Compose specification's names, and only what the user has set: an absent
field means "whatever the engine or the image has", which is how a default never shows as a change.

Fields by kind (all optional unless marked *; names of other resources are those of the stack, not the engine's):

image      source*: stackpy_runtime.model.ImageSource, tags: [reference], publish: those of them that are pushed
container  image*: address of an image resource ("image.web"); command, entrypoint: [str];
           environment, labels: {str: str} (env_file already merged in); working_dir, user, hostname, stop_signal,
           restart: str; the limits and surroundings of resource_fields.py;
           networks: {network name: {"aliases": [str], "ipv4_address"?, "interface_name"?, "gw_priority"?}};
           network_mode: "none" | "host" | "service:NAME" | "container:NAME"; pid, ipc: likewise; uts, userns: str;
           privileged: bool; security_opt: [str], a profile for seccomp as JSON; devices: ["HOST:CONTAINER:rwm"];
           device_cgroup_rules: [str];
           ports: [{"host_ip", "published" (0: a free one), "target", "protocol"}];
           volumes: [{"type": "bind"|"volume"|"tmpfs", "source", "target", "read_only", "size"?, "nr_inodes"?,
           "mode"?, "uid"?, "gid"?, "executable"?, "owner"?, "propagation"?, "recursive"?, "nocopy"?, "subpath"?}];
           secrets: [{"secret", "target", "on_change"?}];
           files: {target: {"content": base64, "mode": int, "on_change"?: "restart" or a signal}};
           read_only, tty, stdin_open: bool; cap_add, cap_drop: [str]; stop_grace_period: seconds;
           healthcheck: {"test" | "http" (+"status") | "tcp", "interval", "timeout", "retries", "start_period",
           "start_interval"}, or some of the times alone; on_unhealthy: "none" | "restart" | "stop";
           logging: {"driver": "none" | "journald", "max_size": bytes, "max_file": int, "tag": str, "labels": [str]};
           pre_start, post_start, pre_stop: [{"command": [str], "user", "privileged", "working_dir", "environment"}];
           replicas: int; update: {"order", "parallelism", "delay", "monitor", "max_failure_ratio",
           "failure_action"}, all optional; pull_policy: str, of a registry's image;
           protect: bool; ignore_changes: [path of a field]
job        the container's fields without replicas, restart, ports, healthcheck, update and on_unhealthy
network    internal: bool, subnet: CIDR, labels, protect, ignore_changes
volume     labels, protect, snapshot, ignore_changes
secret     source*: {"env": NAME} | {"file": absolute path} | {"command": [str]}   (never the value); protect
"""

from __future__ import annotations

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Literal

    from stackpy.dsl.policies import Policy
    from stackpy.problems import Location

    Kind = Literal["image", "container", "job", "network", "volume", "secret"]
    Condition = Literal["started", "healthy", "completed"]
    Fields = Mapping[str, Any]


# What a container may use, which can change while it runs, and what it finds around it; resource_fields.py parses them.
LIMITS = (
    "mem_limit", "memswap_limit", "mem_reservation", "mem_swappiness", "oom_kill_disable", "cpus", "cpu_shares",
    "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpuset", "pids_limit", "blkio_config",
)  # fmt: skip
SURROUNDINGS = (
    "shm_size", "ulimits", "sysctls", "oom_score_adj", "init", "group_add", "domainname", "extra_hosts", "dns",
    "dns_search", "dns_opt", "annotations", "cgroup_parent", "cgroup", "storage_opt", "runtime",
)  # fmt: skip

# Fields about how a container is kept apart (isolation_fields.py), besides its capabilities and network mode.
ISOLATION = ("privileged", "security_opt", "devices", "device_cgroup_rules", "userns", "pid", "ipc", "uts", "learn")
DEFAULT_NETWORK = "default"
DEFAULT_PROBE = {"interval": 30.0, "timeout": 30.0, "retries": 3, "start_period": 0.0, "start_interval": 5.0}


# The fields that may name a container whose namespace is shared: "service:NAME", of the stack, or "container:NAME".
SHARING = ("network_mode", "pid", "ipc")
_SERVICE = "service:"


def addresses(fields: Fields) -> Iterator[tuple[str, str]]:
    """Network and address, of those that a container asks for."""
    for network, attachment in (fields.get("networks") or {}).items():
        if address := (attachment or {}).get("ipv4_address"):
            yield network, address


def partners(fields: Fields) -> list[tuple[str, str]]:
    """The containers of the stack whose namespaces are shared: (field, name)."""
    found = [(key, fields[key]) for key in SHARING if key in fields]
    return [(key, value.removeprefix(_SERVICE)) for key, value in found if value.startswith(_SERVICE)]


def implied_users(fields: Fields) -> str:
    """What makes a container use the host's user namespace, in the user's words; "" when nothing does.

    It is what cannot work in a user namespace of its own: all devices, the host's processes and memory, device nodes
    that the container makes, and administering the host's network.
    """
    if fields.get("privileged"):
        return "privileged"
    for key in ("pid", "ipc"):
        if fields.get(key) == "host":
            return f'{key}="host"'
    if fields.get("device_cgroup_rules"):
        return "device_cgroup_rules"
    if fields.get("network_mode") == "host":
        for name in fields.get("cap_add", ()):
            if name in ("ALL", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"):
                return f'network_mode="host" with {name}'
    return ""


class Dependency(NamedTuple):
    """What must hold before a resource is acted on: the other's address and its condition.

    restart: the resource is restarted when the other is made anew
    required: what fails of the other holds the resource up; otherwise it is only warned of
    """

    address: str
    condition: Condition
    restart: bool = False
    required: bool = True


class Spec(NamedTuple):
    """One resource of a stack."""

    kind: Kind
    name: str
    fields: Fields
    dependencies: tuple[Dependency, ...]
    location: Location

    @property
    def address(self) -> str:
        """The resource's address: `container.web`."""
        return f"{self.kind}.{self.name}"


class ComponentSpec(NamedTuple):
    """A component: the name of its class or function, the first line of its documentation, what it has declared."""

    kind: str
    doc: str
    children: tuple[str, ...]


class StackSpec(NamedTuple):
    """All that one stack file declares.

    pins: what stackpy.lock says: reference → platform → digest
    registries: what stackpy.toml says of registries, by host
    cache_from, cache_to: where builds take what others have built, and bring what they build: folders, docker://reference
    moved: former address → address of now
    policies: what judges its plans
    references: (stack, output) of other stacks that it reads → the generation that put it out; 0: a default
    components: name → kind, documentation, addresses
    hidden: values that are not to be shown, nor kept
    unkept: address → paths of values that are not to be kept either, since the generation that comes back lacked them
    hidden_outputs: names of those that held hidden values in the generation that comes back
    """

    name: str
    resources: Mapping[str, Spec]  # by address, in the order of declaration
    outputs: Mapping[str, Any]
    folder: str  # of the stack file; relative paths were resolved against it
    pins: Mapping[str, Mapping[str, str]] = {}
    registries: Mapping[str, Mapping[str, Any]] = {}
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    moved: Mapping[str, str] = {}
    policies: tuple[Policy, ...] = ()
    references: Mapping[tuple[str, str], int] = {}
    components: Mapping[str, ComponentSpec] = {}
    hidden: tuple[str, ...] = ()
    unkept: Mapping[str, Sequence[str]] = {}
    hidden_outputs: tuple[str, ...] = ()


def engine_name(stack: str, spec_kind: str, name: str, replica: int = 1) -> str:
    """The name of a resource on an engine, as Compose makes it: `shop-web-1` for containers, `shop_data` otherwise."""
    if spec_kind in ("container", "job"):
        return f"{stack}-{name}-{replica}"
    return f"{stack}_{name}"
