"""RUN: a program in a sandbox on the layers before it."""

from __future__ import annotations

import os
import posixpath
from collections import deque
from contextlib import ExitStack
from threading import Lock

from stackpy_runtime.build import settings, tree
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.build.mounting import shown
from stackpy_runtime.build.runner import StepRun
from stackpy_runtime.errors import EngineError, InvalidConfig, ProcessFailed
from stackpy_runtime.store import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.steps import Place
    from stackpy_runtime.model import BuildOptions, RecipeStep, Step
    from stackpy_runtime.model.resources import Surroundings

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What of a failing step's output is kept for its error.
_LINES, _CHARACTERS = 40, 16_384

# There is one terminal, and stages that are built at the same time may fail at the same time.
_terminal = Lock()


def run(place: Place, step: Step, resolved: RecipeStep, staged: str) -> None:
    """Runs a step; what it writes is left in `staged`/upper.

    Raises ProcessFailed with its last lines when it fails.
    """
    if not place.layers:
        raise InvalidConfig("there is nothing to run in an empty image", hint="copy a program into it first")
    working_dir = settings.absolute(place.config, "").rstrip("/") or "/"
    if working_dir != "/":
        _make_working_dir(place, working_dir, staged)
    tail = _Tail(place.output)
    with ExitStack() as stack:
        seen = shown(place, step, resolved, stack)
        started = StepRun(
            layers=place.layers,
            staged=staged,
            argv=step["argv"],
            environment={
                "PATH": DEFAULT_PATH,
                **step.get("proxies", {}),
                **settings.environment(place.config),
                **step.get("args", {}),
                **seen.environment,
            },
            working_dir=working_dir,
            user=place.config.get("User", ""),
            mounts=seen.mounts,
            network=step.get("network", "default"),
            surroundings=_surroundings(step, place.options),
            insecure=step.get("security") == "insecure",
        )
        try:
            code = place.runner(started, tail)
            if code:
                advice = _advice(code, step["argv"], place.options)
                raise ProcessFailed(_ending(code), exit_code=code, output=tail.text(), hint=advice)
        except ProcessFailed as failure:
            if place.options.get("on_failure") == "shell":
                _look_around(place, started, failure)
            raise


def _look_around(place: Place, failed: StepRun, failure: ProcessFailed) -> None:
    """Opens a shell where a step has failed; says so where that fails too, since the first failure is what counts."""
    with _terminal:
        place.output(f"{failure.message}: here is a shell where it failed, which `exit` leaves\n")
        _renew_work(failed.staged)
        try:
            place.runner(failed._replace(shell=_shell(failed.argv)), place.output)
        except EngineError as error:
            place.output(f"no shell opens there: {error.message}\n")


def _make_working_dir(place: Place, path: str, staged: str) -> None:
    """Makes the working folder where the base says that it starts there, and nothing made it."""
    with Merged(place.layers) as view:
        if tree.is_folder(view.root, path):
            return
    with Merged(place.layers, staged) as view:
        folder, _ = tree.make_folders(view.root, path)
        os.close(folder)
    _renew_work(staged)


def _renew_work(staged: str) -> None:
    # overlayfs takes a work folder only once when it need not sync.
    trees.remove(f"{staged}/work")
    os.mkdir(f"{staged}/work", 0o755)


def _shell(argv: list[str]) -> str:
    """The shell that ran the step, or the one that most images have."""
    return argv[0] if len(argv) > 2 and argv[1].startswith("-") and argv[1].endswith("c") else "/bin/sh"


def _ending(code: int) -> str:
    return f"it was killed by signal {code - 128}" if 128 < code < 193 else f"it exited with {code}"


def _surroundings(step: Step, options: BuildOptions) -> Surroundings:
    result = options.get("limits", {}).copy()
    if "extra_hosts" in step:
        result["extra_hosts"] = step["extra_hosts"]
    if "shm_size" in step:
        result["shm_size"] = step["shm_size"]
    if "ulimits" in step:
        result["ulimits"] = step["ulimits"]
    return result


def _advice(code: int, argv: list[str], options: BuildOptions) -> str:
    if code == 127:
        program = posixpath.basename(argv[0])
        return f"`{program}`, or a command in it, is not in the image: install it in an earlier step"
    if code == 137 and options.get("limits", {}).get("mem_limit"):
        return "it may need more memory than `--memory` gives it"
    if code == 137:
        return "the host may have run out of memory: `dmesg` tells"
    return ""


class _Tail:
    """Passes output on and keeps its end."""

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output
        self._chunks: deque[str] = deque()
        self._length = 0

    def __call__(self, text: str) -> None:
        self._chunks.append(text[-_CHARACTERS:])
        self._length += len(self._chunks[-1])
        while self._length - len(self._chunks[0]) >= _CHARACTERS:
            self._length -= len(self._chunks.popleft())
        self._output(text)

    def text(self) -> str:
        """The last lines."""
        return "\n".join("".join(self._chunks)[-_CHARACTERS:].splitlines()[-_LINES:])
