"""Images as the store holds them."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Healthcheck(TypedDict):
    """An image's health check as Docker's config has it; durations in nanoseconds."""

    Test: list[str]  # ["NONE"] | ["CMD", …] | ["CMD-SHELL", line]
    Interval: NotRequired[int]
    Timeout: NotRequired[int]
    StartPeriod: NotRequired[int]
    StartInterval: NotRequired[int]
    Retries: NotRequired[int]


class ImageConfig(TypedDict):
    """The run-time defaults of an image; OCI image-spec config.md, `config`."""

    Entrypoint: NotRequired[list[str]]
    Cmd: NotRequired[list[str]]
    Env: NotRequired[list[str]]
    WorkingDir: NotRequired[str]
    User: NotRequired[str]
    ExposedPorts: NotRequired[dict[str, dict[str, str]]]
    Labels: NotRequired[dict[str, str]]
    Volumes: NotRequired[dict[str, dict[str, str]]]
    StopSignal: NotRequired[str]
    Shell: NotRequired[list[str]]
    OnBuild: NotRequired[list[str]]
    Healthcheck: NotRequired[Healthcheck]


class History(TypedDict):
    """One line of an image's history."""

    created: str
    created_by: str
    empty_layer: bool
    comment: NotRequired[str]
    author: NotRequired[str]


class ImageLine(TypedDict):
    """One line of `history`: a step of an image."""

    id: str  # the image's for its last step, else ""
    created: str
    created_by: str
    size: int
    comment: str


class Image(TypedDict):
    """An image in the store: layers bottom first."""

    id: str  # sha256:… of the OCI config for archives, of the recipe for built images
    references: list[str]
    layers: list[str]  # layer IDs in store/layers, bottom first
    config: ImageConfig
    history: list[History]
    recipe: str  # recipe ID, or ""
    architecture: str
    size: int
    created: str
    built: NotRequired[str]  # when this store made it; `created` of what is built is the same everywhere
    epoch: NotRequired[int]  # seconds since 1970: to what times in its exported layers are clamped
    author: NotRequired[str]
    pulled: NotRequired[str]  # when its registry was last asked for it
    origins: NotRequired[list[str]]  # pulled, pushed: `name@digest`, as registries know it, the latest first
    beside: NotRequired[list[str]]  # pulled for another platform: `reference platform`, the name being this machine's
    manifest: NotRequired[str]  # pulled: the digest of its manifest, which is kept as a blob
    manifest_type: NotRequired[str]
    published: NotRequired[dict[str, str]]  # canonical reference → digest of the manifest that was pushed there
