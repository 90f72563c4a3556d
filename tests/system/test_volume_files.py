"""Named volumes on disk: made, filled from an image's folder, and never lost."""

from __future__ import annotations

import gc
import multiprocessing
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime import filling, volume
from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound
from stackpy_runtime.store import garbage
from stackpy_runtime.store.store import Store

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


def user(store: Store, name: str, source: str) -> None:
    mounts: Any = [{"type": "volume", "source": source, "target": "/data", "read_only": False}]
    container: Any = {
        "id": name, "name": name, "image_id": "", "created": "", "state": {}, "networks": {},
        "config": {"name": name, "image": "x", "mounts": mounts},
    }  # fmt: skip
    store.insert_container(container)


def opened(path: str | Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def fill(source: str | Path, target: str | Path) -> bool:
    descriptors = opened(source), opened(target)
    try:
        return filling.fill(*descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def state(path: Path) -> dict[str, tuple[object, ...]]:
    """All that a copy must have, links between names included."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for base, folders, files in os.walk(path):
        folders.sort()
        for name in sorted([*folders, *files]) + ([""] if base == str(path) else []):
            entry = Path(base, name)
            status = entry.lstat()
            relative = str(entry.relative_to(path))
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = entry.read_bytes(), first.setdefault(status.st_ino, relative)
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(entry)
            names = os.listxattr(entry, follow_symlinks=False)
            attributes = {key: os.getxattr(entry, key, follow_symlinks=False) for key in names}
            found[relative] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content, attributes)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with all that an image may have there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not to be read")
    path = tmp_path / "source"
    (path / "folder" / "inner").mkdir(parents=True)
    (path / "folder" / "file").write_text("text")
    (path / "folder" / "inner" / "empty").write_text("")
    os.link(path / "folder" / "file", path / "also")
    os.link(path / "folder" / "file", path / "folder" / "inner" / "too")
    os.symlink(outside, path / "escape")
    os.symlink(outside / "secret", path / "folder" / "escape")
    os.symlink("nowhere", path / "dangling")
    os.mkfifo(path / "pipe", 0o640)
    Path(os.fsdecode(os.fsencode(path) + b"/\xff\n")).write_text("odd name")
    (path / "program").write_bytes(b"\x7fELF" + bytes(3_000_000))
    os.chown(path / "program", 100, 101)
    os.chmod(path / "program", 0o4750)
    os.setxattr(path / "program", "security.capability", struct.pack("<5I", 0x02000001, 1, 0, 0, 0))
    os.setxattr(path / "folder", "user.note", b"kept")
    os.setxattr(path / "folder", "trusted.overlay.opaque", b"y")
    os.chown(path / "folder", 7, 8)
    os.chmod(path / "folder", 0o2711)
    os.lchown(path / "dangling", 9, 9)
    os.chown(path, 999, 998)
    os.chmod(path, 0o1770)
    for number, entry in enumerate([*sorted(path.rglob("*")), path]):
        os.utime(entry, ns=(0, number * 1_000_000_007), follow_symlinks=False)
    return path


def test_create_and_remove(store: Store) -> None:
    made = volume.create(store, "data", {"a": "b"})
    path = f"{store.root.volumes}/data/_data"
    assert {**made, "created": made["created"][:2]} == {
        "name": "data", "driver": "local", "mountpoint": path, "labels": {"a": "b"}, "created": "20",
    }  # fmt: skip
    assert (store.volumes(), oct(os.stat(path).st_mode & 0o777)) == ([made], "0o755")
    with pytest.raises(Conflict):
        volume.create(store, "data", {})
    Path(path, "file").write_text("x")
    volume.remove(store, "data")
    assert (store.volumes(), os.listdir(store.root.volumes), os.listdir(store.root.staging)) == ([], [], [])
    with pytest.raises(NotFound):
        volume.remove(store, "data")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "/etc", "-a", "a b", "a\n", "ä", "x" * 256])
def test_names_stay_in_the_folder(store: Store, name: str) -> None:
    for attempt in (lambda: volume.create(store, name, {}), lambda: volume.remove(store, name)):
        with pytest.raises(InvalidConfig, match="is not a volume name"):
            attempt()
    assert os.listdir(store.root.volumes) == []


def test_a_volume_in_use_is_not_removed(store: Store) -> None:
    path = Path(volume.create(store, "data", {})["mountpoint"])
    (path / "precious").write_text("x")
    user(store, "db", "data")
    with pytest.raises(Conflict) as caught:
        volume.remove(store, "data")
    assert (str(caught.value), caught.value.hint) == (
        "volume data: container db uses it", "remove it first: `stackpy rm db`",
    )  # fmt: skip
    assert ((path / "precious").read_text(), len(store.volumes()), os.listdir(store.root.staging)) == ("x", 1, [])
    store.delete_container("db")
    volume.remove(store, "data")
    assert not path.exists()


def test_the_files_of_a_volume_outlive_its_row_and_garbage_collection(store: Store) -> None:
    """A crash between the folder and the row loses nothing: the next creation takes the folder over."""
    path = Path(volume.create(store, "data", {})["mountpoint"])
    (path / "precious").write_text("x")
    store.delete_volume("data")
    garbage.collect(store, grace=0)
    volume.create(store, "data", {})
    assert (path / "precious").read_text() == "x"


def test_a_copy_has_everything(store: Store, source: Path) -> None:
    target = Path(volume.create(store, "data", {})["mountpoint"])
    wanted = state(source)
    wanted["folder"][5].pop("trusted.overlay.opaque")  # type: ignore[attr-defined]
    assert fill(source, target)
    assert state(target) == wanted
    assert (target / "escape").is_symlink()


def test_only_an_empty_volume_is_filled(store: Store, source: Path) -> None:
    target = Path(volume.create(store, "data", {})["mountpoint"])
    (target / "mine").write_text("x")
    assert not fill(source, target)
    assert os.listdir(target) == ["mine"]
    (target / "mine").unlink()
    assert filling.wants_filling(str(target))
    assert fill(source, target)
    assert not filling.wants_filling(str(target))
    assert not fill(source, target)


def test_an_empty_folder_gives_its_owner_alone(store: Store, tmp_path: Path) -> None:
    target = Path(volume.create(store, "data", {})["mountpoint"])
    (tmp_path / "empty").mkdir(mode=0o700)
    os.chown(tmp_path / "empty", 70, 70)
    assert fill(tmp_path / "empty", target)
    status = target.stat()
    assert (os.listdir(target), status.st_uid, stat.S_IMODE(status.st_mode)) == ([], 70, 0o700)


def test_a_fill_that_was_killed_begins_anew(store: Store, source: Path) -> None:
    target = Path(volume.create(store, "data", {})["mountpoint"])
    child = os.fork()
    if not child:
        # Dies, as by kill -9, at the fourth entry it sets owners of.
        calls = iter(range(100))
        really = os.fchown
        os.fchown = lambda *a: os._exit(9) if next(calls) == 3 else really(*a)  # type: ignore[assignment]
        try:
            fill(source, target)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert "trusted.stackpy.filling" in os.listxattr(target)
    assert filling.wants_filling(str(target))
    wanted = state(source)
    wanted["folder"][5].pop("trusted.overlay.opaque")  # type: ignore[attr-defined]
    assert fill(source, target)
    assert state(target) == wanted


def test_a_fill_that_fails_leaves_the_volume_empty(store: Store, tmp_path: Path) -> None:
    target = Path(volume.create(store, "data", {})["mountpoint"])
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "file").write_text("x")
    os.makedirs(deep / "/".join(["d"] * 300))
    gc.collect()  # what earlier tests have left open would be closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EngineError, match="folders more than 256 deep"):
        fill(deep, target)
    assert (os.listdir(target), len(os.listdir("/proc/self/fd"))) == ([], before)


def _fill_and_look(source: str, target: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    filled = fill(source, target)
    results.put((filled, len(os.listdir(target)), "trusted.stackpy.filling" in os.listxattr(target)))


def test_containers_that_start_at_once_all_see_it_full(store: Store, source: Path) -> None:
    target = volume.create(store, "data", {})["mountpoint"]
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    starters = [context.Process(target=_fill_and_look, args=(str(source), target, barrier, results)) for _ in range(4)]
    for starter in starters:
        starter.start()
    seen = sorted(results.get(timeout=60) for _ in starters)
    for starter in starters:
        starter.join()
    count = len(os.listdir(source))
    assert seen == [(False, count, False)] * 3 + [(True, count, False)]
