"""Layers that are kept as their tars: in the store, on older kernels, and damaged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build.merged import Merged
from stackpy_runtime.errors import EngineError, InvalidConfig, KernelError, Unsupported
from stackpy_runtime.image import archive, mountable
from stackpy_runtime.image.limits import Limits
from stackpy_runtime.image.staging import Stager, keeps_tars
from stackpy_runtime.linux import mounts
from stackpy_runtime.store import garbage, layers, mounted
from stackpy_runtime.store.store import Store
from tests.image_archives import Built, as_tar
from tests.layer_trees import Pieces, Taken, everything, mounts_of

pytestmark = pytest.mark.root


# --- in the store ----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("STACKPY_LAYERS", "indexed")
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


@pytest.fixture
def loaded(store: Store, tmp_path: Path) -> list[str]:
    """The layers of an image in the store, bottom first."""
    return archive.load(store, str(as_tar(tmp_path / "image.tar", Built().docker())))["layers"]


def held() -> int:
    """How many layers this process has mounted."""
    return len(mounts_of("self"))


def test_a_layer_is_its_tar_and_an_index(store: Store, loaded: list[str]) -> None:
    root = store.root
    assert sorted(os.listdir(root.layers)) == sorted(f"{layer}{end}" for layer in loaded for end in (".erofs", ".tar"))
    assert [Path(layers.tar(root, layer)).read_bytes() for layer in loaded] == Built().tars
    assert [layers.exists(root, layer) for layer in [*loaded, "other"]] == [True, True, False]
    assert [layers.size(root, layer) for layer in loaded] == [len("hello") + len("#!"), len("changed")]
    # Counted from the mount where the attribute is missing.
    os.removexattr(layers.home(root, loaded[0]), "trusted.stackpy.size")
    assert layers.size(root, loaded[0]) == 7
    assert {oct(os.stat(f"{root.layers}/{name}").st_mode) for name in os.listdir(root.layers)} == {"0o100600"}


def test_a_layer_is_mounted_once_and_cloned(store: Store, loaded: list[str]) -> None:
    mounted.sweep()
    before = held()
    assert layers.folder(store.root, loaded[0]) == layers.folder(store.root, loaded[0])
    assert held() == before + 1
    # An attribute that is kept at the index changes nothing of that.
    path = layers.folder(store.root, loaded[0])
    os.setxattr(layers.home(store.root, loaded[0]), "trusted.stackpy.test", b"1")
    assert layers.folder(store.root, loaded[0]) == path
    first, second = (layers.open_mounted(store.root, loaded[0]) for _ in range(2))
    try:
        devices = {os.stat(f"/proc/self/fd/{descriptor}/.").st_dev for descriptor in (first, second)}
        assert devices == {os.stat(layers.folder(store.root, loaded[0])).st_dev}
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(f"/proc/self/fd/{first}/x")
    finally:
        os.close(first)
        os.close(second)
    with open("/proc/self/mountinfo") as table:
        assert "erofs" not in table.read()


def test_removed_layers_are_gone_with_their_space(store: Store, loaded: list[str]) -> None:
    mounted.sweep()
    before = held()
    for layer in loaded:
        layers.folder(store.root, layer)
    store.remove_image(store.images()[0]["id"])
    assert garbage.collect(store).layers == []  # too young
    assert garbage.collect(store, grace=0).layers == sorted(loaded)
    assert (os.listdir(store.root.layers), os.listdir(store.root.staging), held()) == ([], [], before)


def test_what_a_crash_leaves_is_collected_or_completed(store: Store, loaded: list[str], tmp_path: Path) -> None:
    """The index comes last and goes first: a tar without one is no layer."""
    root, image = store.root, store.images()[0]
    os.unlink(f"{root.layers}/{loaded[1]}.erofs")
    assert not layers.exists(root, loaded[1])
    archive.load(store, str(tmp_path / "image.tar"))
    assert layers.exists(root, loaded[1])
    store.remove_image(image["id"])
    os.unlink(f"{root.layers}/{loaded[0]}.erofs")
    assert garbage.collect(store, grace=0).layers == sorted(loaded)
    assert os.listdir(root.layers) == []


def test_a_layer_that_is_there_stays(store: Store, loaded: list[str]) -> None:
    """In whichever kind it is there already."""
    root = store.root
    for layer, kind in ((loaded[0], "unpacked"), ("other", "indexed")):
        os.environ["STACKPY_LAYERS"] = kind
        staged = layers.reserve(root)
        with layers.using(root), Stager(root, staged) as stager:
            stager.add(layer, Pieces(Built().tars[0]), lambda: None)
            stager.adopt()
        layers.discard(root, staged)
    assert os.path.isfile(layers.tar(root, loaded[0]))
    staged = layers.stage(root)
    layers.commit(root, staged, "other")
    assert os.path.isfile(layers.tar(root, "other"))
    assert sorted(os.listdir(root.layers)) == sorted(
        f"{layer}{end}" for layer in [*loaded, "other"] for end in (".erofs", ".tar")
    )


@pytest.mark.parametrize("kind", ["indexed", "read again", "unpacked", "too many"])
def test_layers_received_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("STACKPY_LAYERS", "unpacked" if kind == "unpacked" else "indexed")
    limits = Limits(nodes=1 if kind == "too many" else 1000, waiting=1 if kind == "read again" else 1000)
    store = Store(str(tmp_path / "root"), create=True)
    staged = layers.reserve(store.root)
    tars = Built().tars
    with layers.using(store.root), Stager(store.root, staged, limits) as stager:
        verified: list[int] = []
        with ThreadPoolExecutor(2) as pool:
            running = [
                pool.submit(stager.receive, Pieces(tar, 512), partial(verified.append, n)) for n, tar in enumerate(tars)
            ]
            received = [future.result() for future in running]
        for number in (0, 1):
            stager.place(f"layer{number}", received[number])
        stager.adopt()
    layers.discard(store.root, staged)
    with Taken(tmp_path / "wanted") as wanted:
        for number, tar in enumerate(tars):
            found = os.open(layers.folder(store.root, f"layer{number}"), os.O_RDONLY)
            assert everything(found) == everything(wanted.unpack(tar))
            os.close(found)
    assert (sorted(verified), os.listdir(store.root.staging)) == ([0, 1], [])
    assert bool(layers.tar(store.root, "layer0")) == (kind in ("indexed", "read again"))
    store.close()


# --- which of the two ways -------------------------------------------------------------------------------------------


def test_the_variable_decides(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keeps_tars(store.root)
    monkeypatch.setenv("STACKPY_LAYERS", "unpacked")
    assert not keeps_tars(store.root)
    monkeypatch.setenv("STACKPY_LAYERS", "both")
    with pytest.raises(InvalidConfig, match="STACKPY_LAYERS=both is neither"):
        keeps_tars(store.root)


def test_on_memory_layers_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of tmpfs cannot be mounted."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        store = Store(str(tmp_path / "root"), create=True)
        (tmp_path / "image.tar").touch()
        image = archive.load(store, str(as_tar(tmp_path / "image.tar", Built().docker())))
        assert all(os.path.isdir(layers.home(store.root, layer)) for layer in image["layers"])
        monkeypatch.setenv("STACKPY_LAYERS", "indexed")
        with pytest.raises(Unsupported, match="mounts no layer from a file"):
            keeps_tars(store.root)
        store.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_kernel_that_cannot_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(index: int, tar: int) -> int:
        raise KernelError("fsopen erofs: no such device", errno=19)

    monkeypatch.setattr(mounted, "mount", refused)
    store = Store(str(tmp_path / "root"), create=True)
    assert not mountable.from_files(store.root.staging)
    assert os.listdir(store.root.staging) == []
    store.close()


# --- before Linux 6.15 -----------------------------------------------------------------------------------------------


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that clones no mount that is attached nowhere, and takes none as a layer of overlayfs."""
    open_tree, fsconfig = mounts.open_tree, mounts.fsconfig

    def no_clone(folder: int, path: str, flags: int = mounts.OPEN_TREE_CLONE) -> int:
        target = path or f"/proc/self/fd/{folder}/."
        if flags & mounts.OPEN_TREE_CLONE and os.statvfs(target).f_bsize == 512:
            raise KernelError("open_tree: invalid argument", errno=22)
        return open_tree(folder, path, flags)

    def no_layer(context: int, command: int, key: str | None = None, value: str | None = None) -> int:
        if key in ("lowerdir", "lowerdir+") and value and value.startswith("/proc/"):
            return 22
        return fsconfig(context, command, key, value)

    monkeypatch.setattr(mounts, "open_tree", no_clone)
    monkeypatch.setattr(mounts, "fsconfig", no_layer)
    monkeypatch.setattr(mounted, "_cloning", None)


def test_layers_are_mounted_anew(store: Store, older: None, tmp_path: Path) -> None:
    assert mountable.from_files(str(tmp_path))
    image = archive.load(store, str(as_tar(tmp_path / "image.tar", Built().docker())))
    root = store.root
    assert [layers.lower(root, layer) for layer in image["layers"]] == [
        layers.home(root, layer) for layer in image["layers"]
    ]
    mount = layers.open_mounted(root, image["layers"][0])
    assert Path(f"/proc/self/fd/{mount}/etc/motd").read_text() == "hello"
    os.close(mount)


def test_a_step_sees_layers_that_are_attached_for_it(store: Store, older: None, tmp_path: Path) -> None:
    image = archive.load(store, str(as_tar(tmp_path / "image.tar", Built().docker())))
    folders = [layers.folder(store.root, layer) for layer in image["layers"]]
    staged = layers.stage(store.root)

    def mounted() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(tmp_path) in line or store.root.path in line]

    table = mounted()
    with Merged(folders) as view:
        assert Path(f"/proc/self/fd/{view.root}/etc/motd").read_text() == "changed"
        assert not os.path.exists(f"/proc/self/fd/{view.root}/bin")
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(f"/proc/self/fd/{view.root}/x")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "below").touch()
    with Merged([str(plain), *folders], staged) as view:
        (Path(f"/proc/self/fd/{view.root}") / "etc/new").write_text("new")
        assert sorted(os.listdir(f"/proc/self/fd/{view.root}/.")) == ["below", "etc"]
    assert sorted(os.listdir(f"{staged}/upper/etc")) == ["new"]
    assert mounted() == table
    layers.discard(store.root, staged)


# --- damage ----------------------------------------------------------------------------------------------------------


def flipped(path: str, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda index, tar: flipped(index, 1024),  # the magic number
        lambda index, tar: flipped(index, 1024 + 4),  # the checksum itself
        lambda index, tar: flipped(index, 1024 + 36),  # how many blocks
        lambda index, tar: flipped(index, 1152 + 64),  # how large the tar is
        lambda index, tar: flipped(index, 1536),  # the root's inode
        lambda index, tar: os.truncate(index, 1100),
        lambda index, tar: os.truncate(index, 0),
        lambda index, tar: Path(index).write_bytes(os.urandom(8192)),
    ],
)
def test_a_damaged_index_is_an_error(store: Store, loaded: list[str], damage: Any) -> None:
    place = layers.place(store.root, loaded[0])
    damage(place + ".erofs", place + ".tar")
    with pytest.raises(EngineError) as caught:
        layers.folder(store.root, loaded[0])
    assert str(caught.value).startswith(f"the index of layer {loaded[0]} is damaged: ")
    assert caught.value.hint == "remove the image, and load or pull it again"


def test_a_tar_that_is_missing_or_short_is_an_error(store: Store, loaded: list[str]) -> None:
    place = layers.place(store.root, loaded[0])
    os.truncate(place + ".tar", 512)
    with pytest.raises(OSError, match="Input/output error"):
        Path(layers.folder(store.root, loaded[0]), "etc/motd").read_bytes()
    os.unlink(place + ".tar")
    os.utime(place + ".erofs")
    with pytest.raises(EngineError, match=f"cannot mount layer {loaded[0]}: no such file"):
        layers.folder(store.root, loaded[0])
