"""Layers, locks, removal of trees and garbage on a real file system."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpy_runtime.errors import Conflict, InvalidConfig
from stackpy_runtime.store import garbage, layers, locks, trees
from stackpy_runtime.store.root import Root
from stackpy_runtime.store.store import Store

RUNTIME = str(Path(__file__).parents[2] / "runtime")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


def listing(path: str) -> list[str]:
    return sorted(os.listdir(path))


def in_child(code: str, *arguments: str) -> subprocess.Popen[str]:
    head = "import sys\nfrom stackpy_runtime.store import layers, locks\nfrom stackpy_runtime.store.root import Root\n"
    return subprocess.Popen(
        [sys.executable, "-c", f"{head}root = Root(sys.argv[1])\n{code}", *arguments],
        env={"PYTHONPATH": RUNTIME}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


# --- layers ---------------------------------------------------------------------------------------------------------


def test_a_layer_is_staged_and_renamed_into_place(store: Store) -> None:
    root = store.root
    old = os.umask(0o077)
    try:
        staged = layers.stage(root)
    finally:
        os.umask(old)
    assert os.path.dirname(staged) == root.staging
    assert {name: oct(os.stat(f"{staged}/{name}").st_mode & 0o777) for name in listing(staged)}["upper"] == "0o755"
    Path(staged, "upper", "file").write_text("content")
    Path(staged, "work", "leftover").mkdir()
    inode = os.stat(f"{staged}/upper").st_ino
    assert not layers.exists(root, "a1")
    path = layers.commit(root, staged, "a1")
    assert (path, os.stat(path).st_ino, listing(path)) == (layers.folder(root, "a1"), inode, ["file"])
    assert (layers.exists(root, "a1"), listing(root.staging)) == (True, [])


def test_the_first_of_two_equal_layers_stays(store: Store) -> None:
    for text in ("first", "second"):
        staged = layers.stage(store.root)
        Path(staged, "upper", "file").write_text(text)
        layers.commit(store.root, staged, "a1")
    assert Path(layers.folder(store.root, "a1"), "file").read_text() == "first"
    assert listing(store.root.staging) == []


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../x", "/etc", "A", "a b", "a" * 129, "a\n", "ä"])
def test_no_other_folder_is_a_layer(store: Store, name: str) -> None:
    with pytest.raises(InvalidConfig):
        layers.folder(store.root, name)


def test_only_staging_folders_are_discarded(store: Store, tmp_path: Path) -> None:
    for path in (str(tmp_path), store.root.layers, f"{store.root.staging}/../layers", store.root.staging):
        with pytest.raises(InvalidConfig):
            layers.discard(store.root, path)
    assert os.path.isdir(store.root.layers)


def test_sizes_are_counted_once(store: Store) -> None:
    staged = layers.stage(store.root)
    Path(staged, "upper", "a").write_bytes(b"x" * 1000)
    os.link(f"{staged}/upper/a", f"{staged}/upper/b")
    os.symlink("a", f"{staged}/upper/c")
    Path(staged, "upper", "d").mkdir()
    Path(staged, "upper", "d", "e").write_bytes(b"x" * 50)
    path = layers.commit(store.root, staged, "a1")
    assert layers.size(store.root, "a1") == 1050
    Path(path, "f").write_bytes(b"x")  # nobody does; it shows that the number was kept
    assert layers.size(store.root, "a1") == 1050


# --- removing trees -------------------------------------------------------------------------------------------------


def set_flags(path: Path, flags: int) -> None:
    import fcntl
    import struct

    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, 0x40086602, struct.pack("i", flags))
    finally:
        os.close(descriptor)


def test_a_tree_with_everything_in_it_is_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("lives")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in (b"new\nline", b"\xff\xfe", b"-rf", b"*", b" ", b"x" * 255, b"..."):
        folder = os.fsencode(tree) + b"/" + name
        os.mkdir(folder)
        Path(os.fsdecode(folder), "file").write_text("")
    os.symlink(outside, tree / "link")
    os.symlink("/nowhere", tree / "dangling")
    os.mkfifo(tree / "pipe")
    (tree / "closed").mkdir()
    (tree / "closed" / "file").write_text("")
    (tree / "closed").chmod(0)
    trees.remove(str(tree))
    assert not tree.exists()
    assert (outside / "canary").read_text() == "lives"
    trees.remove(str(tree))


@pytest.mark.root
def test_immutable_and_append_only_things_are_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "folder" / "inner").mkdir(parents=True)
    for name in ("a", "b", "folder/c", "folder/inner/d"):
        (tree / name).write_text("")
    try:
        set_flags(tree / "a", 0x10)
    except OSError:
        pytest.skip("this file system has no immutable flag")
    set_flags(tree / "folder" / "c", 0x20)
    set_flags(tree / "folder" / "inner", 0x20)
    set_flags(tree / "folder", 0x10)
    set_flags(tree, 0x20)
    trees.remove(str(tree))
    assert not tree.exists()


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    folder = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d" * 200, dir_fd=folder)
        following = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = following
    os.close(folder)
    before = len(os.listdir("/proc/self/fd"))
    trees.remove(str(tmp_path / "tree"))
    assert (os.listdir(tmp_path), len(os.listdir("/proc/self/fd"))) == ([], before)


@pytest.mark.root
def test_a_mount_in_a_tree_is_never_entered(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "canary").write_text("lives")
    inner = tmp_path / "tree" / "a" / "mounted"
    inner.mkdir(parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(os.fsencode(precious), os.fsencode(inner), None, 0x1000, None) == 0
    try:
        with pytest.raises(Conflict) as caught:
            trees.remove(str(tmp_path / "tree"))
        assert caught.value.hint == f"umount -R {tmp_path}/tree"
        assert (precious / "canary").read_text() == "lives"
    finally:
        assert libc.umount2(os.fsencode(inner), 0) == 0
    trees.remove(str(tmp_path / "tree"))
    assert (precious / "canary").read_text() == "lives"


# --- garbage --------------------------------------------------------------------------------------------------------


def make_layer(store: Store, name: str) -> None:
    staged = layers.stage(store.root)
    Path(staged, "upper", "file").write_text(name)
    layers.commit(store.root, staged, name)


def test_what_nothing_refers_to_is_collected(store: Store) -> None:
    for name in ("image", "step", "garbage", "other"):
        make_layer(store, name)
    store.put_step("s", "step", {})
    store.put_image({"id": "sha256:a", "references": [], "layers": ["image"]})  # type: ignore[typeddict-item]
    for name in ("known", "unknown"):
        os.makedirs(f"{store.root.containers}/{name}/upper")
    store.insert_container(
        {"id": "known", "name": "x", "image_id": "", "created": "", "config": {}, "state": {}, "networks": {}}  # type: ignore[typeddict-item]
    )
    for name in ("lonely", "empty"):
        os.makedirs(f"{store.root.volumes}/{name}/_data")
    Path(f"{store.root.volumes}/lonely/_data/data").write_text("never taken away")
    mine = layers.stage(store.root)
    os.mkdir(f"{store.root.staging}/abandoned")
    Path(f"{store.root.staging}/file").write_text("")

    assert garbage.collect(store) == ([], [], ["abandoned", "file"])  # the rest is too young
    assert garbage.collect(store, grace=0) == (["garbage", "other"], ["unknown"], [])
    assert garbage.collect(store, grace=0) == ([], [], [])
    root = store.root
    assert [listing(path) for path in (root.layers, root.containers, root.staging, root.volumes)] == [
        ["image", "step"], ["known"], [os.path.basename(mine)], ["lonely"],
    ]  # fmt: skip
    layers.discard(root, mine)


def test_layers_wait_for_builds_under_way(store: Store) -> None:
    make_layer(store, "garbage")
    with layers.using(store.root), layers.using(store.root):
        assert garbage.collect(store, grace=0) == ([], [], [])
        make_layer(store, "other")
    assert garbage.collect(store, grace=0) == (["garbage", "other"], [], [])


def test_a_layer_that_is_committed_again_is_young_again(store: Store) -> None:
    make_layer(store, "old")
    time.sleep(0.02)  # file times are taken from a clock that ticks every 4 ms
    moment = time.time()
    time.sleep(0.02)
    staged = layers.stage(store.root)
    layers.commit(store.root, staged, "old")
    assert garbage.collect(store, grace=time.time() - moment).layers == []


def test_staging_of_a_dead_process_goes_and_of_a_living_one_stays(store: Store) -> None:
    child = in_child("print(layers.stage(root), flush=True); sys.stdin.readline()", store.root.path)
    assert child.stdout is not None
    staged = child.stdout.readline().strip()
    Path(staged, "upper", "file").write_text("")
    assert garbage.collect(store, grace=0) == ([], [], [])
    child.kill()
    child.communicate()
    assert garbage.collect(store, grace=0) == ([], [], [os.path.basename(staged)])
    assert listing(store.root.staging) == []


def test_a_missing_root_is_left_missing(tmp_path: Path) -> None:
    assert garbage.collect(Store(str(tmp_path / "none"))) == ([], [], [])
    assert listing(str(tmp_path)) == []


def test_collections_and_commits_at_once_lose_nothing(store: Store) -> None:
    """While one thread collects all the time, a layer that is committed under `using` is there when it is recorded."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def collecting() -> None:
        try:
            while not stop.is_set():
                garbage.collect(store, grace=0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=collecting)
    thread.start()
    try:
        for number in range(60):
            with layers.using(store.root):
                make_layer(store, f"l{number}")
                store.put_step(f"s{number}", f"l{number}", {})
    finally:
        stop.set()
        thread.join()
    assert (errors, len(store.steps_present(f"s{n}" for n in range(60)))) == ([], 60)


# --- locks ----------------------------------------------------------------------------------------------------------


def test_a_second_holder_waits_and_is_told_for_whom(store: Store) -> None:
    hold = "print('held', flush=True); sys.stdin.readline()"
    code = f"with locks.named(root, 'stack-shop', command='stackpy apply'):\n {hold}"
    child = in_child(code, store.root.path)
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    told: list[str] = []
    with pytest.raises(Conflict) as caught, locks.named(store.root, "stack-shop", timeout=0.05, waiting=told.append):
        raise AssertionError("two hold one lock")
    assert len(told) == 1
    assert told[0].startswith(f"pid {child.pid} (`stackpy apply`) since 20")
    assert str(caught.value) == f"`stack-shop` is locked by {told[0]}"
    with pytest.raises(Conflict), locks.named(store.root, "stack-shop", timeout=0, waiting=told.append):
        raise AssertionError("two hold one lock")
    assert len(told) == 1
    with locks.named(store.root, "stack-other", timeout=0):
        pass

    def release(holder: str) -> None:
        told.append(holder)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()

    with locks.named(store.root, "stack-shop", waiting=release):
        assert len(told) == 2
    child.communicate()
    assert Path(store.root.locks, "stack-shop").read_bytes() == b""


def test_a_lock_ends_with_its_holder(store: Store) -> None:
    child = in_child("with locks.named(root, 'x'):\n print('held', flush=True); sys.stdin.readline()", store.root.path)
    assert child.stdout is not None
    child.stdout.readline()
    child.kill()
    child.communicate()
    with locks.named(store.root, "x", timeout=0):
        pass


def test_a_lock_is_given_back_on_an_error_and_by_a_child_that_was_forked_meanwhile(store: Store) -> None:
    with pytest.raises(ValueError, match="inside"), locks.named(store.root, "x"):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
        raise ValueError("inside")
    try:
        with locks.named(store.root, "x", timeout=0):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/", "", ".", "..", "a" * 300, "a/b", "a%2fb", "ä\n"])
def test_a_lock_never_leaves_its_folder(store: Store, name: str) -> None:
    before = listing(store.root.path)
    with locks.named(store.root, name or "empty", timeout=0):
        assert len(listing(store.root.locks)) == 1
    assert listing(store.root.path) == before
    file = os.stat(f"{store.root.locks}/{listing(store.root.locks)[0]}")
    assert (stat.S_ISREG(file.st_mode), oct(file.st_mode & 0o777)) == (True, "0o600")


def test_long_names_that_differ_at_the_end_are_two_locks(store: Store) -> None:
    with locks.named(store.root, "a" * 300 + "x", timeout=0), locks.named(store.root, "a" * 300 + "y", timeout=0):
        pass


def test_the_root_is_compared_by_path() -> None:
    assert (Root("/a/b/../c"), hash(Root("/a/c"))) == (Root("/a/c"), hash(Root("/a/b/../c")))
