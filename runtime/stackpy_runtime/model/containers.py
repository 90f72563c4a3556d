"""What a container is made of and what it does."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from stackpy_runtime.model.lives import Asked, Ending, Hook
from stackpy_runtime.model.resources import Surroundings

Status = Literal["created", "running", "paused", "restarting", "exited"]
Health = Literal["", "starting", "healthy", "unhealthy"]


class PortBinding(TypedDict):
    """A published port: the host's address and port, and the container's."""

    host_ip: str  # "127.0.0.1", "0.0.0.0", an address of the host
    published: int
    target: int
    protocol: str  # "tcp" | "udp"


class Mount(TypedDict):
    """A bind mount, named volume or tmpfs at `target`."""

    type: Literal["bind", "volume", "tmpfs"]
    source: str  # host path | volume name | ""
    target: str
    read_only: bool
    size: NotRequired[int | str]  # tmpfs: bytes, or a share of the host's memory such as "10%"
    nr_inodes: NotRequired[int]  # tmpfs
    mode: NotRequired[int]  # tmpfs
    uid: NotRequired[int]  # tmpfs
    gid: NotRequired[int]  # tmpfs
    executable: NotRequired[bool]  # tmpfs: programs in it may be run
    owner: NotRequired[Literal["container", "plain"]]  # bind: whose files they are inside
    # bind: how what is mounted in it later spreads (mount_namespaces(7)); absent: rprivate
    propagation: NotRequired[Literal["private", "rprivate", "slave", "rslave", "shared", "rshared"]]
    # bind: what is mounted beneath is left out, or can be written though the mount cannot; absent: it comes along
    recursive: NotRequired[Literal["disabled", "writable"]]
    nocopy: NotRequired[bool]  # volume: do not fill an empty one from the image
    subpath: NotRequired[str]  # volume: what of it is shown, relative to its top


class SecretMount(TypedDict):
    """A secret of the engine shown at /run/secrets/`target`, mode 0400, owned by the container's user."""

    secret: str  # name in the engine
    target: str


class FileContent(TypedDict):
    """A file placed into the container before it starts."""

    target: str
    content: str  # base64
    mode: int


class Probe(TypedDict):
    """A health check: exactly one of test, http, tcp."""

    test: NotRequired[list[str]]  # argument vector, run in the container
    http: NotRequired[str]  # URL, asked from within the container's network namespace
    status: NotRequired[int]  # the HTTP status that means healthy; any of 2xx/3xx without it
    tcp: NotRequired[int]
    interval: float
    timeout: float
    retries: int
    start_period: float
    start_interval: float


class ProbeConfig(TypedDict, total=False):
    """A health check as it was asked for: at most one of test, http, tcp.

    None of them: the image's check, with these times instead of its own. What is absent of the times comes from the
    image where the check does, else it is Docker's default.
    """

    test: list[str]  # ["NONE"]: not even the image's
    http: str
    status: int
    tcp: int
    interval: float
    timeout: float
    retries: int
    start_period: float
    start_interval: float


class Attachment(TypedDict):
    """A container's place on one network."""

    aliases: list[str]
    ipv4_address: NotRequired[str]
    avoid: NotRequired[list[str]]  # addresses that are others' though nobody has them now
    gw_priority: NotRequired[int]  # the default route leads through the network with the highest; absent: 0
    interface_name: NotRequired[str]  # of its link inside; absent: eth0, eth1, …


class Isolation(TypedDict):
    """What of a container's isolation differs from the usual; names and forms are Docker's."""

    cap_add: NotRequired[list[str]]
    cap_drop: NotRequired[list[str]]
    privileged: NotRequired[bool]  # implies the host's user namespace
    security_opt: NotRequired[list[str]]  # seccomp=JSON | seccomp=unconfined | no-new-privileges[:false] | …
    devices: NotRequired[list[str]]  # HOST[:CONTAINER[:rwm]]
    device_cgroup_rules: NotRequired[list[str]]  # c 189:* rwm
    userns: NotRequired[str]  # auto | host
    pid: NotRequired[str]  # host | container:NAME
    ipc: NotRequired[str]  # private | shareable | none | host | container:NAME
    uts: NotRequired[str]  # host
    learn: NotRequired[bool]  # the system calls and capabilities that it uses are noted


class ContainerConfig(Surroundings, Isolation):
    """All that a container is made of; what is absent comes from the image, then from the engine's defaults."""

    name: str
    image: str  # reference or image ID
    command: NotRequired[list[str]]
    entrypoint: NotRequired[list[str]]
    environment: NotRequired[dict[str, str]]
    working_dir: NotRequired[str]
    user: NotRequired[str]
    hostname: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    network_mode: NotRequired[str]  # none | host | container:NAME; absent: the networks below
    networks: NotRequired[dict[str, Attachment]]
    ports: NotRequired[list[PortBinding]]
    mounts: NotRequired[list[Mount]]
    secrets: NotRequired[list[SecretMount]]
    files: NotRequired[list[FileContent]]
    read_only: NotRequired[bool]
    tty: NotRequired[bool]
    stdin_open: NotRequired[bool]
    stdin_once: NotRequired[bool]  # its standard input ends with the first client that was attached to it
    stop_signal: NotRequired[str]
    stop_grace_period: NotRequired[float]
    restart: NotRequired[str]  # no | always | on-failure | on-failure:N | unless-stopped
    healthcheck: NotRequired[ProbeConfig]
    on_unhealthy: NotRequired[Literal["none", "restart", "stop"]]
    pre_start: NotRequired[list[Hook]]  # in the container's sandbox, before its main process is executed
    post_start: NotRequired[list[Hook]]
    pre_stop: NotRequired[list[Hook]]
    log_driver: NotRequired[Literal["local", "none", "journald"]]
    log_max_size: NotRequired[int]  # bytes of one log file
    log_max_file: NotRequired[int]
    log_tag: NotRequired[str]  # with Docker's placeholders
    log_labels: NotRequired[list[str]]  # names of labels that go along with each line
    auto_remove: NotRequired[bool]


class ContainerState(TypedDict):
    """What a container is doing now."""

    status: Status
    pid: int  # 0 when it does not run
    exit_code: int | None  # None: never ran, runs, or nobody saw it
    error: str  # why it could not start, or what is known of its end
    oom_killed: bool
    started_at: str
    finished_at: str
    health: Health
    restart_count: int
    pid_start: NotRequired[int]  # clock ticks after boot; with pid and boot it names the process
    boot: NotRequired[str]
    removing: NotRequired[bool]  # with its anonymous volumes: begun, and to be finished
    group: NotRequired[str]  # the name of its control group in the engine root's
    stopped: NotRequired[bool]  # by a user: `unless-stopped` and `always` leave it alone until the next start
    halted: NotRequired[bool]  # ended with the engine, to be started with it as after a reboot
    asked: NotRequired[Asked]  # who wants, or wanted, it to end
    ending: NotRequired[Ending]  # why the last run ended; absent while it runs for the first time


class EndpointInfo(TypedDict):
    """A container's addresses on one network."""

    ip_address: str
    prefix_length: int
    mac_address: str
    gateway: str
    aliases: list[str]


class Container(TypedDict):
    """A container as the engine holds it."""

    id: str  # 64 hex digits
    name: str
    created: str
    image_id: str
    config: ContainerConfig  # as asked for
    state: ContainerState
    networks: dict[str, EndpointInfo]


class Difference(TypedDict):
    """An entry of a container's tree that is not as in its image."""

    kind: Literal["A", "C", "D"]  # added, changed, deleted
    path: str  # absolute


class LogLine(TypedDict):
    """One line (or a part of a longer one) of a container's output."""

    time: str
    stream: Literal["stdout", "stderr"]
    text: str  # without its newline only where the container wrote none


class Learned(TypedDict):
    """What a container with `learn` has used so far."""

    calls: list[str]  # names of system calls
    architectures: list[str]  # besides the machine's own: AUDIT_ARCH_… in hexadecimal
    capabilities: list[str] | None  # without CAP_; None: this kernel does not tell
    ended: bool
