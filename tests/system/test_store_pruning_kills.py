"""A prune that is killed before any of its calls: what is kept is whole, and the next prune finishes the work."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stackpy_runtime.store import garbage, layers, pruning
from stackpy_runtime.store.store import Store
from tests.build_lab import Builder, file, source
from tests.crash_lab import every_death

pytestmark = pytest.mark.root


def _prune(root: str) -> None:
    store = Store(root)
    pruning.images(store, every=False)
    pruning.cache(store)


def test_a_prune_killed_before_each_of_its_calls(tmp_path: Path) -> None:
    template = Builder(tmp_path / "template")
    template.build(source(file("/old", "old"), file("/both", "x")), tags=["web"])
    kept = template.build(source(file("/new", "new")), tags=["web"])
    template.build(source(file("/cached", "cached")), tags=["cached"])
    template.store.remove_image("cached")
    os.makedirs(f"{template.store.root.path}/cache/mounts/apt/lists")
    template.store.close()
    root = str(tmp_path / "root")
    shutil.copytree(template.store.root.path, root, symlinks=True)
    for _ in every_death(lambda: _prune(root), least=41, calls=("os.", "sqlite3.", "fcntl.")):
        store = Store(root)
        (image,) = (image for image in store.images() if image["references"])
        assert image["id"] == kept["id"]
        folder = Path(layers.folder(store.root, image["layers"][0]))
        assert (folder / "new").read_text() == "new"
        store.close()
        _prune(root)
        store = Store(root)
        garbage.collect(store, grace=0)
        assert [image["id"] for image in store.images()] == [kept["id"]]
        assert os.listdir(store.root.layers) == kept["layers"]
        assert (os.listdir(store.root.staging), os.listdir(f"{root}/cache/mounts")) == ([], [])
        assert store.step_layers().keys() <= {kept["layers"][0], ""}
        store.close()
        shutil.rmtree(root)
        shutil.copytree(template.store.root.path, root, symlinks=True)
