"""What an engine root takes of the disk."""

from __future__ import annotations

from typing import Literal, TypedDict

from stackpy_runtime.model.containers import ContainerState


class ImageUsage(TypedDict):
    """What an image takes of the disk, in bytes; `shared`: with other images."""

    id: str
    references: list[str]
    created: str
    size: int
    shared: int
    unique: int
    containers: int  # made of it


class ContainerUsage(TypedDict):
    """What a container takes of the disk: what it has written, and its logs."""

    id: str
    name: str
    image: str
    command: list[str]
    created: str
    state: ContainerState
    volumes: int  # mounted in it
    size: int


class VolumeUsage(TypedDict):
    """What a volume takes of the disk."""

    name: str
    links: int  # containers that mount it
    size: int  # with its snapshots
    snapshots: int  # what those take of it


class CacheUsage(TypedDict):
    """What an entry of the build cache takes of the disk."""

    id: str
    kind: Literal["step", "mount", "stat"]
    size: int
    used: float  # when last, seconds since 1970


class DiskUsage(TypedDict):
    """What an engine root takes of the disk, in bytes as `du` counts them."""

    layers: int  # all images, what they share counted once
    images: list[ImageUsage]
    containers: list[ContainerUsage]
    volumes: list[VolumeUsage]
    cache: list[CacheUsage]
    rest: int  # the index, history, logs, and what a collection will remove
    free: int  # left on the file system


class Consumption(TypedDict):
    """What a container uses at one moment; `cpu` and the bytes of network and devices are counted from its start on."""

    time: int  # nanoseconds since the epoch
    cpu: int  # nanoseconds of one processor
    memory: int  # bytes
    memory_limit: int  # the host's memory where it has no limit
    pids: int
    block_read: int
    block_write: int
    network_rx: int  # 0 without a network namespace of its own
    network_tx: int
