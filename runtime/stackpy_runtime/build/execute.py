"""From a recipe to an image: what is in the cache is taken, the rest is made.

What makes a step is loaded where something has to be made (work.py): a build with nothing to do takes half as long as
its imports would.

The image is recorded last, once all its layers are there for good (caching.py).
"""

from __future__ import annotations

from stackpy_runtime.build import leave, settings
from stackpy_runtime.build.telling import report
from stackpy_runtime.store import layers
from stackpy_runtime.store.images import with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.build.context import Walks
    from stackpy_runtime.build.runner import Runner
    from stackpy_runtime.build.telling import Report
    from stackpy_runtime.model import BuildOptions, Image, ImageSource, Recipe
    from stackpy_runtime.store.store import Store


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
    walks: Walks | None = None,
) -> Image:
    """The image of a recipe, built as far as it is not in the store; recorded, tagged, and remembered under `key`.

    source: what the recipe was resolved from
    key: under which the recipe is remembered for the next explanation, or ""
    labels: the engine's own, on top of those of the steps
    runner: runs RUN steps
    walks: what was found in contexts when the recipe was made; without it they are walked once more

    Raises Denied for what a step may not have, before any is made; ProcessFailed for a failing RUN step, with its last
    lines; Conflict when a copied file changed since the recipe was made; InvalidConfig, NotFound as the steps do. Steps
    finished before stay in the cache.
    """
    given = options or {}
    leave.refuse(source, given)
    image = None if given.get("no_cache") else _finished(store, source, recipe)
    if image is None:
        from stackpy_runtime.build.work import Work

        with layers.using(store.root):
            image = Work(store, source, recipe, runner, progress, given, walks=walks).run()
        changed = True
    else:
        for index, step in enumerate(recipe["steps"]):
            report(progress, step, "", index, len(recipe["steps"]), cached=True)
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
        pairs = zip(ids[1:], source["steps"], strict=True)
        files = [step_id for step_id, step in pairs if step["instruction"] in settings.LAYERS - {"workdir"}]
        # Layers of other names are those of steps that these are like: which is whose is not known any more.
        if all(step_id in image["layers"] for step_id in files):
            for step_id in ids[1 if given else 0 :]:
                if step_id not in present:
                    store.put_step(step_id, step_id if step_id in image["layers"] else "", {})
    return image
