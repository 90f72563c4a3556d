"""A build under way: the image's chain of steps, and those of the stages that it needs.

Stages that do not depend on one another are built at the same time; one that nothing needs, since what takes from it is
cached, is left alone.
"""

from __future__ import annotations

import os
import time
from threading import Lock, Thread

from stackpy_runtime.build.caching import Results
from stackpy_runtime.build.chain import Cancelled, Chain, Made, moment
from stackpy_runtime.build.context import Walks
from stackpy_runtime.build.digests import sha256_hex
from stackpy_runtime.build.steps import Tree
from stackpy_runtime.errors import EngineError
from stackpy_runtime.platforms import machine
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.context import Context
    from stackpy_runtime.build.runner import Runner
    from stackpy_runtime.build.telling import Report
    from stackpy_runtime.model import BuildOptions, Image, ImageSource, Progress, Recipe, RunMount, Step
    from stackpy_runtime.store.store import Store


def _taken_from(step: Step) -> list[str]:
    """The stages that a step copies from, or mounts."""
    return [each["from_stage"] for each in (step, *step.get("mounts", [])) if "from_stage" in each]


def _now() -> str:
    nanoseconds = time.time_ns()
    return f"{moment(nanoseconds // 10**9).removesuffix('Z')}.{nanoseconds // 1000 % 10**6:06}Z"


class _Task:
    """A stage that is built by a thread of its own."""

    def __init__(self, build: Callable[[], Made]) -> None:
        self._build = build
        self._made: Made | None = None
        self.error: BaseException | None = None
        self.thread = Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            self._made = self._build()
        except BaseException as error:
            self.error = error

    def result(self) -> Made:
        """What the stage has come to; raises what it raised."""
        self.thread.join()
        if self.error is not None:
            raise self.error
        assert self._made is not None
        return self._made


class Work:
    """One build under way."""

    def __init__(
        self,
        store: Store,
        source: ImageSource,
        recipe: Recipe,
        runner: Runner,
        progress: Report,
        options: BuildOptions,
        results: Results | None = None,
        walks: Walks | None = None,
    ) -> None:
        self.walks = walks or Walks()
        self.store, self.runner, self.options = store, runner, options
        self._source, self._recipe, self._tell = source, recipe, progress
        self._telling, self._guard = Lock(), Lock()
        self.results = results or Results(store, self.progress, fresh=bool(options.get("no_cache")))
        self.contexts: dict[str, Context] = {}
        self._tasks: dict[str, _Task] = {}
        self.failed = False

    def progress(self, event: Progress) -> None:
        """Tells the caller, one thread at a time."""
        with self._telling:
            self._tell(event)

    def run(self) -> Image:
        """Builds, and returns an image that is not recorded yet."""
        try:
            for name in self._needed(self._source, self._recipe):
                self.stage(name)
            made = self._whole()
            self.results.settle()
        except BaseException as error:
            self.failed = True
            if isinstance(error, Exception):
                # An interrupt does not wait for what other chains run.
                self._join()
            else:
                self._let_go()
            raise
        self._join()
        fresh = os.urandom(8).hex() if self.options.get("no_cache") else ""
        return self._image(made, fresh)

    def _whole(self) -> Made:
        """The image itself, once its stages are there; raises what failed first, and not that others gave up for it."""
        try:
            return Chain(self, "", self._source, self._recipe).run()
        except Cancelled:
            for task in list(self._tasks.values()):
                task.thread.join()
            errors = [task.error for task in self._tasks.values()]
            raise next(error for error in errors if error and not isinstance(error, Cancelled)) from None

    def _join(self) -> None:
        for task in list(self._tasks.values()):
            task.thread.join()
        for context in self.contexts.values():
            context.close()

    def _let_go(self) -> None:
        for context in list(self.contexts.values()):
            try:
                context.let_go()
            except EngineError:
                # Another chain is still writing there; the next collection takes it.
                continue

    def _image(self, made: Made, fresh: str) -> Image:
        recipe = self._recipe["id"]
        image: Image = {
            "id": f"sha256:{sha256_hex(f'{recipe} {fresh}'.encode()) if fresh else recipe}",
            "references": [],
            "layers": made.layers,
            "config": made.config,
            "history": made.history,
            "recipe": recipe,
            "architecture": made.architecture or machine().architecture,
            "size": made.size,
            "created": made.created,
            "epoch": made.epoch,
            "built": _now(),
        }
        if made.author:
            image["author"] = made.author
        return image

    # --- stages -------------------------------------------------------------------------------------------------------

    def _needed(self, source: ImageSource, recipe: Recipe) -> list[str]:
        """The stages that will be asked for, those first on which others stand, as far as the cache tells now."""
        found: dict[str, None] = {}

        def walk(source: ImageSource, recipe: Recipe) -> None:
            known = set() if self.options.get("no_cache") else self._known(recipe)
            names = [source["base"]["stage"]] if source["base"]["kind"] == "stage" else []
            for resolved, step in zip(recipe["steps"][1:], source["steps"], strict=True):
                if resolved["id"] not in known:
                    names += _taken_from(step)
            for name in names:
                if name not in found:
                    walk(self._source["stages"][name], self._recipe["stages"][name])
                    found[name] = None

        walk(source, recipe)
        return list(found)

    def _known(self, recipe: Recipe) -> set[str]:
        return self.store.steps_present(step["id"] for step in recipe["steps"])

    def stage(self, name: str) -> _Task:
        """A stage under way, or done."""
        with self._guard:
            if name not in self._tasks:
                chain = Chain(self, name, self._source["stages"][name], self._recipe["stages"][name])
                self._tasks[name] = _Task(chain.run)
            return self._tasks[name]

    def await_stages(self, step: Step) -> None:
        """Waits for the stages that a step takes files from."""
        for name in _taken_from(step):
            self.stage(name).result()

    def like_of(self, name: str) -> str:
        """What the end of a stage is like, once it is built (likeness.py)."""
        return self.stage(name).result().like

    def tree_of(self, place: RunMount | Step) -> Tree:
        """The files of a stage, once it is built, or of an image."""
        root = self.store.root
        if "from_stage" in place:
            name = place["from_stage"]
            made = self.stage(name).result()
            return Tree(self._recipe["stages"][name]["id"], [layers.folder(root, layer) for layer in made.layers])
        reference, platform = place["from_image"], place.get("from_platform", "")
        image = self.store.of_platform(reference, platform) if platform else self.store.image(reference)
        return Tree(image["id"], [layers.folder(root, layer) for layer in image["layers"]])
