"""Containers and jobs: the resources that run. Their fields are the Compose specification's, in the same forms."""

from __future__ import annotations

from stackpy.dsl import container_fields
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.resources import Resource, deferred, subject
from stackpy.dsl.session import Place
from stackpy.dsl.uses import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, ClassVar, Literal, TypedDict, Unpack

    from stackpy.dsl.deferred import Deferred
    from stackpy.dsl.files import File, Template
    from stackpy.dsl.images import Image
    from stackpy.dsl.mappings import (
        AttachmentFields,
        BindFields,
        BlkioFields,
        DependencyFields,
        DeviceFields,
        HealthCheckFields,
        HookFields,
        LoggingFields,
        PortFields,
        SecretFields,
        TmpfsFields,
        UlimitFields,
        UpdateFields,
        VariableFileFields,
        VolumeFields,
    )
    from stackpy.dsl.probes import HealthCheck
    from stackpy.dsl.resources import Network, Secret
    from stackpy.dsl.updating import Update

    Scalar = str | int | float | bool
    Pairs = Mapping[str, Scalar | None] | Sequence[str]
    Command = str | Sequence[str]

    class JobFields(TypedDict, total=False):
        """What a job may say of itself; None is the same as saying nothing."""

        image: Image | str
        command: Command | None
        entrypoint: Command | None
        environment: Pairs | None
        env_file: str | VariableFileFields | Sequence[str | VariableFileFields] | None
        labels: Pairs | None
        label_file: str | Sequence[str] | None
        working_dir: str | None
        user: str | int | None
        hostname: str | None
        stop_signal: str | int | None
        stop_grace_period: str | int | float | None
        mem_limit: str | int | None
        cpus: str | int | float | None
        pids_limit: str | int | None
        memswap_limit: str | int | None
        mem_reservation: str | int | None
        mem_swappiness: str | int | None
        oom_kill_disable: bool | None
        oom_score_adj: str | int | None
        cpu_shares: str | int | None
        cpu_period: str | int | None
        cpu_quota: str | int | None
        cpu_rt_period: str | int | None
        cpu_rt_runtime: str | int | None
        cpuset: str | int | None
        blkio_config: BlkioFields | None
        shm_size: str | int | None
        ulimits: Mapping[str, str | int | UlimitFields] | None
        sysctls: Pairs | None
        init: bool | None
        group_add: Sequence[str | int] | None
        domainname: str | None
        extra_hosts: Mapping[str, str | Sequence[str]] | Sequence[str] | None
        dns: str | Sequence[str] | None
        dns_search: str | Sequence[str] | None
        dns_opt: str | Sequence[str] | None
        annotations: Pairs | None
        cgroup_parent: str | None
        runtime: str | None
        cgroup: Literal["host", "private"] | None
        storage_opt: Mapping[str, str | int] | None
        networks: Sequence[Network | str] | Mapping[Any, AttachmentFields | None] | None
        network_mode: str | Resource | None
        volumes: Sequence[str | BindFields | VolumeFields | TmpfsFields] | Mapping[Any, str] | None
        tmpfs: str | Sequence[str] | None
        secrets: Sequence[Secret | str | SecretFields] | None
        files: Mapping[str, str | bytes | Template | File] | None
        depends_on: Sequence[Resource | Condition | str] | Mapping[Any, DependencyFields] | None
        read_only: bool | None
        tty: bool | None
        stdin_open: bool | None
        cap_add: Sequence[str] | None
        cap_drop: Sequence[str] | None
        privileged: bool | None
        security_opt: Sequence[str] | None
        devices: Sequence[str | DeviceFields] | None
        device_cgroup_rules: Sequence[str] | None
        userns: Literal["auto", "host"] | None
        pid: str | Resource | None
        ipc: str | Resource | None
        uts: Literal["host"] | None
        learn: bool | None
        logging: LoggingFields | None
        pull_policy: str | None
        platform: str | None
        protect: bool | None
        ignore_changes: Sequence[str] | None
        pre_start: Sequence[Command | HookFields] | None
        post_start: Sequence[Command | HookFields] | None
        pre_stop: Sequence[Command | HookFields] | None

    class ContainerFields(JobFields, total=False):
        """What a container may say of itself."""

        restart: str | None
        ports: Sequence[str | int | PortFields] | None
        replicas: int | None
        healthcheck: HealthCheck | HealthCheckFields | None
        update: Update | UpdateFields | None
        on_unhealthy: Literal["none", "restart", "stop"] | None


class Container(Resource):
    """Something that runs for long, as one or more replicas."""

    __slots__ = ()
    kind: ClassVar[str] = "container"

    @checked("container")
    def __init__(self, name: str, **fields: Unpack[ContainerFields]) -> None:
        """Declares a container; `image` is the one field that it must have."""
        call = caller(("name",))
        self._declare(name, call, container_fields.parse(Place(call, subject("container", name)), "container", fields))

    def port(self, target: int, protocol: Literal["tcp", "udp"] = "tcp", *, replica: int = 1) -> Deferred:
        """For outputs: the host's port at which a port of the container is published, known after the apply."""
        return deferred(self, "port", f"{target}/{protocol}", replica)

    def ip(self, network: Network | str = "default", *, replica: int = 1) -> Deferred:
        """For outputs: the container's address on a network, known after the apply."""
        return deferred(self, "ip", network if isinstance(network, str) else network.name, replica)

    @property
    def started(self) -> Condition:
        """For `depends_on`: it runs."""
        return Condition(self, "started")

    @property
    def healthy(self) -> Condition:
        """For `depends_on`: its health check passes; without one, it runs."""
        return Condition(self, "healthy")

    @property
    def completed(self) -> Condition:
        """For `depends_on`: it has exited with 0."""
        return Condition(self, "completed")


class Job(Resource):
    """Something that runs once, to its end, whenever what it is made of changes."""

    __slots__ = ()
    kind: ClassVar[str] = "job"

    @checked("job")
    def __init__(self, name: str, **fields: Unpack[JobFields]) -> None:
        """Declares a job; `image` is the one field that it must have."""
        call = caller(("name",))
        self._declare(name, call, container_fields.parse(Place(call, subject("job", name)), "job", fields))

    @property
    def started(self) -> Condition:
        """For `depends_on`: it runs, or has run."""
        return Condition(self, "started")

    @property
    def completed(self) -> Condition:
        """For `depends_on`: it has exited with 0."""
        return Condition(self, "completed")
