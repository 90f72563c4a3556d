"""The instructions that make files, each on the merged tree of what came before it."""

from __future__ import annotations

import os

from stackpy_runtime.build import adding, copying, running, settings, step_inputs, tree
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.build.runner import Runner
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.context import Context, Walks
    from stackpy_runtime.model import BuildOptions, ImageConfig, RecipeStep, RunMount, Step
    from stackpy_runtime.store.root import Root


class Tree(NamedTuple):
    """The files of a stage or an image: its identity, and the folders of its layers, bottom first."""

    identity: str
    layers: list[str]


class Place(NamedTuple):
    """Where a step works.

    layers: folders of the layers before it, bottom first
    config: the image's configuration before it
    runner: for RUN
    output: takes a RUN step's output as it comes
    contexts: context folders that earlier steps of the build have opened, for COPY
    options: secrets, agents and leave that the build was given, for RUN
    walks: what was found in contexts when the recipe was made
    tree_of: the stage or image that a mount or a COPY is from
    """

    root: Root
    layers: list[str]
    config: ImageConfig
    runner: Runner
    output: Callable[[str], None]
    contexts: dict[str, Context]
    options: BuildOptions
    walks: Walks
    tree_of: Callable[[RunMount | Step], Tree]


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
        running.run(place, step, resolved, staged)
    elif kind in ("copy", "add"):
        adding.add(place, step, resolved, staged)
    elif kind == "file":
        target = settings.absolute(place.config, step["target"])
        with Merged(place.layers, staged) as view:
            who = copying.owner(view.root, step.get("chown", ""))
            copying.write_file(view.root, target, step_inputs.decoded(step["content"]), step.get("mode", 0o644), who)
    elif kind == "workdir":
        _make_folder(place, settings.absolute(place.config, step["target"]), staged)
    else:
        raise InvalidConfig(f"`{kind}` makes no files")


def _make_folder(place: Place, path: str, staged: str) -> None:
    """WORKDIR's folder, which belongs to the user that the image has by then, as BuildKit has it."""
    with Merged(place.layers, staged) as view:
        who = copying.owner(view.root, place.config.get("User", ""))
        folder, _ = tree.make_folders(view.root, path, who)
        os.close(folder)
