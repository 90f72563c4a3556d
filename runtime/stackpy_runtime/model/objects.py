"""Networks, volumes and secrets; what an engine reports."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class NetworkConfig(TypedDict):
    """A bridge network."""

    name: str
    internal: NotRequired[bool]  # no way out and no way in but from its members
    subnet: NotRequired[str]  # CIDR
    labels: NotRequired[dict[str, str]]


class Network(TypedDict):
    """A network as the engine holds it."""

    id: str
    name: str
    driver: str  # bridge
    bridge: str  # the link's name on the host
    subnet: str
    gateway: str
    internal: bool
    labels: dict[str, str]
    created: str


class Volume(TypedDict):
    """A named volume; its files lie under `mountpoint`."""

    name: str
    driver: str  # local
    mountpoint: str
    labels: dict[str, str]
    created: str


class VolumeSnapshot(TypedDict):
    """What a volume held at a moment."""

    id: str  # they sort by time
    created: str
    size: int  # bytes on disk; a clone shares them with the volume
    labels: dict[str, str]
    holds: NotRequired[int]  # inode of the folder that a restore has put into it


class Secret(TypedDict):
    """A secret that the engine holds in memory; never its value."""

    name: str
    fingerprint: str  # keyed HMAC of the value
    labels: dict[str, str]
    created: str
    available: bool  # False: lost with a reboot, to be given again


class Progress(TypedDict):
    """Something that happened while an engine verb ran."""

    kind: Literal["step", "output", "download", "upload", "state"]
    text: str
    step: NotRequired[int]  # 1..n of a build
    steps: NotRequired[int]
    cached: NotRequired[bool]
    done: NotRequired[int]  # bytes
    total: NotRequired[int]


class Check(TypedDict):
    """One finding of `system check`."""

    name: str
    ok: bool
    required: bool  # the engine cannot work without it
    detail: str
    remedy: str  # the command that mends it
