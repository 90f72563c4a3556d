"""The engine's vocabulary: plain JSON documents, typed.

They are TypedDicts because the same document is a row of the store, a message between the processes and the answer to
`--format json`; objects would be converted at each of these borders. The supervisor validates what clients send
(host/requests.py). Names are the Compose specification's; sizes are bytes, times are seconds, dates RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Status = Literal["created", "running", "restarting", "exited"]
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
    size: NotRequired[int]  # tmpfs, bytes
    mode: NotRequired[int]  # tmpfs
    owner: NotRequired[Literal["container", "plain"]]  # bind: whose files they are inside
    nocopy: NotRequired[bool]  # volume: do not fill an empty one from the image


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


class Attachment(TypedDict):
    """A container's place on one network."""

    aliases: list[str]
    ipv4_address: NotRequired[str]


class ContainerConfig(TypedDict):
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
    mem_limit: NotRequired[int]
    cpus: NotRequired[float]
    pids_limit: NotRequired[int]
    network_mode: NotRequired[Literal["none", "host"]]  # absent: the networks below
    networks: NotRequired[dict[str, Attachment]]
    ports: NotRequired[list[PortBinding]]
    mounts: NotRequired[list[Mount]]
    secrets: NotRequired[list[SecretMount]]
    files: NotRequired[list[FileContent]]
    read_only: NotRequired[bool]
    tty: NotRequired[bool]
    stdin_open: NotRequired[bool]
    cap_add: NotRequired[list[str]]
    cap_drop: NotRequired[list[str]]
    stop_signal: NotRequired[str]
    stop_grace_period: NotRequired[float]
    restart: NotRequired[str]  # no | always | on-failure | on-failure:N | unless-stopped
    healthcheck: NotRequired[Probe]
    log_max_size: NotRequired[int]  # bytes of one log file
    log_max_file: NotRequired[int]
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
    stopped: NotRequired[bool]  # by a user: `unless-stopped` and `always` leave it alone until the next start


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


class Difference(TypedDict):
    """An entry of a container's tree that is not as in its image."""

    kind: Literal["A", "C", "D"]  # added, changed, deleted
    path: str  # absolute


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
    origins: NotRequired[list[str]]  # pulled, pushed: `name@digest`, as registries know it, the latest first
    manifest: NotRequired[str]  # pulled: the digest of its manifest, which is kept as a blob
    manifest_type: NotRequired[str]
    published: NotRequired[dict[str, str]]  # canonical reference → digest of the manifest that was pushed there


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
    size: int


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


class Secret(TypedDict):
    """A secret that the engine holds in memory; never its value."""

    name: str
    fingerprint: str  # keyed HMAC of the value
    labels: dict[str, str]
    created: str
    available: bool  # False: lost with a reboot, to be given again


class LogLine(TypedDict):
    """One line (or a part of a longer one) of a container's output."""

    time: str
    stream: Literal["stdout", "stderr"]
    text: str  # without its newline only where the container wrote none


# --- images as recipes ----------------------------------------------------------------------------------------------


class Base(TypedDict):
    """What the first step stands on."""

    kind: Literal["image", "scratch", "host", "bootstrap", "archive", "stage", "dockerfile"]
    reference: NotRequired[str]  # image
    platform: NotRequired[str]  # image: "linux/arm64" where another than the build's is asked for
    stage: NotRequired[str]  # stage: a name in the source's `stages`
    programs: NotRequired[list[str]]  # host
    suite: NotRequired[str]  # bootstrap: "debian:bookworm"
    packages: NotRequired[list[str]]  # bootstrap
    path: NotRequired[str]  # archive, absolute; dockerfile: of the file, absolute, or its name for messages
    # dockerfile: build/dockerfiles.py puts what it says in the place of this base before anything else looks at it
    content: NotRequired[str]  # its text, where it is no file
    context: NotRequired[str]  # absolute folder
    target: NotRequired[str]  # name or number of a stage; absent: the last
    args: NotRequired[dict[str, str]]
    contexts: NotRequired[dict[str, str]]  # absolute folders, or images as "docker-image://reference"


class BuildOptions(TypedDict, total=False):
    """How an image is built; nothing of it is a part of the image or of its identity."""

    no_cache: bool  # runs every step again
    secrets: dict[str, bytes]  # values by ID, for mounts of type secret
    ssh: dict[str, str]  # agent sockets by ID, absolute paths, for mounts of type ssh
    allow: list[str]  # "security.insecure", "network.host"
    on_failure: Literal["", "shell"]  # "shell": one where a RUN step failed, on the caller's terminal
    cache_from: list[str]  # where other hosts have brought theirs: absolute folders, and docker://reference
    cache_to: list[str]  # where to bring this one's


class Unlike(TypedDict):
    """A file that a step made otherwise when it was made once more."""

    step: str
    line: str
    path: str  # absolute
    what: str  # "content", "size 3, then 4", "only the first time"


class RunMount(TypedDict):
    """A `--mount` of a RUN step; only what its type knows is present, as the Dockerfile reference lists it.

    At most one of from_stage, from_image and from_context says where a bind or a cache begins; without one a bind shows
    the step's `context`, and a cache is empty.
    """

    type: Literal["cache", "bind", "tmpfs", "secret", "ssh"]
    target: NotRequired[str]  # as written: relative to the working directory; absent for a secret that is `env` alone
    source: NotRequired[str]  # bind, cache: a path in where it begins
    from_stage: NotRequired[str]  # a name in the source's `stages`
    from_image: NotRequired[str]  # a reference
    from_context: NotRequired[str]  # absolute folder
    id: NotRequired[str]  # cache, secret, ssh; always there for those
    sharing: NotRequired[Literal["shared", "private", "locked"]]  # cache
    readonly: NotRequired[bool]  # bind (absent: true), cache
    required: NotRequired[bool]  # secret, ssh: the step fails when the build was not given it
    mode: NotRequired[int]  # cache, secret, ssh
    uid: NotRequired[int]
    gid: NotRequired[int]
    size: NotRequired[int]  # tmpfs, bytes
    env: NotRequired[str]  # secret: the variable that holds it


class InlineFile(TypedDict):
    """A file whose content stands in the recipe: a heredoc of COPY and ADD."""

    name: str
    content: str  # base64


class Healthcheck(TypedDict):
    """An image's health check as Docker's config has it; durations in nanoseconds."""

    Test: list[str]  # ["NONE"] | ["CMD", …] | ["CMD-SHELL", line]
    Interval: NotRequired[int]
    Timeout: NotRequired[int]
    StartPeriod: NotRequired[int]
    StartInterval: NotRequired[int]
    Retries: NotRequired[int]


class Step(TypedDict):
    """One instruction. `instruction` is the Dockerfile's, in lower case; only that instruction's keys are present."""

    # run copy add workdir env user expose label entrypoint cmd file volume healthcheck stopsignal shell onbuild
    # maintainer
    instruction: str
    text: str  # as it would stand in a Dockerfile, for people
    line: str  # where the user wrote it: "stack.py:12"
    argv: NotRequired[list[str]]  # run, entrypoint, cmd, shell
    cache: NotRequired[list[str]]  # run: folders that outlive the step and enter no layer
    mounts: NotRequired[list[RunMount]]  # run
    args: NotRequired[dict[str, str]]  # run: build arguments, seen as environment, never in the image
    proxies: NotRequired[dict[str, str]]  # run: HTTP_PROXY and its kin, seen as environment; in no ID and no image
    network: NotRequired[Literal["default", "none", "host"]]  # run
    security: NotRequired[Literal["sandbox", "insecure"]]  # run
    sources: NotRequired[list[str]]  # copy, add: paths relative to where they are copied from, globs allowed
    context: NotRequired[str]  # copy, add, run with binds: absolute folder
    ignore_file: NotRequired[str]  # beside `context`: absolute; absent: the context's .dockerignore
    from_stage: NotRequired[str]  # copy: a name in the source's `stages`
    from_image: NotRequired[str]  # copy: a reference
    from_context: NotRequired[str]  # copy: absolute folder
    inline: NotRequired[list[InlineFile]]  # copy, add: besides `sources`; run: shown in /dev/pipes, mode 0755
    urls: NotRequired[list[str]]  # add: besides `sources`
    git: NotRequired[list[str]]  # add: besides `sources`; "https://host/repository.git#ref:subfolder"
    target: NotRequired[str]  # copy, add, file, workdir
    exclude: NotRequired[list[str]]  # copy: gitignore patterns, seen from each source
    exclude_paths: NotRequired[list[str]]  # copy, add: patterns of `--exclude`, which Docker reads
    chown: NotRequired[str]  # copy, add, file
    chmod: NotRequired[str]  # copy, add: octal or symbolic, as in chmod(1)
    link: NotRequired[bool]  # copy, add
    parents: NotRequired[bool]  # copy, add
    checksum: NotRequired[str]  # add: "sha256:…" of a URL, a commit of a git repository
    keep_git_dir: NotRequired[bool]  # add
    unpack: NotRequired[bool]  # add; absent: local archives are unpacked, those of URLs are not
    mode: NotRequired[int]  # copy (--chmod), file
    content: NotRequired[str]  # file: base64
    values: NotRequired[dict[str, str]]  # env, label
    value: NotRequired[str]  # user, stopsignal, onbuild (the whole instruction), maintainer
    ports: NotRequired[list[str]]  # expose: "80/tcp"
    targets: NotRequired[list[str]]  # volume
    healthcheck: NotRequired[Healthcheck]


class ImageSource(TypedDict):
    """An image as the user describes it.

    `stages` holds the other images that it stands on (a base of kind `stage`) or takes files from (`from_stage`), by
    name; those have no stages of their own and may name one another.
    """

    base: Base
    steps: list[Step]
    stages: NotRequired[dict[str, ImageSource]]


class RecipeStep(TypedDict):
    """A step with its place in the Merkle chain."""

    id: str  # hash over the step before, this instruction and `inputs`
    text: str
    line: str
    inputs: dict[str, str]  # what the ID was made of, by name: a file's path → its hash, "argv" → …


class Recipe(TypedDict):
    """An image known before it is built; base identity at steps[0]."""

    id: str
    steps: list[RecipeStep]
    stages: NotRequired[dict[str, Recipe]]  # of the images that it stands on or takes from; flat, as in the source


# --- live events ----------------------------------------------------------------------------------------------------


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
