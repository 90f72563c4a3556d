"""The seam between building and the sandbox: what a RUN step needs, as data.

Building decides what runs and on which layers; container/ knows how a sandbox is made and hands in a Runner. So a build
is testable with any Runner, and the sandbox knows nothing of recipes.
"""

from __future__ import annotations

from collections.abc import Callable

from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from stackpy_runtime.model import StepMount
    from stackpy_runtime.model.resources import Surroundings


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
    insecure: with the host's rights and devices, as a privileged container
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
    insecure: bool = False
    shell: str = ""


Output = Callable[[str], None]
"""Takes the step's standard output and error in chunks of text, as they come."""

Runner = Callable[[StepRun, Output], int]
"""Runs the step to its end and returns its exit code, 128+n for signal n. Nothing of it is left running or mounted."""
