"""Snapshots of volumes: complete or not there, whatever is in the volume and whenever somebody is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stackpy_runtime import volume, volume_snapshots
from stackpy_runtime.errors import Conflict, EngineError, NotFound
from stackpy_runtime.store.root import Root
from stackpy_runtime.store.store import Store

pytestmark = pytest.mark.root

TOP = Path(__file__).parents[2]
AT_REST = contextlib.nullcontext()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


@pytest.fixture
def data(store: Store) -> Path:
    return Path(volume.create(store, "data", {})["mountpoint"])


def content(root: Root, identity: str) -> Path:
    return Path(root.volumes, "data", "_snapshots", identity, "data")


def entries(path: Path) -> dict[str, tuple[object, ...]]:
    """All that a copy must have, holes and names of one file included."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for base, folders, files in os.walk(path):
        folders.sort()
        for name in sorted([*folders, *files, "."]):
            entry = Path(base, name)
            status = entry.lstat()
            attributes = {key: os.getxattr(entry, key, follow_symlinks=False)
                          for key in os.listxattr(entry, follow_symlinks=False)}  # fmt: skip
            what: object = None
            if entry.is_symlink():
                what = os.readlink(entry)
            elif stat.S_ISREG(status.st_mode):
                what = (
                    entry.read_bytes(),
                    status.st_blocks,
                    first.setdefault(status.st_ino, str(entry)[len(str(path)) :]),
                )
            found[str(entry.relative_to(path))] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev, attributes, what,
            )  # fmt: skip
    return found


def fill(path: Path) -> None:
    (path / "deep" / "er").mkdir(parents=True)
    (path / "deep" / "er" / "file").write_bytes(b"x" * 5000)
    os.link(path / "deep" / "er" / "file", path / "again")
    os.symlink("/etc/passwd", path / "out")
    os.symlink("../../..", path / "deep" / "up")
    os.link(path / "out", path / "deep" / "out too", follow_symlinks=False)
    with open(path / "holes", "wb") as file:
        file.write(b"begin")
        file.seek(8 << 20)
        file.write(b"end")
        file.truncate(16 << 20)
    os.mkfifo(path / "pipe", 0o640)
    os.mknod(path / "socket", stat.S_IFSOCK | 0o600)
    os.mknod(path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(path / "again", "user.note", b"1")
    os.setxattr(path / "deep", "trusted.note", b"2")
    os.setxattr(path / "out", "trusted.note", b"3", follow_symlinks=False)
    os.chown(path / "again", 1234, 4321)
    os.chmod(path / "again", 0o4751)
    os.chown(path / "out", 99, 98, follow_symlinks=False)
    os.chmod(path, 0o2770)
    os.chown(path, 70, 71)
    (path / os.fsdecode(b"not \xff utf-8")).touch()
    for name in ("again", "deep/er", "."):
        os.utime(path / name, ns=(1_000_000_001, 1_234_567_890_123_456_789))
    os.utime(path / "out", ns=(7, 8), follow_symlinks=False)


def test_a_snapshot_is_like_the_volume_in_everything(store: Store, data: Path) -> None:
    fill(data)
    before = entries(data)
    taken = volume_snapshots.take(store, "data", {"a": "b"}, AT_REST)
    assert volume_snapshots.of_volume(store.root, "data") == [taken]
    assert taken["labels"] == {"a": "b"} and taken["size"] > 5000
    assert entries(content(store.root, taken["id"])) == before == entries(data)
    assert os.listdir(store.root.staging) == []
    (data / "again").write_text("other")
    assert entries(content(store.root, taken["id"])) == before
    (later := data / "later").touch()
    second = volume_snapshots.take(store, "data", {}, AT_REST)
    assert [one["id"] for one in volume_snapshots.of_volume(store.root, "data")] == [taken["id"], second["id"]]
    volume_snapshots.remove(store, "data", second["id"])
    volume_snapshots.remove(store, "data", second["id"])
    assert volume_snapshots.of_volume(store.root, "data") == [taken]

    assert later.exists()
    now = entries(data)
    replaced = volume_snapshots.restore(store, "data", taken["id"], {"was": "here"}, lambda: None)
    assert entries(data) == before
    assert entries(content(store.root, replaced["id"])) == now
    assert [one["labels"] for one in volume_snapshots.of_volume(store.root, "data")] == [{"a": "b"}, {"was": "here"}]
    # so back again too
    volume_snapshots.restore(store, "data", replaced["id"], {}, lambda: None)
    assert entries(data) == now

    volume.rename(store, "data", "other")
    assert len(volume_snapshots.of_volume(store.root, "other")) == 3
    volume.remove(store, "other")
    assert os.listdir(store.root.volumes) == os.listdir(store.root.staging) == []


def test_a_tree_that_is_deeper_than_a_path_is_long(store: Store, data: Path) -> None:
    levels, name = 300, "level" * 10
    here = os.open(data, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        following = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = following
    os.close(os.open("file", os.O_CREAT, dir_fd=here))
    os.link("file", "second", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)
    taken = volume_snapshots.take(store, "data", {}, AT_REST)
    here = os.open(content(store.root, taken["id"]), os.O_RDONLY)
    for _ in range(levels):
        following = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = following
    assert sorted(os.listdir(here)) == ["file", "second"]
    os.close(here)
    volume.remove(store, "data")


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def test_what_is_mounted_in_a_volume_is_not_entered(store: Store, data: Path) -> None:
    (data / "in").mkdir()
    mount("-t", "tmpfs", "tmpfs", str(data / "in"))
    try:
        with pytest.raises(Conflict, match="volume data: something is mounted at `in` in it"):
            volume_snapshots.take(store, "data", {}, AT_REST)
        assert volume_snapshots.of_volume(store.root, "data") == []
        assert os.listdir(store.root.staging) == []
    finally:
        subprocess.run(["umount", str(data / "in")], check=True)


def test_files_are_cloned_where_the_file_system_can(tmp_path: Path) -> None:
    """On btrfs: a snapshot takes no room until one of the two changes, and is like the volume all the same."""
    disk, image = tmp_path / "disk", tmp_path / "image"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    mount("-o", "loop", str(image), str(disk))
    try:
        store = Store(str(disk / "root"), create=True)
        data = Path(volume.create(store, "data", {})["mountpoint"])
        fill(data)
        (data / "large").write_bytes(os.urandom(64 << 20))
        os.sync()
        before, free = entries(data), shutil.disk_usage(disk).free
        taken = volume_snapshots.take(store, "data", {}, AT_REST)
        os.sync()
        assert free - shutil.disk_usage(disk).free < 8 << 20
        assert entries(content(store.root, taken["id"])) == before
        with open(data / "large", "r+b") as file:
            file.write(b"changed")
        assert entries(content(store.root, taken["id"])) == before
        volume_snapshots.restore(store, "data", taken["id"], {}, lambda: None)
        assert entries(data) == before
        store.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    mount("-t", "tmpfs", "-o", "size=6m", "tmpfs", str(tmp_path / "disk"))
    try:
        store = Store(str(tmp_path / "disk" / "root"), create=True)
        path = Path(volume.create(store, "data", {})["mountpoint"])
        (path / "small").write_bytes(b"1" * 100_000)
        taken = volume_snapshots.take(store, "data", {}, AT_REST)
        (path / "large").write_bytes(b"2" * 3_500_000)
        with pytest.raises(EngineError, match="volume data: cannot take a snapshot of it: no space left") as caught:
            volume_snapshots.take(store, "data", {}, AT_REST)
        assert "system df" in caught.value.hint
        (path / "filler").write_bytes(b"3" * 1_500_000)
        before = entries(path)
        (content(store.root, taken["id"]) / "small").write_bytes(b"4" * 600_000)
        with pytest.raises(EngineError, match="no space left"):
            volume_snapshots.restore(store, "data", taken["id"], {}, lambda: pytest.fail("nobody was to be stopped"))
        assert entries(path) == before
        assert [one["id"] for one in volume_snapshots.of_volume(store.root, "data")] == [taken["id"]]
        assert os.listdir(store.root.staging) == []
        assert os.listdir(Path(store.root.volumes, "data", "_snapshots")) == [taken["id"]]
        store.close()
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_what_does_not_stop_leaves_the_volume_as_it_is(store: Store, data: Path) -> None:
    (data / "one").touch()
    taken = volume_snapshots.take(store, "data", {}, AT_REST)
    (data / "two").touch()

    def refuse() -> None:
        raise Conflict("it runs")

    with pytest.raises(Conflict, match="it runs"):
        volume_snapshots.restore(store, "data", taken["id"], {}, refuse)
    assert sorted(os.listdir(data)) == ["one", "two"]
    assert os.listdir(Path(store.root.volumes, "data", "_snapshots")) == [taken["id"]]
    for identity in ("0" * 16, "../x", ".", ""):
        with pytest.raises(NotFound):
            volume_snapshots.restore(store, "data", identity, {}, refuse)


def test_a_volume_whose_folder_was_deleted_comes_back(store: Store, data: Path) -> None:
    fill(data)
    before = entries(data)
    taken = volume_snapshots.take(store, "data", {}, AT_REST)
    shutil.rmtree(data)
    volume_snapshots.restore(store, "data", taken["id"], {}, lambda: None)
    volume.restore(store, "data")  # as the plan goes on: what is there stays
    assert entries(data) == before


# A process that kills itself at its N-th call that changes something; without N it counts them.
KILLED = """
import contextlib, os, signal, sys
from stackpy_runtime import volume_snapshots
from stackpy_runtime.linux import files
from stackpy_runtime.store.store import Store
root, verb, identity, at = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
store, calls = Store(root), 0
def wrapped(call):
    def one(*arguments, **named):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return one
for name in "mkdir rmdir rename unlink link symlink mknod open fsync ftruncate fchmod utime copy_file_range".split():
    setattr(os, name, wrapped(getattr(os, name)))
volume_snapshots.exchange = wrapped(files.exchange)
volume_snapshots.sync_file_system = wrapped(files.sync_file_system)
if verb == "take":
    volume_snapshots.take(store, "data", {}, contextlib.nullcontext())
else:
    volume_snapshots.restore(store, "data", identity, {}, lambda: None)
print(calls)
"""
POINTS = int(os.environ.get("STACKPY_SNAPSHOT_KILLS", "8"))  # of each verb; 0: all of them


def killed(root: Root, verb: str, identity: str, at: int) -> int:
    """Runs it until its `at`-th call; how many there are where it came to its end."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, root.path, verb, identity, str(at)],
        env={"PYTHONPATH": str(TOP / "runtime")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout) if done.returncode == 0 else 0


def points(total: int) -> list[int]:
    """Some of the calls from 1 to `total`, the last ones among them, where what is new takes its place."""
    if not POINTS or total <= POINTS:
        return list(range(1, total + 1))
    spread = [round(1 + place * (total - 1) / (POINTS // 2)) for place in range(POINTS // 2)]
    return sorted({*spread, *range(total - POINTS // 2, total + 1)})


def check_whole(store: Store, known: Callable[[dict[str, tuple[object, ...]]], bool]) -> None:
    """Every snapshot that there is, is one; what was left of others goes with the next."""
    place = Path(store.root.volumes, "data", "_snapshots")
    for one in volume_snapshots.of_volume(store.root, "data"):
        assert known(entries(content(store.root, one["id"])))
        volume_snapshots.remove(store, "data", one["id"])
    volume_snapshots.remove(store, "data", volume_snapshots.take(store, "data", {}, AT_REST)["id"])
    volume_snapshots.finish(store.root, "data")
    assert not place.exists() or all(not name.startswith(".") for name in os.listdir(place))
    assert os.listdir(store.root.staging) == []


def test_a_snapshot_whose_taker_is_killed_is_whole_or_not_there(store: Store, data: Path) -> None:
    (data / "folder").mkdir()
    (data / "folder" / "file").write_bytes(b"x" * 3000)
    os.link(data / "folder" / "file", data / "again")
    before = entries(data)
    for at in points(killed(store.root, "take", "-", 0)):
        killed(store.root, "take", "-", at)
        assert entries(data) == before
        check_whole(store, lambda found: found == before)


def test_a_volume_whose_restorer_is_killed_is_the_old_or_the_new_one(store: Store, data: Path) -> None:
    (data / "old").write_text("1")
    old = entries(data)
    (data / "new").write_text("2")
    new = entries(data)

    def fresh() -> str:
        for name in os.listdir(data):
            os.unlink(data / name)
        (data / "old").write_text("1")
        identity = volume_snapshots.take(store, "data", {}, AT_REST)["id"]
        (data / "new").write_text("2")
        return identity

    def kind(found: dict[str, tuple[object, ...]]) -> str:
        return {frozenset(old): "old", frozenset(new): "new"}[frozenset(found)]

    total = killed(store.root, "restore", fresh(), 0)
    check_whole(store, lambda found: kind(found) in ("old", "new"))
    seen = set()
    for at in points(total):
        identity = fresh()
        killed(store.root, "restore", identity, at)
        now = kind(entries(data))
        seen.add(now)
        volume_snapshots.finish(store.root, "data")
        kept = [kind(entries(content(store.root, one["id"]))) for one in volume_snapshots.of_volume(store.root, "data")]
        assert kept == (["old"] if now == "new" else ["old", "new"]), at
        check_whole(store, lambda found: kind(found) in ("old", "new"))
    assert seen == {"old", "new"}
