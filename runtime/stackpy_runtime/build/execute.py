"""From a recipe to an image: what is in the cache is taken, the rest is made, each layer by a rename.

Killed at any moment it leaves a staging folder, which garbage collection removes, and the layers that were finished.
A layer's bytes may still be in memory only; so it is recorded with the boot in which it was made, is believed in that
boot, and once all is done one sync makes it last (`_settle`). The image is recorded after that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from stackpy_runtime.build import bases, settings
from stackpy_runtime.build.steps import Place, make_layer, needs_layer
from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.linux.proc import boot_id
from stackpy_runtime.model import BuildOptions, Image, ImageConfig, ImageSource, Progress, Recipe, RecipeStep, Step
from stackpy_runtime.store import layers, locks
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
    image = _finished(store, source, recipe)
    if image is None:
        with layers.using(store.root):
            build_ = _Build(store, source, recipe, runner, progress, options or {})
            try:
                image = build_.run()
            finally:
                build_.close()
        changed = True
    else:
        for index, step in enumerate(recipe["steps"]):
            _report(progress, step, index, len(recipe["steps"]), cached=True)
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


def _finished(store: Store, source: ImageSource, recipe: Recipe) -> Image | None:
    """The image of the recipe when it is in the store, with all its layers."""
    try:
        image = store.image(f"sha256:{recipe['id']}")
    except NotFound:
        return None
    if not all(layers.exists(store.root, layer) for layer in image["layers"]):
        return None
    ids = [step["id"] for step in recipe["steps"]]
    present = store.steps_present(ids)
    if len(present) < len(set(ids)):
        # The cache was cleared, and the image stayed: what its steps made is known from it.
        given = source["base"]["kind"] in ("image", "scratch")
        for step_id in ids[1 if given else 0 :]:
            if step_id not in present:
                store.put_step(step_id, step_id if step_id in image["layers"] else "", {})
    return image


def _report(progress: Report, step: RecipeStep, index: int, count: int, *, cached: bool) -> None:
    progress({"kind": "step", "text": step["text"], "step": index + 1, "steps": count, "cached": cached})


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
    ) -> None:
        self._store, self._source, self._recipe = store, source, recipe
        self._runner, self._progress, self._options = runner, progress, options
        self._boot = boot_id()
        self._created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._contexts: dict[str, Context] = {}
        self._unsettled: list[tuple[str, str]] = []

    def run(self) -> Image:
        """Builds, and returns an image that is not recorded yet."""
        ground = self._ground()
        known = self._store.steps_present(step["id"] for step in self._recipe["steps"])
        layer_ids, history, config, size = list(ground.layers), list(ground.history), ground.config, ground.size
        own_cmd = False
        pairs = zip(self._recipe["steps"][1:], self._source["steps"], strict=True)
        for index, (resolved, step) in enumerate(pairs, 1):
            layer = ""
            if step["instruction"] in settings.LAYERS:
                layer = self._layer(index, resolved, step, layer_ids, config)
            else:
                self._step(resolved, index, cached=resolved["id"] in known)
                if resolved["id"] not in known:
                    self._store.put_step(resolved["id"], "", {})
            if layer:
                layer_ids.append(layer)
                size += layers.size(self._store.root, layer)
            config = settings.apply(config, step, own_cmd)
            own_cmd = own_cmd or step["instruction"] == "cmd"
            history.append({"created": self._created, "created_by": resolved["text"], "empty_layer": not layer})
        self._settle()
        return {
            "id": f"sha256:{self._recipe['id']}",
            "references": [],
            "layers": layer_ids,
            "config": config,
            "history": history,
            "recipe": self._recipe["id"],
            "architecture": architecture(),
            "size": size,
            "created": self._created,
            "epoch": ground.epoch,
        }

    def close(self) -> None:
        """Lets go of the contexts."""
        for context in self._contexts.values():
            context.close()

    def _step(self, step: RecipeStep, index: int, *, cached: bool) -> None:
        _report(self._progress, step, index, len(self._recipe["steps"]), cached=cached)

    def _ground(self) -> Ground:
        base, first = self._source["base"], self._recipe["steps"][0]
        ground = bases.existing(self._store, base, first)
        if ground is not None:
            self._step(first, 0, cached=True)
            return ground
        if base["kind"] == "archive":
            cached = first["id"] in self._store.steps_present([first["id"]])
            self._step(first, 0, cached=cached)
            with self._alone(first):
                return bases.load(self._store, base, first, self._progress)
        self._once(0, first, lambda staged: bases.make(base, staged, self._progress))
        return bases.made(self._store, first, self._created)

    def _layer(self, index: int, resolved: RecipeStep, step: Step, layer_ids: list[str], config: ImageConfig) -> str:
        """The ID of a step's layer, made when it is not there; "" when the step makes none."""
        root = self._store.root
        folders = [layers.folder(root, layer) for layer in layer_ids]
        place = Place(root, folders, config, self._runner, self._output, self._contexts)
        return self._once(
            index,
            resolved,
            lambda staged: make_layer(place, step, resolved, staged),
            lambda: needs_layer(place, step),
        )

    def _output(self, text: str) -> None:
        self._progress({"kind": "output", "text": text})

    def _alone(self, step: RecipeStep) -> locks.Lock:
        def waiting(holder: str) -> None:
            self._progress({"kind": "state", "text": f"waiting for {holder}, which makes the same step"})

        command = f"build: {step['text']}"
        return locks.named(self._store.root, bases.lock_name(step["id"]), waiting=waiting, command=command)

    def _once(
        self, index: int, step: RecipeStep, make: Callable[[str], None], needed: Callable[[], bool] = lambda: True
    ) -> str:
        """The layer of a step: the cached one, or what `make` leaves in a staged folder, by one build at a time."""
        found = self._cached(step["id"])
        if found is None:
            with self._alone(step):
                found = self._cached(step["id"]) or self._of_an_image(step["id"])
                if found is None:
                    self._step(step, index, cached=False)
                    self._forget(step["id"])
                    return self._make(index, step, make, needed)
        self._step(step, index, cached=True)
        return found

    def _make(self, index: int, step: RecipeStep, make: Callable[[str], None], needed: Callable[[], bool]) -> str:
        root, layer = self._store.root, ""
        try:
            if needed():
                staged = layers.stage(root)
                try:
                    make(staged)
                except BaseException:
                    layers.discard(root, staged)
                    raise
                layer = step["id"]
                layers.commit(root, staged, layer)
        except EngineError as error:
            if not error.subject:
                where = f" ({step['line']})" if step["line"] else ""
                error.subject = f"step {index + 1}/{len(self._recipe['steps'])} {step['text']}{where}"
            raise
        self._store.put_step(step["id"], layer, {"boot": self._boot})
        self._unsettled.append((step["id"], layer))
        return layer

    def _cached(self, step_id: str) -> str | None:
        """The layer of a step that is in the cache and can be believed; None otherwise."""
        found = self._store.step(step_id)
        if found is None or found["config"].get("boot", self._boot) != self._boot:
            return None
        if "boot" in found["config"]:
            self._unsettled.append((step_id, found["layer"]))
        if found["layer"]:
            layers.touch(self._store.root, found["layer"])  # what was used last is pruned last
        return found["layer"]

    def _of_an_image(self, step_id: str) -> str | None:
        """The layer of a step that the cache has forgotten, when an image has it: those are recorded when all is whole.

        Never made again then: containers may be running on it.
        """
        if not layers.exists(self._store.root, step_id):
            return None
        if not any(step_id in image["layers"] for image in self._store.images()):
            return None
        self._store.put_step(step_id, step_id, {})
        return step_id

    def _forget(self, step_id: str) -> None:
        """Removes a layer that is on disk without a result that can be believed: a crash may have left it in part."""
        if layers.exists(self._store.root, step_id):
            staged = layers.reserve(self._store.root)
            try:
                layers.remove(self._store.root, step_id, staged)
            finally:
                layers.discard(self._store.root, staged)

    def _settle(self) -> None:
        """Makes all new layers last a power cut, and says so in the cache."""
        if any(layer for _, layer in self._unsettled):
            layers.flush(self._store.root)
        for step_id, layer in self._unsettled:
            self._store.put_step(step_id, layer, {})


def architecture() -> str:
    """This machine's, by the name that OCI images use (GOARCH)."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)
