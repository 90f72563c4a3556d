"""Pruning: what goes, in which order, and what never goes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.engine import Engine
from stackpy_runtime.errors import EngineError
from stackpy_runtime.image import archive
from stackpy_runtime.store import blobs, build_cache, garbage, layers, pruning, trimming, usage
from stackpy_runtime.store.accounting import disk_usage
from tests.build_lab import Builder, copy, file, source
from tests.image_archives import Built, as_tar

pytestmark = pytest.mark.root
KILO = 1 << 10


def _build(builder: Builder, name: str, *, tags: list[str], size: int = 64 * KILO) -> Any:
    """An image of one layer of its own."""
    return builder.build(source(file(f"/{name}", name * (size // len(name)))), tags=tags)


def _age(builder: Builder, image: Any, seconds: float) -> None:
    """Makes an image as old as the grace asks for; its layers are aged by the order of use alone."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))
    builder.store.put_image({**image, "built": made, "references": []})


def _layers(builder: Builder) -> set[str]:
    return {layers.identifier(name) for name in os.listdir(builder.store.root.layers)}


def test_images_without_a_name_go_and_their_steps_stay_in_the_cache(builder: Builder) -> None:
    old = _build(builder, "old", tags=["web"])
    new = _build(builder, "new", tags=["web"])
    pruned = pruning.images(builder.store, every=False)
    assert ([image["id"] for image in pruned.images], pruned.freed) == ([old["id"]], 0)
    assert [image["id"] for image in builder.store.images()] == [new["id"]]
    assert _layers(builder) == {*old["layers"], *new["layers"]}
    assert [entry.name for entry in build_cache.entries(builder.store)] == old["layers"]
    gone = pruning.cache(builder.store)
    assert [(entry.name, entry.size >= 64 * KILO) for entry in gone] == [(old["layers"][0], True)]
    assert _layers(builder) == set(new["layers"])
    assert builder.store.step(old["layers"][0]) is None


def test_an_image_that_is_removed_takes_its_layers_along(builder: Builder, tmp_path: Path) -> None:
    engine = Engine(builder.store.root.path)
    built = _build(builder, "built", tags=["built"])
    loaded = archive.load(builder.store, str(as_tar(tmp_path / "image", Built().docker())), tag=True)
    assert len(engine.remove_image("other")) == 1
    assert set(loaded["layers"]) < _layers(builder)
    engine.remove_image("me/app:1")
    engine.remove_image("built")
    assert _layers(builder) == set(built["layers"])  # the build cache's
    engine.store.close()


def test_what_was_used_longest_ago_goes_first(builder: Builder) -> None:
    names = ["first", "second", "third"]
    made = {name: _build(builder, name, tags=[name])["layers"][0] for name in names}
    for name in names:
        builder.store.remove_image(name)
        time.sleep(0.02)
    # Built again from the cache, the first is the one that was used last.
    _build(builder, "first", tags=["again"])
    builder.store.remove_image("again")
    found = build_cache.entries(builder.store)
    one = found[0].size
    assert [entry.name for entry in build_cache.excess(found, 2 * one)] == [made["second"]]
    assert trimming.trim(builder.store, one) == 2 * one
    assert _layers(builder) == {made["first"]}
    builder.ran.clear()
    _build(builder, "first", tags=["again"])
    assert builder.ran == []


def test_a_trim_is_not_repeated_at_once(builder: Builder) -> None:
    _build(builder, "one", tags=["one"])
    builder.store.remove_image("one")
    assert trimming.trim(builder.store, 1 << 30, every=60) == 0
    assert trimming.trim(builder.store, 0, every=60) == 0
    os.utime(f"{builder.store.root.path}/cache/trimmed", (time.time() + 86400,) * 2)  # the clock was set back
    assert trimming.trim(builder.store, 1 << 30, every=60) == 0
    assert os.stat(f"{builder.store.root.path}/cache/trimmed").st_mtime < time.time() + 1, "it was time again"
    assert trimming.trim(builder.store, 0) > 0


def test_older_builds_without_a_name_count_as_cache_and_young_ones_do_not(builder: Builder) -> None:
    old = _build(builder, "old", tags=["web"])
    new = _build(builder, "new", tags=["web"])
    assert trimming.trim(builder.store, 0) == 0
    _age(builder, old, garbage.GRACE_SECONDS + 60)
    assert trimming.trim(builder.store, 0) > 0
    assert [image["id"] for image in builder.store.images()] == [new["id"]]
    assert _layers(builder) == set(new["layers"])


def test_images_of_containers_and_of_kept_generations_stay(builder: Builder) -> None:
    images = [_build(builder, name, tags=["web"]) for name in ("of generation", "by recipe", "of container", "new")]
    stack = Path(builder.store.root.stacks) / "shop"
    stack.mkdir()
    document = {"images": [images[0]["id"]], "changes": [{"new": images[1]["recipe"]}]}
    (stack / "3.json").write_text(json.dumps(document))
    container: Any = {
        "id": "c" * 64, "name": "c", "created": "", "image_id": images[2]["id"], "networks": {},
        "config": {"name": "c", "image": "web"}, "state": {},
    }  # fmt: skip
    builder.store.insert_container(container)
    for image in images[:3]:
        _age(builder, image, 3600)
    assert pruning.images(builder.store, every=False).images == []
    assert trimming.trim(builder.store, 0) == 0
    assert len(builder.store.images()) == 4
    (stack / "3.json").unlink()
    builder.store.delete_container("c" * 64)
    assert len(pruning.images(builder.store, every=False).images) == 3


def test_pruning_while_a_build_runs_takes_no_layer(builder: Builder) -> None:
    old = _build(builder, "old", tags=["old"])
    builder.store.remove_image("old")
    with layers.using(builder.store.root):
        assert pruning.cache(builder.store) == []
        assert _layers(builder) == set(old["layers"])
    assert [entry.name for entry in pruning.cache(builder.store)] == old["layers"]
    assert (_layers(builder), builder.store.step(old["layers"][0])) == (set(), None)


def test_a_cache_folder_that_a_step_uses_stays(builder: Builder) -> None:
    root = builder.store.root
    for name in ("used", "idle"):
        os.makedirs(f"{root.path}/cache/mounts/{name}")
        Path(f"{root.path}/cache/mounts/{name}/file").write_bytes(b"x" * 64 * KILO)
    held = os.open(f"{root.path}/cache/mounts/used", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert [(entry.kind, entry.name) for entry in pruning.cache(builder.store)] == [("mount", "idle")]
    os.close(held)
    assert [entry.name for entry in pruning.cache(builder.store)] == ["used"]
    assert (os.listdir(f"{root.path}/cache/mounts"), os.listdir(root.staging)) == ([], [])


def test_filters_choose_images(builder: Builder) -> None:
    engine = Engine(builder.store.root.path)
    young = _build(builder, "young", tags=["young"])
    old = _build(builder, "old", tags=["old"])
    labelled = {**old["config"], "Labels": {"a": "b"}}
    builder.store.put_image({**old, "built": "2020-01-01T00:00:00Z", "config": labelled})
    for labels in ([("a", "c", True)], [("a", None, False)], [("b", None, True)]):
        assert engine.prune_images(every=True, until="2021-01-01T00:00:00Z", labels=labels).images == []
    gone = engine.prune_images(every=True, until="2021-01-01T00:00:00Z", labels=[("a", "b", True)]).images
    assert [image["id"] for image in gone] == [old["id"]]
    assert [image["id"] for image in builder.store.images()] == [young["id"]]
    engine.store.close()


def test_blobs_go_with_the_last_image_that_names_them(builder: Builder, tmp_path: Path) -> None:
    image = archive.load(builder.store, str(as_tar(tmp_path / "image", Built().docker())))
    root = builder.store.root
    index = json.dumps({"manifests": [{"digest": "sha256:" + "1" * 64}]}).encode()
    blobs.put(root, "sha256:" + "2" * 64, index)
    blobs.put(root, "sha256:" + "1" * 64, b"a layer")
    blobs.put(root, "sha256:" + "3" * 64, b"of nobody")
    builder.store.put_image({**image, "digests": ["me@sha256:" + "2" * 64]})  # type: ignore[typeddict-unknown-key]
    garbage.collect(builder.store)  # all of them are young
    assert len(os.listdir(f"{root.blobs}/sha256")) == 4
    garbage.collect(builder.store, grace=0)
    assert sorted(os.listdir(f"{root.blobs}/sha256")) == sorted([image["id"][7:], "1" * 64, "2" * 64])
    builder.store.remove_image(image["id"])
    garbage.collect(builder.store, grace=0)
    assert os.listdir(f"{root.blobs}/sha256") == []


def test_the_account_of_the_disk_agrees_with_du(builder: Builder, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for number in range(50):
        (context / str(number)).write_bytes(os.urandom(number * 300))
    with open(context / "sparse", "wb") as sparse:
        sparse.truncate(5 << 20)
    os.link(context / "49", context / "linked")
    first = builder.build(source(copy(context, ".", "/a/")), tags=["web"])
    builder.build(source(file("/x", "x" * 100_000)), tags=["cached"])
    builder.store.remove_image("cached")
    archive.load(builder.store, str(as_tar(tmp_path / "image", Built().docker())), tag=True)
    os.makedirs(f"{builder.store.root.path}/cache/mounts/apt")
    Path(f"{builder.store.root.path}/cache/mounts/apt/file").write_bytes(b"x" * 300_000)
    account = disk_usage(builder.store)
    parts = account["layers"] + account["rest"] + sum(entry["size"] for entry in account["cache"])
    parts += sum(row["size"] for key in ("containers", "volumes") for row in account[key])  # type: ignore[literal-required]
    root = builder.store.root.path
    counted = int(subprocess.run(["du", "-s", "-B1", root], capture_output=True, check=True).stdout.split()[0])
    assert abs(parts - counted) <= counted * 0.02
    row = next(row for row in account["images"] if row["id"] == first["id"])
    assert (row["shared"], row["unique"]) == (0, row["size"])
    assert row["size"] == usage.allocated(layers.folder(builder.store.root, first["layers"][0]))


def test_a_build_on_a_full_disk_takes_its_rubbish_away_and_says_what_to_prune(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
    builder, engine = Builder(place / "root"), Engine(str(place / "root"))
    try:
        image: Any = source(file("/cached", "x" * 2_000_000))
        engine.build(image, engine.resolve(image), key="", tags=["old"], labels={}, progress=lambda event: None)
        (cached,) = _layers(builder)
        builder.store.remove_image("old")
        big: Any = source(file("/small", "x"), file("/big", "x" * 9_000_000))
        with pytest.raises(EngineError, match="no space left on device") as caught:
            engine.build(big, engine.resolve(big), key="", tags=["big"], labels={}, progress=lambda event: None)
        assert caught.value.hint.startswith("`stackpy system prune -a` would remove 1.9")
        assert "of build cache; " in caught.value.hint
        assert os.listdir(builder.store.root.staging) == []
        assert cached in _layers(builder)
        engine.prune_cache()
        assert _layers(builder) == set()
    finally:
        engine.store.close()
        builder.store.close()
        subprocess.run(["umount", place], check=True)
