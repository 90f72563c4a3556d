"""Removing images that nobody refers to, and keeping the build cache within its size."""

from __future__ import annotations

import time

from stackpy_runtime.records import NamedTuple
from stackpy_runtime.store import build_cache, garbage, lasting, usage
from stackpy_runtime.store.steps import LIKE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stackpy_runtime.model import Image, Recipe
    from stackpy_runtime.store.build_cache import Entry
    from stackpy_runtime.store.store import Store


class Pruned(NamedTuple):
    """Images that went, and the bytes that their layers took."""

    images: list[Image]
    freed: int


def image(store: Store, reference: str, *, force: bool) -> list[str]:
    """`image rm` with the layers that nothing needs then: what was done, a line each. Raises as `remove_image`."""
    layers = set(store.image(reference)["layers"])
    lines = store.remove_image(reference, force=force)
    if any(line.startswith("deleted: ") for line in lines):
        collect(store, layers)
    return lines


def images(store: Store, *, every: bool, matches: Callable[[Image], bool] = lambda image: True) -> Pruned:
    """Removes images without a name, or all that no container was made of with `every`.

    matches: says of an image whether it is asked for

    Images that a kept generation names stay: a rollback may need them. Layers go at once, unless a build is under way:
    then with the next collection.
    """
    named = lasting.of_generations(store.root)

    def wanted(image: Image) -> bool:
        return (every or not image["references"]) and not lasting.kept_by_history(image, named) and matches(image)

    candidates = [image["id"] for image in store.images() if wanted(image)]
    gone = store.delete_images(candidates, wanted) if candidates else []
    return Pruned(gone, collect(store, {layer for image in gone for layer in image["layers"]}))


def cache(store: Store, *, keep: int = 0, matches: Callable[[Entry], bool] = lambda entry: True) -> list[Entry]:
    """Removes what was used longest ago from the build cache until at most `keep` bytes are in it; returns what went.

    matches: says of an entry whether it may go

    Older builds that have lost their name are a part of the cache: an image goes with the first of its layers.
    """
    named = lasting.of_generations(store.root)
    young = time.time() - garbage.GRACE_SECONDS

    def older_build(image: Image) -> bool:
        return (
            bool(image["recipe"])
            and not image["references"]
            and not lasting.kept_by_history(image, named)
            and _seconds(image.get("built") or image["created"]) < young
        )

    used = {container["image_id"] for container in store.containers()}
    spare = {image["id"]: image for image in store.images() if image["id"] not in used and older_build(image)}
    going = [entry for entry in build_cache.excess(build_cache.entries(store, spare), keep) if matches(entry)]
    doomed = {entry.name for entry in going}
    ids = [image["id"] for image in spare.values() if doomed.intersection(image["layers"])]
    if ids:
        store.delete_images(ids, older_build)
    return build_cache.remove(store, going)


def forget(store: Store, beginning: str, images: Iterable[str] = ()) -> int:
    """Forgets what the keys that begin so were built from, and the build cache of that, as far as no other key has it.

    images: IDs of earlier builds, which go as well

    An archive that such an image stands on is an image without a name: it goes too. What a container, a tag or a kept
    generation has stays. Returns the bytes freed.
    """
    going, staying = [], set()
    for key, recipe in store.recipes().items():
        if key.startswith(beginning):
            going.append((key, recipe))
        else:
            staying |= _step_ids(recipe)
    steps = {step for _, recipe in going for step in _step_ids(recipe)} - staying
    results = [found for found in map(store.step, steps) if found is not None]
    bases = [str(found["config"]["image"]) for found in results if "image" in found["config"]]
    for key, _ in going:
        store.delete_recipe(key)
    gone = store.delete_images(bases, lambda image: not image["references"]) if bases else []
    earlier = _without_a_name(store, images)
    if not steps and not earlier:
        return 0
    made = {found["layer"] for found in results if found["layer"]}
    # The same layers by what went into them, where no other step has them.
    layers = store.step_layers()
    for layer in made:
        others = set(layers.get(layer, ())) - steps
        if all(name.startswith(LIKE) for name in others):
            steps |= others
    for layer in {layer for image in earlier for layer in image["layers"]} - store.layers_of_images():
        if not staying.intersection(layers.get(layer, ())):
            steps.update(layers.get(layer, ()))
            made.add(layer)
    store.delete_steps(steps)
    return collect(store, made.union(*(image["layers"] for image in gone)))


def _without_a_name(store: Store, ids: Iterable[str]) -> list[Image]:
    """Removes those of these images that nothing names; returns them."""
    ids = list(ids)
    if not ids:
        return []
    named = lasting.of_generations(store.root)
    return store.delete_images(ids, lambda image: not image["references"] and not lasting.kept_by_history(image, named))


def _step_ids(recipe: Recipe) -> set[str]:
    """The steps of a recipe and of the images that it stands on or takes from."""
    whole = [recipe, *recipe.get("stages", {}).values()]
    return {step["id"] for each in whole for step in each["steps"]}


def reclaimable(store: Store) -> dict[str, int]:
    """Bytes that pruning could free, by what it is that would go: "images", "cache"."""
    used = {container["image_id"] for container in store.containers()}
    kept: set[str] = set()
    spare: set[str] = set()
    for image in store.images():
        (kept if image["id"] in used else spare).update(image["layers"])
    return {
        "images": sum(usage.layer(store.root, layer) for layer in spare - kept),
        "cache": sum(entry.size for entry in build_cache.entries(store)),
    }


def collect(store: Store, candidates: set[str]) -> int:
    """Removes those of these layers that nothing refers to, steps included; returns the bytes freed."""
    sizes = {layer: usage.layer(store.root, layer) for layer in candidates - store.layers_in_use()}
    return sum(sizes[layer] for layer in garbage.collect_layers(store, set(sizes)) if layer in sizes)


def _seconds(date: str) -> float:
    """The engine's dates, RFC 3339 in UTC; 0 for what is none."""
    import calendar

    try:
        return calendar.timegm(time.strptime(date[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
