"""A build between the caches of other hosts that it takes from and those that it brings its own to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.build.cache_places import Place
    from stackpy_runtime.model import BuildOptions, ImageSource, Progress, Recipe
    from stackpy_runtime.store.store import Store


class carried:
    """Around a build: first takes what other hosts have made, and brings along what was made once it has succeeded.

    options: `cache_from` and `cache_to`; without them nothing is imported, nor done
    name: under which the places keep this image's cache
    opened: a place by what the options call it
    """

    def __init__(
        self,
        store: Store,
        source: ImageSource,
        recipe: Recipe,
        options: BuildOptions,
        *,
        name: str,
        opened: Callable[[str], Place],
        progress: Callable[[Progress], None],
    ) -> None:
        self._store, self._source, self._recipe = store, source, recipe
        self._options, self._name, self._opened, self._progress = options, name, opened, progress

    def __enter__(self) -> None:
        wanted = self._options.get("cache_from", [])
        if not wanted or self._options.get("no_cache"):
            return
        from stackpy_runtime.build import travelling

        places = [self._opened(place) for place in wanted]
        moved = travelling.fetch(self._store, self._source, self._recipe, places, progress=self._progress)
        self._say(travelling.told(moved, "taken from", ", ".join(wanted)))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            return
        for place in self._options.get("cache_to", []):
            from stackpy_runtime.build import travelling

            moved = travelling.bring(
                self._store, self._source, self._recipe, self._opened(place), name=self._name, progress=self._progress
            )
            self._say(travelling.told(moved, "brought to", place))

    def _say(self, text: str) -> None:
        self._progress({"kind": "state", "text": text})
