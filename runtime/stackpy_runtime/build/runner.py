"""The seam between building and the sandbox: what a RUN step needs, as data.

Building decides what runs and on which layers; container/ knows how a sandbox is made and hands in a Runner. So a build
is testable with any Runner, and the sandbox knows nothing of recipes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, NotRequired, TypedDict

from stackpy_runtime.model.resources import Surroundings


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


class StepRun(NamedTuple):
    """One RUN step.

    layers: layer folders on the host, bottom first
    staged: folder with `upper/` and `work/`; what the step writes is left in `upper/`
    argv: the program and its arguments, inside
    environment: complete; nothing of the host's is added
    working_dir: inside; exists in the layers or in `upper/`
    user: "name", "uid", "name:group" or "uid:gid" of the image; "" means root
    mounts: outer before inner
    network: "default" has a way out, "none" has loopback only, "host" is the host's
    surroundings: its limits, the size of /dev/shm, further names in /etc/hosts
    shell: instead of `argv` people talk to this program, on the caller's terminal
    """

    layers: list[str]
    staged: str
    argv: list[str]
    environment: dict[str, str]
    working_dir: str
    user: str
    mounts: list[StepMount]
    network: Literal["default", "none", "host"]
    surroundings: Surroundings
    shell: str = ""


Output = Callable[[str], None]
"""Takes the step's standard output and error in chunks of text, as they come."""

Runner = Callable[[StepRun, Output], int]
"""Runs the step to its end and returns its exit code, 128+n for signal n. Nothing of it is left running or mounted."""
