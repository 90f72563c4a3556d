"""The instructions that make files, each on the merged tree of what came before it."""

from __future__ import annotations

import os
import posixpath
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.build import caches, copying, recipe, settings, tree
from stackpy_runtime.build.context import inputs, of_step
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.build.runner import Runner, StepRun
from stackpy_runtime.errors import InvalidConfig, ProcessFailed
from stackpy_runtime.store import trees

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.context import Context
    from stackpy_runtime.model import ImageConfig, RecipeStep, Step
    from stackpy_runtime.store.root import Root

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What of a failing step's output is kept for its error.
_LINES, _CHARACTERS = 40, 16_384


class Place(NamedTuple):
    """Where a step works.

    layers: folders of the layers before it, bottom first
    config: the image's configuration before it
    runner: for RUN
    output: takes a RUN step's output as it comes
    contexts: context folders that earlier steps of the build have opened, for COPY
    """

    root: Root
    layers: list[str]
    config: ImageConfig
    runner: Runner
    output: Callable[[str], None]
    contexts: dict[str, Context]


def needs_layer(place: Place, step: Step) -> bool:
    """Whether the step has anything to make: a WORKDIR that is there has not."""
    if step["instruction"] != "workdir":
        return True
    if not place.layers:
        return settings.absolute(place.config, step["target"]).rstrip("/") != ""
    with Merged(place.layers) as view:
        return not tree.is_folder(view.root, settings.absolute(place.config, step["target"]))


def make_layer(place: Place, step: Step, resolved: RecipeStep, staged: str) -> None:
    """Carries a step out; `staged`/upper is the layer then."""
    kind = step["instruction"]
    if kind == "run":
        _run(place, step, staged)
    elif kind == "copy":
        _copy(place, step, resolved, staged)
    elif kind == "file":
        target = settings.absolute(place.config, step["target"])
        with Merged(place.layers, staged) as view:
            who = copying.owner(view.root, step.get("chown", ""))
            copying.write_file(view.root, target, recipe.decoded(step["content"]), step.get("mode", 0o644), who)
    elif kind == "workdir":
        _make_folder(place, settings.absolute(place.config, step["target"]), staged)
    else:
        raise InvalidConfig(f"`{kind}` makes no files")


def _make_folder(place: Place, path: str, staged: str) -> None:
    with Merged(place.layers, staged) as view:
        folder, _ = tree.make_folders(view.root, path)
        os.close(folder)


def _copy(place: Place, step: Step, resolved: RecipeStep, staged: str) -> None:
    try:
        context = of_step(step, place.contexts, place.root.path)
    except OSError:
        raise copying.changed(step["context"]) from None
    sources, _ = context.sources(step)
    now = recipe.renamed(inputs(sources, step.get("mode")))
    planned = recipe.files_of(resolved["inputs"])
    if now != planned:
        differing = [name for name in {**planned, **now} if planned.get(name) != now.get(name)]
        raise copying.changed(differing[0].removeprefix("./"))
    with Merged(place.layers, staged) as view:
        who = copying.owner(view.root, step.get("chown", ""))
        target = settings.absolute(place.config, step["target"])
        copying.copy(view.root, context.descriptor, sources, target, step.get("mode"), who)


def _run(place: Place, step: Step, staged: str) -> None:
    if not place.layers:
        raise InvalidConfig("there is nothing to run in an empty image", hint="copy a program into it first")
    working_dir = settings.absolute(place.config, "").rstrip("/") or "/"
    if working_dir != "/":
        with Merged(place.layers) as view:
            there = tree.is_folder(view.root, working_dir)
        if not there:
            # The base says that it starts there, and nothing made it.
            _make_folder(place, working_dir, staged)
            # overlayfs takes a work folder only once when it need not sync.
            trees.remove(f"{staged}/work")
            os.mkdir(f"{staged}/work", 0o755)
    tail = _Tail(place.output)
    with caches.using(place.root, step.get("cache", []), place.output) as pairs:
        code = place.runner(
            StepRun(
                layers=place.layers,
                staged=staged,
                argv=step["argv"],
                environment={
                    "PATH": DEFAULT_PATH,
                    **step.get("proxies", {}),
                    **settings.environment(place.config),
                    **step.get("args", {}),
                },
                working_dir=working_dir,
                user=place.config.get("User", ""),
                caches=pairs,
                network=step.get("network", "default"),
            ),
            tail,
        )
    if code:
        raise ProcessFailed(_ending(code), exit_code=code, output=tail.text(), hint=_advice(code, step["argv"]))


def _ending(code: int) -> str:
    return f"it was killed by signal {code - 128}" if 128 < code < 193 else f"it exited with {code}"


def _advice(code: int, argv: list[str]) -> str:
    if code == 127:
        program = posixpath.basename(argv[0])
        return f"`{program}`, or a command in it, is not in the image: install it in an earlier step"
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
