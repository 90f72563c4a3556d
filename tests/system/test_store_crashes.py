"""Killed anywhere, or with the disk full: nothing half is believed, nothing stays for good, and a repeat succeeds."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpy_runtime import filling, volume
from stackpy_runtime.errors import EngineError
from stackpy_runtime.image import archive
from stackpy_runtime.store import garbage, layers, mounted
from stackpy_runtime.store.store import Store
from tests.crash_lab import every_death
from tests.image_archives import Built, as_tar, layer

pytestmark = pytest.mark.root

BUILT = Built([layer(a="one", d__b="two", d__c="three"), layer(wh_a="", d__b="changed", e__f="four")])
CONTENTS = [["a", "d/b", "d/c"], ["a", "d/b", "e/f"]]


def contents(store: Store, layer_ids: list[str]) -> list[list[str]]:
    found = []
    for layer_id in layer_ids:
        path = Path(layers.folder(store.root, layer_id))
        found.append(sorted(str(each.relative_to(path)) for each in path.rglob("*") if not each.is_dir()))
    return found


@pytest.mark.parametrize("kind", ["indexed", "unpacked"])
def test_a_load_killed_before_each_of_its_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("STACKPY_LAYERS", kind)
    path = str(as_tar(tmp_path / "image", BUILT.docker()))
    root = str(tmp_path / "root")
    Store(root, create=True).close()
    for _ in every_death(lambda: archive.load(Store(root), path), least=41):
        store = Store(root)
        for image in store.images():
            assert contents(store, image["layers"]) == CONTENTS
        garbage.collect(store, grace=0)
        referred = {
            spot for image in store.images() for each in image["layers"] for spot in layers.paths(store.root, each)
        }
        present = {f"{store.root.layers}/{name}" for name in os.listdir(store.root.layers)}
        assert (present, os.listdir(store.root.staging)) == (referred, [])
        again = archive.load(store, path)
        assert (contents(store, again["layers"]), again["size"]) == (CONTENTS, 22)
        store.delete_images([again["id"]], lambda image: True)
        garbage.collect(store, grace=0)
        assert (os.listdir(store.root.layers), os.listdir(store.root.staging)) == ([], [])
        store.close()


def test_a_volume_removed_with_a_kill_before_each_call(tmp_path: Path) -> None:
    """Its row goes only together with its files, and its files only together with its row."""
    root = str(tmp_path / "root")
    Store(root, create=True).close()

    def create() -> Path:
        store = Store(root)
        path = Path(volume.create(store, "data", {})["mountpoint"])
        (path / "precious").write_text("x")
        store.close()
        return path

    path = create()
    for died in every_death(lambda: volume.remove(Store(root), "data"), least=10):
        store = Store(root)
        garbage.collect(store, grace=0)
        if store.volumes():
            # Between the rename and the commit is one call, after which the user has asked for the files to go.
            assert died
            if path.exists():
                assert (path / "precious").read_text() == "x"
            volume.remove(store, "data")
        assert (store.volumes(), os.listdir(store.root.volumes), os.listdir(store.root.staging)) == ([], [], [])
        store.close()
        path = create()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"size=1m,nr_inodes=200") == 0
    yield path
    assert libc.umount2(os.fsencode(path), 0) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB whose files can be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    (tmp_path / "disk.img").touch()
    os.truncate(tmp_path / "disk.img", 2 << 20)
    options = ["-q", "-m", "0", "-O", "^has_journal", "-N", "128", tmp_path / "disk.img"]
    subprocess.run(["mkfs.ext4", *options], check=True)
    subprocess.run(["mount", "-o", "loop", tmp_path / "disk.img", path], check=True)
    yield path
    shutil.rmtree(path / "root")
    mounted.sweep()
    subprocess.run(["umount", path], check=True)


def test_a_disk_too_small_for_a_tar(tmp_path: Path, small_disk: Path) -> None:
    """Of a layer that is kept as its tar nothing stays; the second fits, and its index does not."""
    store = Store(str(small_disk / "root"), create=True)
    before = os.statvfs(small_disk).f_bfree
    for built in (Built([layer(a="x" * 2_000_000)]), Built([layer(**{f"{n:090}": "" for n in range(3300)})])):
        with pytest.raises(EngineError) as caught:
            archive.load(store, str(as_tar(tmp_path / "image", built.docker())))
        assert (caught.value.message, caught.value.hint) == (
            "cannot write the layer: no space left on device", "free some space and try again",
        )  # fmt: skip
        assert (store.images(), os.listdir(store.root.layers), os.listdir(store.root.staging)) == ([], [], [])
    assert os.statvfs(small_disk).f_bfree == before
    image = archive.load(store, str(as_tar(tmp_path / "image", BUILT.docker())))
    assert layers.tar(store.root, image["layers"][0])
    store.close()


def free(path: Path) -> tuple[int, int]:
    status = os.statvfs(path)
    return status.f_bfree, status.f_ffree


def test_a_full_disk_says_so_and_is_as_free_as_before(tmp_path: Path, small: Path) -> None:
    store = Store(str(small / "root"), create=True)
    store.put_recipe("a", {"id": "1", "steps": []})
    large = Built([layer(a="x" * 2000), layer(b="x" * 2_000_000)])
    many = Built([layer(**{f"f{number}": "" for number in range(300)})])
    messages = []
    for built in (large, many):
        before = free(small)
        with pytest.raises(EngineError) as caught:
            archive.load(store, str(as_tar(tmp_path / "image", built.docker())))
        messages.append((str(caught.value).partition(":")[2], caught.value.hint))
        assert (store.images(), os.listdir(store.root.layers), os.listdir(store.root.staging)) == ([], [], [])
        assert free(small) == before
    assert messages == [(" no space left on device", "free some space and try again")] * 2
    assert archive.load(store, str(as_tar(tmp_path / "image", BUILT.docker())))["id"] == BUILT.id
    store.close()


def test_a_full_disk_keeps_the_index_whole(small: Path) -> None:
    store = Store(str(small / "root"), create=True)
    store.put_step("first", "", {"x": 1})
    with pytest.raises(EngineError) as caught:
        for number in range(1000):
            store.put_step(f"s{number}", "", {"text": "x" * 20_000})
    assert (str(caught.value), caught.value.hint) == (
        f"cannot write `{store.root.database}`: no space left on the device",
        "free some space and try again",
    )
    present = store.steps_present(["first", *(f"s{number}" for number in range(1000))])
    store.close()
    again = Store(str(small / "root"))
    assert again.step("first") == {"layer": "", "config": {"x": 1}}
    assert again.steps_present(present) == present
    assert again.row("PRAGMA integrity_check") == ("ok",)
    again.close()


def test_a_volume_that_does_not_fit_stays_empty(tmp_path: Path, small: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "small").write_text("x")
    (source / "large").write_bytes(b"x" * 2_000_000)
    store = Store(str(small / "root"), create=True)
    target = volume.create(store, "data", {})["mountpoint"]
    descriptors = os.open(source, os.O_RDONLY), os.open(target, os.O_RDONLY)
    with pytest.raises(EngineError) as caught:
        filling.fill(*descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    assert (str(caught.value), caught.value.hint, os.listdir(target)) == (
        "cannot fill the volume: no space left on device", "free some space and try again", [],
    )  # fmt: skip
    store.close()
