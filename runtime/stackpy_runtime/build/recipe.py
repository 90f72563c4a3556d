"""From an image as the user describes it to its recipe: a Merkle chain of steps, known before anything is built.

Two kinds of steps make two kinds of links. A step that makes files (RUN, COPY, ADD, FILE, WORKDIR) hangs on the last
such step before it, and on exactly what it sees of the configuration; so a changed LABEL, EXPOSE, CMD or ENTRYPOINT
rebuilds no later layer, and a changed ENV only the RUN steps that see it. A step that only writes configuration hangs
on all that is before it. The recipe's ID is made of the IDs of all steps. (One chain over everything, as in a
Dockerfile build of old, would rebuild a RUN for a label; BuildKit arrives at the same by moving configuration out of
its graph.)

A stage is an image of its own. What stands on it goes on with its chain, and what takes files from it has the end of
that chain among its inputs. `COPY --link` is a link that hangs on nothing: it is the same on any base.

Times never count, neither of files nor of the build.
"""

from __future__ import annotations

import os
import posixpath

from stackpy_runtime.build import settings, step_inputs
from stackpy_runtime.build.digests import named_hash
from stackpy_runtime.errors import EngineError, InvalidConfig, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy_runtime.build.context import Walks
    from stackpy_runtime.model import Base, ImageConfig, ImageSource, Recipe, RecipeStep, Step
    from stackpy_runtime.store.store import Store

# Part of every ID: raised when the same recipe begins to give another result.
_VERSION = "stackpy recipe 1"


def resolve(source: ImageSource, store: Store, walks: Walks | None = None) -> Recipe:
    """The recipe of an image: reads what is copied (only what changed since the last time), writes nothing but a cache.

    walks: takes what is copied from contexts, for the build

    Raises InvalidConfig for everything that is wrong with the steps, all at once, each with its line; NotFound for a
    base image that the store does not have.
    """
    resolver = _Resolver(source, store, walks)
    try:
        recipe = resolver.image(source).recipe
    finally:
        resolver.asking.close()
    settings.refuse(resolver.problems)
    if resolver.missing:
        raise resolver.missing[0]
    if resolver.stages:
        recipe["stages"] = {name: stage.recipe for name, stage in resolver.stages.items()}
    return recipe


class Resolved:
    """An image, or a stage, whose recipe is known.

    layer: the end of its chain of layers
    config: what its steps set
    """

    __slots__ = ("config", "layer", "recipe")

    def __init__(self, recipe: Recipe, layer: str, config: ImageConfig) -> None:
        self.recipe, self.layer, self.config = recipe, layer, config


class _Resolver:
    """One image and the stages that it needs; what is wrong is collected, so that all of it is said at once."""

    def __init__(self, source: ImageSource, store: Store, walks: Walks | None) -> None:
        self._sources, self._store = source.get("stages", {}), store
        self.problems: list[tuple[str, str, str]] = []
        self.missing: list[EngineError] = []
        self.stages: dict[str, Resolved] = {}
        self._open: set[str] = set()
        self.asking = step_inputs.Asking(store.root.path, self._origin, self._fetched, self.problems, walks)

    def image(self, source: ImageSource) -> Resolved:
        """An image by its steps."""
        first, layer, config = self._base(source["base"])
        named: list[dict[str, str]] = []
        steps: list[Step] = []
        for step in source["steps"]:
            wrong = settings.check(step)
            if wrong:
                self.problems.append((step["line"], wrong, ""))
                continue
            steps.append(step)
            named.append(step_inputs.inputs(step, config, self.asking))
            if step["instruction"] == "workdir":
                config = _relative_workdir(config, step)
            else:
                config = settings.apply(config, step, own_cmd=True)
        recipe, end = linked(first, steps, named, layer)
        return Resolved(recipe, end, config)

    def _base(self, base: Base) -> tuple[RecipeStep, str, ImageConfig]:
        """The first step, the chain that it ends, and what is known of its configuration."""
        if base["kind"] == "stage":
            stage = self._stage(base["stage"])
            first = _first({"kind": "stage"}, f"FROM {base['stage']}", {"stage": stage.recipe["id"]})
            return first, stage.layer, {key: value for key, value in stage.config.items() if key != "OnBuild"}  # type: ignore[return-value]
        try:
            first = base_step(base, self._store)
        except NotFound as error:
            self.missing.append(error)
            first = _first(base, "", {})
        return first, first["id"], {}

    def _stage(self, name: str) -> Resolved:
        if name not in self.stages:
            if name in self._open or name not in self._sources:
                what = "stands on itself" if name in self._open else "is not in the image's source"
                raise InvalidConfig(f"the stage `{name}` {what}")
            self._open.add(name)
            self.stages[name] = self.image(self._sources[name])
            self._open.discard(name)
        return self.stages[name]

    def _origin(self, place: Mapping[str, Any]) -> str:
        """What identifies the files of a stage or an image."""
        if "from_stage" in place:
            return self._stage(place["from_stage"]).layer
        try:
            return image_id(place["from_image"], self._store, place.get("from_platform", ""))
        except NotFound as error:
            self.missing.append(error)
            return ""

    def _fetched(self, kind: str, address: str, step: Step) -> str:
        from stackpy_runtime.build import downloads, repositories

        try:
            if kind == "git":
                return repositories.identity(address, step)
            return downloads.identity(self._store.root, address, step)
        except EngineError as error:
            self.problems.append((step["line"], error.message, error.hint))
            return ""


def base_step(base: Base, store: Store) -> RecipeStep:
    """The first step: what the image stands on, and its identity."""
    return _first(base, *_base_inputs(base, store))


def _first(base: Base, text: str, inputs: dict[str, str]) -> RecipeStep:
    parts = [("kind", base["kind"]), *sorted(inputs.items())]
    return {"id": named_hash(f"{_VERSION} base", parts), "text": text, "line": "", "inputs": inputs}


def chain(first: RecipeStep, steps: list[Step], inputs: list[dict[str, str]]) -> Recipe:
    """The recipe of a base and of steps whose inputs are known. Pure."""
    return linked(first, steps, inputs, first["id"])[0]


def linked(first: RecipeStep, steps: list[Step], inputs: list[dict[str, str]], layer: str) -> tuple[Recipe, str]:
    """The recipe of a base, whose chain of layers ends with `layer`, and the end of its own. Pure."""
    result = [first]
    for step, named in zip(steps, inputs, strict=True):
        kind = step["instruction"]
        alone = hangs_on_nothing(step, named)
        before = "" if alone else layer if kind in settings.LAYERS else result[-1]["id"]
        made = step_id(kind, before, named)
        if kind in settings.LAYERS:
            layer = linked_to(layer, made) if alone else made
        result.append({"id": made, "text": step["text"], "line": step["line"], "inputs": named})
    whole = named_hash(_VERSION, [("step", step["id"]) for step in result])
    return {"id": whole, "steps": result}, layer


def step_id(kind: str, before: str, inputs: Mapping[str, str]) -> str:
    """The ID of a step that hangs on another."""
    return named_hash(f"{_VERSION} {kind}", [("after", before), *sorted(inputs.items())])


def linked_to(layer: str, step: str) -> str:
    """The end of a chain of layers with a step behind it that hangs on nothing."""
    return named_hash(f"{_VERSION} link", [("after", layer), ("layer", step)])


def hangs_on_nothing(step: Step, inputs: Mapping[str, str]) -> bool:
    """Whether a COPY or ADD with --link gives the same layer on whatever base: it names no user of one, and no place
    relative to one's working directory.
    """
    owner = inputs.get("--chown", "")
    return bool(
        step["instruction"] in ("copy", "add")
        and step.get("link")
        and inputs.get("target", "").startswith("/")
        and owner.replace(":", "").isdigit() == bool(owner)
    )


# --- bases ----------------------------------------------------------------------------------------------------------


def _base_inputs(base: Base, store: Store) -> tuple[str, dict[str, str]]:
    kind = base["kind"]
    platform = base.get("platform", "")
    if kind == "scratch":
        return "FROM scratch", {"platform": platform} if platform else {}
    if kind == "image":
        text = f"FROM --platform={platform} {base['reference']}" if platform else f"FROM {base['reference']}"
        return text, {"image": image_id(base["reference"], store, platform)}
    if kind == "archive":
        return f"FROM archive {posixpath.basename(base['path'])}", {"archive": _archive_hash(base["path"], store)}
    if kind == "bootstrap":
        from stackpy_runtime.image import bootstrap

        packages = sorted(set(base.get("packages", [])))
        text = " ".join(["FROM bootstrap", base["suite"], *packages])
        return text, bootstrap.identity(base["suite"], packages)
    from stackpy_runtime.image import host_identity

    programs = base.get("programs", [])
    return " ".join(["FROM host", *programs]), host_identity.identity(programs, store.root.path)


def image_id(reference: str, store: Store, platform: str = "") -> str:
    """The ID of an image of the store, or of a registry that was asked; raises what either says, with near names."""
    try:
        return (store.of_platform(reference, platform) if platform else store.image(reference))["id"]
    except EngineError as error:
        # A misspelt name of the store's was looked for in a registry.
        import difflib

        known = [name for image in store.images() for name in image["references"]]
        names = {**{name.removesuffix(":latest"): name for name in known}, **{name: name for name in known}}
        near = list(dict.fromkeys(names[name] for name in difflib.get_close_matches(reference, names, 3)))
        if near:
            meant = f"did you mean {', '.join(f'`{name}`' for name in near)}?"
            # What a registry advises is about reaching it, and stays.
            error.hint = meant if isinstance(error, NotFound) or not error.hint else f"{meant} else {error.hint}"
        raise


def _archive_hash(path: str, store: Store) -> str:
    from stackpy_runtime.build.stat_cache import StatCache

    whole = os.path.realpath(path)
    cache = StatCache.of(store.root.path, whole)
    try:
        digest = cache.sha256(whole, os.stat(whole))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidConfig(f"the archive `{path}` cannot be read: {reason}", hint="check its path") from None
    cache.save()
    return digest


def _relative_workdir(config: ImageConfig, step: Step) -> ImageConfig:
    """The working directory as far as the steps say: "app" stands below that of the base, which is in the base's ID."""
    return {**config, "WorkingDir": posixpath.normpath(posixpath.join(config.get("WorkingDir", ""), step["target"]))}


def run_steps(source: ImageSource, recipe: Recipe) -> set[str]:
    """The IDs of all RUN steps, those of stages too."""
    stages = recipe.get("stages", {})
    pairs = [(source, recipe), *((source["stages"][name], stages[name]) for name in stages)]
    return {
        resolved["id"]
        for one, its in pairs
        # the first step of a recipe is its base
        for step, resolved in zip(one["steps"], its["steps"][1:], strict=True)
        if step["instruction"] == "run"
    }
