"""A prune that is killed before any of its calls: what is kept is whole, and the next prune finishes the work."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stackpy_runtime.store import garbage, layers, pruning
from stackpy_runtime.store.store import Store
from tests.build_lab import Builder, file, source

pytestmark = pytest.mark.root


def _killed_at(event: int, work: Callable[[], object]) -> bool:
    """Runs `work` in a child that dies, as by kill -9, before its `event`-th audited call; whether it came to that."""
    child = os.fork()
    if not child:
        count = 0

        def hook(name: str, arguments: object) -> None:
            nonlocal count
            if name.startswith(("os.", "sqlite3.", "fcntl.")):
                count += 1
                if count == event:
                    os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


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
    event, deaths = 0, 0
    while True:
        event += 1
        root = str(tmp_path / "root")
        shutil.copytree(template.store.root.path, root, symlinks=True)
        died = _killed_at(event, lambda: _prune(str(tmp_path / "root")))
        deaths += died
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
        if not died:
            break
    assert deaths > 40
