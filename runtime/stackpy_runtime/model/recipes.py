"""Images as recipes: what is built of what."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from stackpy_runtime.model.images import Healthcheck
from stackpy_runtime.model.resources import Surroundings, Ulimit


class RunSettings(TypedDict, total=False):
    """What all RUN steps of a Dockerfile get that say nothing else; a part of their IDs, but for the addresses."""

    network: Literal["default", "none", "host"]
    extra_hosts: dict[str, list[str]]
    shm_size: int
    ulimits: dict[str, Ulimit]


class Base(TypedDict):
    """What the first step stands on."""

    kind: Literal["image", "scratch", "host", "bootstrap", "archive", "stage", "dockerfile"]
    reference: NotRequired[str]  # image
    platform: NotRequired[str]  # image, scratch: "linux/arm64" where another than this machine's is asked for
    stage: NotRequired[str]  # stage: a name in the source's `stages`
    programs: NotRequired[list[str]]  # host
    suite: NotRequired[str]  # bootstrap: "debian:bookworm"
    packages: NotRequired[list[str]]  # bootstrap
    path: NotRequired[str]  # archive, absolute; dockerfile: of the file, absolute, or its name for messages
    # dockerfile: build/dockerfiles.py puts what it says in the place of this base before anything else looks at it
    content: NotRequired[str]  # its text, where it is no file
    context: NotRequired[str]  # absolute folder; image: what its ONBUILD triggers copy from
    target: NotRequired[str]  # name or number of a stage; absent: the last
    args: NotRequired[dict[str, str]]
    contexts: NotRequired[dict[str, str]]  # absolute folders, or images as "docker-image://reference"
    run: NotRequired[RunSettings]
    allow: NotRequired[list[str]]  # what stackpy gives as a build option


class BuildOptions(TypedDict, total=False):
    """How an image is built; nothing of it is a part of the image or of its identity."""

    no_cache: bool  # runs every step again
    secrets: dict[str, bytes]  # values by ID, for mounts of type secret
    ssh: dict[str, str]  # agent sockets by ID, absolute paths, for mounts of type ssh
    ssh_keys: dict[str, list[str]]  # beside them: files of private keys by ID, absolute paths
    allow: list[str]  # "security.insecure", "network.host"
    limits: Surroundings  # of each RUN step: those of its control group, and cgroup_parent
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
    from_platform: NotRequired[str]  # beside from_image, where it is another than this machine's
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
    extra_hosts: NotRequired[dict[str, list[str]]]  # run: name → addresses, which do not count
    shm_size: NotRequired[int]  # run
    ulimits: NotRequired[dict[str, Ulimit]]  # run
    security: NotRequired[Literal["sandbox", "insecure"]]  # run
    sources: NotRequired[list[str]]  # copy, add: paths relative to where they are copied from, globs allowed
    context: NotRequired[str]  # copy, add, run with binds: absolute folder
    ignore_file: NotRequired[str]  # beside `context`: absolute; absent: the context's .dockerignore
    from_stage: NotRequired[str]  # copy: a name in the source's `stages`
    from_image: NotRequired[str]  # copy: a reference
    from_platform: NotRequired[str]  # copy: beside from_image, where it is another than this machine's
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
    submodules: NotRequired[bool]  # add, git; absent: they come along
    commit_times: NotRequired[bool]  # add, git: files have the time of the commit
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


class StepMount(TypedDict):
    """Something that a RUN step sees at `target` and that enters no layer.

    folder: `source`, a folder of the host, or what lies at `within` in it; links there lead nowhere else
    layers: the tree of the layers `layers`, bottom first, or what lies at `within` in it; what is written goes
    tmpfs: an empty file system in memory
    memory: a file with the bytes `content`, which reach no disk
    socket: the socket at `source` on the host
    """

    kind: Literal["folder", "layers", "tmpfs", "memory", "socket"]
    target: str  # absolute, inside
    read_only: bool
    file: bool  # it is no folder
    source: NotRequired[str]
    within: NotRequired[str]
    layers: NotRequired[list[str]]
    content: NotRequired[bytes]
    executable: NotRequired[bool]  # memory
    mode: NotRequired[int]  # memory
    uid: NotRequired[int]  # memory; as inside
    gid: NotRequired[int]
    size: NotRequired[int]  # tmpfs, bytes
