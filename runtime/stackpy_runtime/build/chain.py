"""One chain of steps, of an image or a stage, carried out from its base to its last step."""

from __future__ import annotations

import time

from stackpy_runtime.build import bases, settings
from stackpy_runtime.build.likeness import Likeness
from stackpy_runtime.build.recipe import hangs_on_nothing, linked_to
from stackpy_runtime.build.steps import Place, make_layer, needs_layer
from stackpy_runtime.build.telling import report
from stackpy_runtime.errors import EngineError
from stackpy_runtime.store import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.build.bases import Ground
    from stackpy_runtime.build.work import Work
    from stackpy_runtime.model import ImageSource, Recipe, RecipeStep, Step


class Cancelled(Exception):
    """Another chain of the build failed."""


class Made:
    """What a chain has come to: layers, configuration and history after its last step; `like`: likeness.py."""

    def __init__(self, ground: Ground) -> None:
        self.layers, self.config = list(ground.layers), ground.config
        self.history, self.size, self.epoch = list(ground.history), ground.size, ground.epoch
        self.architecture, self.author = ground.architecture, ""
        self.like = ""

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


class Chain:
    """An image or a stage, step by step.

    stage: its name, or ""
    """

    def __init__(self, build_: Work, stage: str, source: ImageSource, recipe: Recipe) -> None:
        self._build, self._stage, self._source, self._recipe = build_, stage, source, recipe
        self._store = build_.store
        self._rest = ""
        self._like = recipe["steps"][0]["id"]  # what the last step that made a layer is like
        # What the next one hangs on, as far as that is known here: what is like itself need not be hashed again.
        self._last = self._like

    def run(self) -> Made:
        """Carries out what is not cached."""
        try:
            return self._run()
        except BaseException:
            self._build.failed = True
            raise
        finally:
            self._flush()

    def _run(self) -> Made:
        known = self._store.steps_present(step["id"] for step in self._recipe["steps"])
        made = Made(self._ground())
        own_cmd = False
        pairs = zip(self._recipe["steps"][1:], self._source["steps"], strict=True)
        for index, (resolved, step) in enumerate(pairs, 1):
            if self._build.failed:
                raise Cancelled
            layer = ""
            if step["instruction"] in settings.LAYERS:
                layer = self._layer(index, resolved, step, made)
                like = self._build.results.like_of(resolved["id"])
                alone = hangs_on_nothing(step, resolved["inputs"])
                self._like = linked_to(self._like, like) if alone else like
                self._last = linked_to(self._last, resolved["id"]) if alone else resolved["id"]
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
        made.like = self._like
        return made

    def _say(self, step: RecipeStep, index: int, *, cached: bool) -> None:
        self._flush()
        report(self._build.progress, step, self._stage, index, len(self._recipe["steps"]), cached=cached)

    def _ground(self) -> Ground:
        base, first = self._source["base"], self._recipe["steps"][0]
        if base["kind"] == "stage":
            stage = self._build.stage(base["stage"]).result()
            self._like, self._last = stage.like, ""
            self._say(first, 0, cached=True)
            return stage.ground()
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

    def _layer(self, index: int, resolved: RecipeStep, step: Step, made: Made) -> str:
        """The ID of a step's layer, made when it is not there; "" when the step makes none."""
        build_, root = self._build, self._store.root
        folders = [layers.folder(root, layer) for layer in made.layers]
        place = Place(
            root,
            folders,
            made.config,
            build_.runner,
            self._output,
            build_.contexts,
            build_.options,
            build_.walks,
            build_.tree_of,
        )
        before = "" if hangs_on_nothing(step, resolved["inputs"]) else self._like
        with self._subject(index, resolved):
            return build_.results.once(
                resolved,
                lambda cached: self._say(resolved, index, cached=cached),
                lambda staged: make_layer(place, step, resolved, staged),
                lambda: needs_layer(place, step),
                before=lambda: build_.await_stages(step),
                like=Likeness(step, resolved, before, build_.like_of, build_.tree_of, same=self._like == self._last),
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
