"""The build cache: results of steps by step ID, and what each image was last built from."""

from __future__ import annotations

import os

from stackpy_runtime.store.database import Database, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypedDict

    from stackpy_runtime.model import Recipe

    class StepResult(TypedDict):
        """What a build step left."""

        layer: str  # "" for a step that changes no file
        config: dict[str, Any]  # the payload that the builder gave


# SQLite's default limit on parameters was 999 before 3.32, and a statement with many is no faster.
_CHUNK = 500


LIKE = "like-"  # begins the name of a result by the content that went into it, which is no step's ID


class StepTable(Database):
    """Reading and writing results of steps and recipes."""

    def step(self, step_id: str) -> StepResult | None:
        """The result of a step: its layer ID, and as `config` the payload that was given; None when it is not there.

        A step whose layer is no longer on disk is not there.
        """
        row = self.row("SELECT layer, payload FROM steps WHERE id = ?", (step_id,))
        if row is None or not self._on_disk(row[0]):
            return None
        return {"layer": row[0], "config": decode(row[1])}

    def steps_present(self, ids: Iterable[str]) -> set[str]:
        """Those of the step IDs whose result is in the store."""
        wanted = list(ids)
        present: set[str] = set()
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            rows = self.rows(f"SELECT id, layer FROM steps WHERE id IN ({marks})", chunk)  # noqa: S608 - marks only
            present.update(step for step, layer in rows if self._on_disk(layer))
        return present

    def put_step(self, step_id: str, layer_id: str, payload: dict[str, Any]) -> None:
        """Records a step's result, whose layer ("": none) is committed already; replaces an earlier one."""
        self.change(
            "INSERT INTO steps VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET layer = excluded.layer, payload = excluded.payload",
            (step_id, layer_id, encode(payload)),
        )

    def step_layers(self) -> dict[str, list[str]]:
        """Layer → the steps whose result it is; "" for steps that made none."""
        found: dict[str, list[str]] = {}
        for step, layer in self.rows("SELECT id, layer FROM steps ORDER BY rowid"):
            found.setdefault(layer, []).append(step)
        return found

    def delete_steps(self, ids: Iterable[str]) -> None:
        """Forgets results of steps; their layers go with the next garbage collection, where no image has them."""
        self.change_many("DELETE FROM steps WHERE id = ?", [(step,) for step in ids])

    def recipe(self, key: str) -> Recipe | None:
        """What `key` (`stack/image.web`) was last built from."""
        row = self.row("SELECT document FROM recipes WHERE key = ?", (key,))
        if row is None:
            return None
        recipe: Recipe = decode(row[0])
        return recipe

    def recipes(self, beginning: str = "") -> dict[str, Recipe]:
        """The recipes of all keys that begin so: `shop/` for a stack's."""
        rows = self.rows(
            "SELECT key, document FROM recipes WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key", (beginning,)
        )
        return {key: decode(text) for key, text in rows}

    def put_recipe(self, key: str, recipe: Recipe) -> None:
        """Records what `key` is built from now."""
        self.change(
            "INSERT INTO recipes VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET document = excluded.document",
            (key, encode(recipe)),
        )

    def delete_recipe(self, key: str) -> None:
        """Forgets it; nothing happens when it is gone already."""
        self.change("DELETE FROM recipes WHERE key = ?", (key,))

    def layers_in_use(self) -> set[str]:
        """IDs of all layers that an image or a step refers to."""
        used = {layer for (layer,) in self.rows("SELECT DISTINCT layer FROM steps")} | self.layers_of_images()
        used.discard("")
        return used

    def layers_of_images(self) -> set[str]:
        """IDs of all layers that an image refers to."""
        documents = self.rows("SELECT document FROM images")
        return {layer for (text,) in documents for layer in decode(text)["layers"]}

    def _on_disk(self, layer: str) -> bool:
        return not layer or os.path.isdir(f"{self.root.layers}/{layer}")
