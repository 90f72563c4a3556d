"""From a recipe to an image: what is in the cache is taken, the rest is made.

Stages that do not depend on one another are built at the same time; one that nothing needs, since what takes from it is
cached, is left alone.

The image is recorded last, once all its layers are there for good (caching.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from threading import Lock, Thread

from stackpy_runtime.build import bases, settings
from stackpy_runtime.build.caching import Results
from stackpy_runtime.build.steps import Place, Tree, make_layer, needs_layer
from stackpy_runtime.errors import EngineError
from stackpy_runtime.model import (
    BuildOptions,
    Image,
    ImageSource,
    Progress,
    Recipe,
    RecipeStep,
    RunMount,
    Step,
)
from stackpy_runtime.store import layers
from stackpy_runtime.store.images import with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.build.bases import Ground
    from stackpy_runtime.build.context import Context
    from stackpy_runtime.build.runner import Runner
    from stackpy_runtime.store.store import Store

Report = Callable[[Progress], None]


def build(
    store: Store,
    source: ImageSource,
    recipe: Recipe,
    *,
    key: str,
    tags: list[str],
    labels: dict[str, str],
    runner: Runner,
    progress: Report,
    options: BuildOptions | None = None,
) -> Image:
    """The image of a recipe, built as far as it is not in the store; recorded, tagged, and remembered under `key`.

    source: what the recipe was resolved from
    key: under which the recipe is remembered for the next explanation, or ""
    labels: the engine's own, on top of those of the steps
    runner: runs RUN steps

    Raises ProcessFailed for a failing RUN step, with its last lines; Conflict when a copied file changed since the
    recipe was made; InvalidConfig, NotFound as the steps do. Steps finished before stay in the cache.
    """
    given = options or {}
    image = None if given.get("no_cache") else _finished(store, source, recipe)
    if image is None:
        with layers.using(store.root):
            image = _Build(store, source, recipe, runner, progress, given).run()
        changed = True
    else:
        for index, step in enumerate(recipe["steps"]):
            _report(progress, step, "", index, len(recipe["steps"]), cached=True)
        changed = False
    own = image["config"].get("Labels", {})
    if not labels.items() <= own.items():
        image["config"]["Labels"] = {**own, **labels}
        changed = True
    new_tags = [tag for tag in map(with_tag, tags) if tag not in image["references"]]
    if changed or new_tags:
        image["references"] = [*image["references"], *new_tags]
        store.put_image(image)
    if key and store.recipe(key) != recipe:
        store.put_recipe(key, recipe)
    return image


def carry_out(
    store: Store,
    source: ImageSource,
    recipe: Recipe,
    runner: Runner,
    progress: Report,
    options: BuildOptions,
    results: Results,
) -> None:
    """Walks through a recipe as a build does, records no image, and leaves to `results` what becomes of each layer."""
    _Build(store, source, recipe, runner, progress, options, results).run()


def _finished(store: Store, source: ImageSource, recipe: Recipe) -> Image | None:
    """The image of the recipe when it is in the store, with all its layers; the latest, where it was built afresh."""
    made = [image for image in store.images() if image["recipe"] == recipe["id"]]
    whole = [image for image in made if all(layers.exists(store.root, layer) for layer in image["layers"])]
    if not whole:
        return None
    image = max(whole, key=lambda each: each.get("built", ""))
    ids = [step["id"] for step in recipe["steps"]]
    present = store.steps_present(ids)
    if len(present) < len(set(ids)):
        # The cache was cleared, and the image stayed: what its steps made is known from it.
        given = source["base"]["kind"] in ("image", "scratch", "stage")
        for step_id in ids[1 if given else 0 :]:
            if step_id not in present:
                store.put_step(step_id, step_id if step_id in image["layers"] else "", {})
    return image


def _report(progress: Report, step: RecipeStep, stage: str, index: int, count: int, *, cached: bool) -> None:
    text = f"[{stage}] {step['text']}" if stage else step["text"]
    progress({"kind": "step", "text": text, "step": index + 1, "steps": count, "cached": cached})


def _taken_from(step: Step) -> list[str]:
    """The stages that a step copies from, or mounts."""
    return [each["from_stage"] for each in (step, *step.get("mounts", [])) if "from_stage" in each]


class _Cancelled(Exception):
    """Another chain of the build failed."""


class _Made:
    """What a chain has come to: layers, configuration and history after its last step."""

    def __init__(self, ground: Ground) -> None:
        self.layers, self.config = list(ground.layers), ground.config
        self.history, self.size, self.epoch = list(ground.history), ground.size, ground.epoch
        self.architecture, self.author = ground.architecture, ""

    @property
    def created(self) -> str:
        """The same wherever and whenever it is built."""
        return moment(self.epoch)

    def ground(self) -> Ground:
        """It as what another image stands on; triggers do not come along: they were run."""
        config = self.config.copy()
        config.pop("OnBuild", None)
        return bases.Ground(self.layers, config, self.history, self.size, self.epoch, self.architecture)


def moment(epoch: int) -> str:
    """Seconds since 1970 as the engine writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def _now() -> str:
    nanoseconds = time.time_ns()
    return f"{moment(nanoseconds // 10**9).removesuffix('Z')}.{nanoseconds // 1000 % 10**6:06}Z"


class _Task:
    """A stage that is built by a thread of its own."""

    def __init__(self, build: Callable[[], _Made]) -> None:
        self._build = build
        self._made: _Made | None = None
        self._error: BaseException | None = None
        self.thread = Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            self._made = self._build()
        except BaseException as error:
            self._error = error

    def result(self) -> _Made:
        """What the stage has come to; raises what it raised."""
        self.thread.join()
        if self._error is not None:
            raise self._error
        assert self._made is not None
        return self._made


class _Build:
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
    ) -> None:
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
            made = _Chain(self, "", self._source, self._recipe).run()
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

    def _image(self, made: _Made, fresh: str) -> Image:
        from stackpy_runtime.build.digests import sha256_hex

        recipe = self._recipe["id"]
        image: Image = {
            "id": f"sha256:{sha256_hex(f'{recipe} {fresh}'.encode()) if fresh else recipe}",
            "references": [],
            "layers": made.layers,
            "config": made.config,
            "history": made.history,
            "recipe": recipe,
            "architecture": made.architecture or architecture(),
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
                chain = _Chain(self, name, self._source["stages"][name], self._recipe["stages"][name])
                self._tasks[name] = _Task(chain.run)
            return self._tasks[name]

    def await_stages(self, step: Step) -> None:
        """Waits for the stages that a step takes files from."""
        for name in _taken_from(step):
            self.stage(name).result()

    def tree_of(self, place: RunMount | Step) -> Tree:
        """The files of a stage, once it is built, or of an image."""
        root = self.store.root
        if "from_stage" in place:
            name = place["from_stage"]
            made = self.stage(name).result()
            return Tree(self._recipe["stages"][name]["id"], [layers.folder(root, layer) for layer in made.layers])
        image = self.store.image(place["from_image"])
        return Tree(image["id"], [layers.folder(root, layer) for layer in image["layers"]])


class _Chain:
    """An image or a stage, step by step.

    stage: its name, or ""
    """

    def __init__(self, build_: _Build, stage: str, source: ImageSource, recipe: Recipe) -> None:
        self._build, self._stage, self._source, self._recipe = build_, stage, source, recipe
        self._store = build_.store
        self._rest = ""

    def run(self) -> _Made:
        """Carries out what is not cached."""
        try:
            return self._run()
        except BaseException:
            self._build.failed = True
            raise
        finally:
            self._flush()

    def _run(self) -> _Made:
        known = self._store.steps_present(step["id"] for step in self._recipe["steps"])
        made = _Made(self._ground())
        own_cmd = False
        pairs = zip(self._recipe["steps"][1:], self._source["steps"], strict=True)
        for index, (resolved, step) in enumerate(pairs, 1):
            if self._build.failed:
                raise _Cancelled
            layer = ""
            if step["instruction"] in settings.LAYERS:
                layer = self._layer(index, resolved, step, made)
            else:
                self._say(resolved, index, cached=resolved["id"] in known)
                if resolved["id"] not in known:
                    self._store.put_step(resolved["id"], "", {})
            if layer:
                made.layers.append(layer)
                made.size += layers.size(self._store.root, layer)
            made.config = settings.apply(made.config, step, own_cmd)
            own_cmd = own_cmd or step["instruction"] == "cmd"
            if step["instruction"] == "maintainer":
                made.author = step["value"]
            made.history.append({"created": made.created, "created_by": resolved["text"], "empty_layer": not layer})
        return made

    def _say(self, step: RecipeStep, index: int, *, cached: bool) -> None:
        self._flush()
        _report(self._build.progress, step, self._stage, index, len(self._recipe["steps"]), cached=cached)

    def _ground(self) -> Ground:
        base, first = self._source["base"], self._recipe["steps"][0]
        if base["kind"] == "stage":
            ground = self._build.stage(base["stage"]).result().ground()
            self._say(first, 0, cached=True)
            return ground
        found = bases.existing(self._store, base, first)
        if found is not None:
            self._say(first, 0, cached=True)
            return found
        results = self._build.results
        if base["kind"] == "archive":
            self._say(first, 0, cached=first["id"] in self._store.steps_present([first["id"]]))
            with results.alone(first):
                return bases.load(self._store, base, first, self._build.progress)
        with self._subject(0, first):
            results.once(
                first,
                lambda cached: self._say(first, 0, cached=cached),
                lambda staged: bases.make(base, staged, self._build.progress),
                base=True,
            )
        return bases.made(self._store, first)

    def _layer(self, index: int, resolved: RecipeStep, step: Step, made: _Made) -> str:
        """The ID of a step's layer, made when it is not there; "" when the step makes none."""
        build_, root = self._build, self._store.root
        folders = [layers.folder(root, layer) for layer in made.layers]
        place = Place(
            root, folders, made.config, build_.runner, self._output, build_.contexts, build_.options, build_.tree_of
        )
        with self._subject(index, resolved):
            return build_.results.once(
                resolved,
                lambda cached: self._say(resolved, index, cached=cached),
                lambda staged: make_layer(place, step, resolved, staged),
                lambda: needs_layer(place, step),
                before=lambda: build_.await_stages(step),
            )

    def _subject(self, index: int, step: RecipeStep) -> _Subject:
        where = f" ({step['line']})" if step["line"] else ""
        stage = f"[{self._stage}] " if self._stage else ""
        return _Subject(f"step {index + 1}/{len(self._recipe['steps'])} {stage}{step['text']}{where}")

    def _output(self, text: str) -> None:
        """Passes a step's output on; that of stages in whole lines, since several may speak at the same time."""
        if not self._stage:
            self._build.progress({"kind": "output", "text": text})
            return
        lines, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._build.progress({"kind": "output", "text": lines + newline})

    def _flush(self) -> None:
        if self._rest:
            self._build.progress({"kind": "output", "text": f"{self._rest}\n"})
            self._rest = ""


class _Subject:
    """Says of an error in which step it happened."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EngineError) and not error.subject:
            error.subject = self._text


def architecture() -> str:
    """This machine's, by the name that OCI images use (GOARCH)."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)
