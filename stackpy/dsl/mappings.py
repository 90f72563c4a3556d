"""Compose's mappings as type checkers and editors see them: what may stand in `{…}` where a field takes one.

Nothing of this runs: the parsers of the fields say the same to who has no editor, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Required, TypedDict

if TYPE_CHECKING:
    from stackpy.dsl.resources import Secret, Volume

Duration = str | int | float
Command = str | Sequence[str]


class HealthCheckFields(TypedDict, total=False):
    """`healthcheck`; HealthCheck(…) can ask over http and tcp besides."""

    test: Command | None
    interval: Duration | None
    timeout: Duration | None
    start_period: Duration | None
    start_interval: Duration | None
    retries: int | None
    disable: bool


class UpdateFields(TypedDict, total=False):
    """`update`: Compose's deploy.update_config."""

    order: Literal["start-first", "stop-first"] | None
    parallelism: int | None
    delay: Duration | None
    monitor: Duration | None
    max_failure_ratio: float | None
    failure_action: Literal["pause", "continue", "rollback"] | None


class PortFields(TypedDict, total=False):
    """One of `ports`."""

    target: Required[int | str]
    published: int | str | None
    host_ip: str | None
    protocol: Literal["tcp", "udp"] | None


class BindOptions(TypedDict, total=False):
    """`bind` of a mount."""

    propagation: Literal["rprivate", "private", "rshared", "shared", "rslave", "slave"]
    create_host_path: bool
    recursive: Literal["enabled", "disabled", "writable", "readonly"]


class BindFields(TypedDict, total=False):
    """One of `volumes`: a file or folder of the host."""

    type: Required[Literal["bind"]]
    source: Required[str]
    target: Required[str]
    read_only: bool
    owner: Literal["container", "plain"]
    bind: BindOptions


class VolumeOptions(TypedDict, total=False):
    """`volume` of a mount."""

    nocopy: bool
    subpath: str


class VolumeFields(TypedDict, total=False):
    """One of `volumes`: a volume."""

    type: Required[Literal["volume"]]
    source: Volume | str
    target: Required[str]
    read_only: bool
    volume: VolumeOptions


class TmpfsOptions(TypedDict, total=False):
    """`tmpfs` of a mount."""

    size: str | int
    mode: str | int
    uid: int
    gid: int
    nr_inodes: int | str
    exec: bool


class TmpfsFields(TypedDict, total=False):
    """One of `volumes`: a tmpfs."""

    type: Required[Literal["tmpfs"]]
    target: Required[str]
    read_only: bool
    tmpfs: TmpfsOptions


class SecretFields(TypedDict, total=False):
    """One of `secrets`."""

    source: Required[Secret | str]
    target: str
    on_change: str


class AttachmentFields(TypedDict, total=False):
    """One of `networks`."""

    aliases: Sequence[str]
    ipv4_address: str
    interface_name: str
    gw_priority: int
    priority: int


class DependencyFields(TypedDict, total=False):
    """One of `depends_on`."""

    condition: Required[Literal["service_started", "service_healthy", "service_completed_successfully"]]
    restart: bool
    required: bool


class HookFields(TypedDict, total=False):
    """One of `pre_start`, `post_start` and `pre_stop`."""

    command: Required[Command]
    user: str | int | None
    privileged: bool | None
    working_dir: str | None
    environment: Mapping[str, str | int | float | bool] | Sequence[str] | None


class VariableFileFields(TypedDict, total=False):
    """One of `env_file`."""

    path: Required[str]
    required: bool
    format: Literal["raw"] | None


class DeviceFields(TypedDict, total=False):
    """One of `devices`."""

    source: Required[str]
    target: str
    permissions: str


class UlimitFields(TypedDict):
    """One of `ulimits`."""

    soft: str | int
    hard: str | int


class DeviceWeight(TypedDict):
    """One of `weight_device` in `blkio_config`."""

    path: str
    weight: int


class DeviceRate(TypedDict):
    """One of the rates in `blkio_config`."""

    path: str
    rate: str | int


class BlkioFields(TypedDict, total=False):
    """`blkio_config`."""

    weight: int
    weight_device: Sequence[DeviceWeight]
    device_read_bps: Sequence[DeviceRate]
    device_write_bps: Sequence[DeviceRate]
    device_read_iops: Sequence[DeviceRate]
    device_write_iops: Sequence[DeviceRate]


# Compose has these keys with `-`, which no class can.
LogOptions = TypedDict(
    "LogOptions",
    {
        "max_size": str | int,
        "max-size": str | int,
        "max_file": int | str,
        "max-file": int | str,
        "tag": str,
        "labels": str | Sequence[str],
    },
    total=False,
)


class LoggingFields(LogOptions, total=False):
    """`logging`: the options alone, or with a driver in `options`."""

    driver: Literal["local", "json-file", "none", "journald"]
    options: LogOptions
