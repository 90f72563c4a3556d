"""Hostile layers (2025-47290, 2021-32760, 2014-6407 and their like): nothing outside the layer's folder is changed.

Each case is an archive whose digests are right, since those are the attacker's to choose. It is loaded as root, as a
user would do it, beside a canary. Either it is refused and leaves nothing, or it becomes exactly the listed tree.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image import archive
from stackpy_runtime.image.limits import Limits
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store
from tests.security import tar_building
from tests.security.layers_loaded import LOADED
from tests.security.layers_refused import REFUSED
from tests.security.tar_building import CANARY, Layer, Member, extended, file, folder, hardlink, header, record

pytestmark = pytest.mark.root


class Place(NamedTuple):
    """A store with a canary beside it."""

    store: Store
    canary: Path
    folder: Path


@pytest.fixture(params=["indexed", "unpacked"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("STACKPY_LAYERS", request.param)
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("lives")
    (canary / "folder").mkdir()
    (canary / "folder" / "inner").write_text("lives too")
    os.symlink("file", canary / "link")
    store = Store(str(tmp_path / "root"), create=True)
    yield Place(store, canary, tmp_path)
    store.close()


def state(path: Path) -> list[tuple[object, ...]]:
    """All that can be known of a tree, but for the times of reading."""
    found = []
    for base, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            entry = Path(base, name)
            status = entry.lstat()
            content = entry.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            attributes = tuple(os.listxattr(entry, follow_symlinks=False))
            times = status.st_mtime_ns, status.st_ctime_ns
            found.append((str(entry), status.st_mode, status.st_uid, status.st_nlink, times, content, attributes))
    return sorted(found)


def host() -> tuple[object, ...]:
    """What of the host an unpacked tar would have changed."""
    passwd, shadow = os.stat("/etc/passwd"), os.stat("/etc/shadow")
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    return sorted(os.listdir("/")), passwd.st_ctime_ns, shadow.st_ctime_ns, pattern


def save(place: Place, stack: list[Layer]) -> Path:
    return tar_building.save(stack, place.folder / "evil.tar", str(place.canary))


def remove(store: Store, layer_ids: list[str]) -> None:
    staged = layers.reserve(store.root)
    for layer in layer_ids:
        layers.remove(store.root, layer, staged)
    layers.discard(store.root, staged)


KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


def tree(path: str) -> list[str]:
    """The tree of a layer in the corpus's notation."""
    lines = []
    for base, folders, files in os.walk(path):
        for name in folders + files:
            entry = f"{base}/{name}"
            status = os.lstat(entry)
            kind = KINDS[stat.S_IFMT(status.st_mode)]
            line = f"{kind}{stat.S_IMODE(status.st_mode):o} {os.path.relpath(entry, path)}"
            attributes = {
                key: os.getxattr(entry, key, follow_symlinks=False)
                for key in os.listxattr(entry, follow_symlinks=False)
            }
            attributes.pop("trusted.stackpy.size", None)
            if kind == "f":
                line += ": " + Path(entry).read_bytes().decode("latin-1")
            elif kind == "l":
                line += " -> " + os.readlink(entry)
            elif kind == "d" and (status.st_uid or status.st_gid):
                line += f" {status.st_uid}:{status.st_gid}"
            elif kind in "cb" and (status.st_rdev or kind == "b"):
                line += f": {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
            if attributes.pop("trusted.overlay.opaque", None):
                line += " opaque"
            if attributes:
                line += f" { {key: len(value) for key, value in sorted(attributes.items())} }"
            lines.append(line)
    return sorted(lines, key=lambda line: line.split(" ", 1)[1])


def expected(lines: list[str], canary: Path) -> list[str]:
    """The notation with the canary's path; `...` stands for all folders on the way to it."""
    whole: list[str] = []
    inside = str(canary).lstrip("/")
    for line in lines:
        if line.startswith("... "):
            *parents, last = inside.split("/")
            ways = ["/".join([*parents, last][: n + 1]) for n in range(len(parents) + 1)]
            rest = line.removeprefix("... {canary}")
            whole += [f"d755 {way}" for way in ways[:-1]] + [f"d755 {ways[-1]}{rest}"]
        else:
            whole.append(line.replace("{canary}", inside).replace("{/canary}", str(canary)))
    return sorted(whole, key=lambda line: line.split(" ", 1)[1])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(place: Place, name: str) -> None:
    message, stack = REFUSED[name]
    before = state(place.canary), host()
    path = save(place, stack)
    with pytest.raises(InvalidConfig) as caught:
        archive.load(place.store, str(path))
    assert message.replace("{canary}", str(place.canary).lstrip("/")) in str(caught.value)
    assert str(caught.value).startswith(f"archive {path}: layer {len(stack)} of {len(stack)}: ")
    assert str(caught.value).isprintable()
    assert (state(place.canary), host()) == before
    root = place.store.root
    assert (os.listdir(root.layers), os.listdir(root.staging), place.store.images()) == ([], [], [])


@pytest.mark.parametrize("name", LOADED)
def test_loaded(place: Place, name: str) -> None:
    lines, stack = LOADED[name]
    before = state(place.canary), host()
    image = archive.load(place.store, str(save(place, stack)))
    assert tree(layers.folder(place.store.root, image["layers"][-1])) == expected(lines, place.canary)
    assert (state(place.canary), host()) == before
    assert os.listdir(place.store.root.staging) == []
    # Set-id programs and other people's files in it are out of everybody's reach but root's.
    assert oct(os.stat(place.store.root.layers).st_mode & 0o777) == "0o700"


names = st.sampled_from(
    [
        *"a b a/b a/b/c b/a a/../b /a ../canary/file .wh.a a/.wh.b a/.wh..wh..opq .wh..wh..opq . a/. b/.wh..".split(),
        CANARY,
        f"{CANARY}/file",
    ]
)
targets = st.sampled_from(
    [
        "a",
        "b",
        "..",
        "../..",
        "/",
        ".",
        "a/b",
        CANARY,
        f"{CANARY}/file",
        "../canary",
        "../../canary/folder",
        "/proc/self/root",
        "b/c",
    ]
)
members = st.builds(
    lambda name, kind, target, mode: Member(name, kind, target if kind in ("link", "symlink") else "", mode=mode),
    names, st.sampled_from(["file", "file", "folder", "symlink", "symlink", "link", "fifo"]), targets,
    st.sampled_from([0o644, 0o777, 0, 0o4755]),
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(members, max_size=8), min_size=1, max_size=2))
def test_any_mixture_stays_inside(place: Place, stack: list[Layer]) -> None:
    before = state(place.canary), host()
    path = save(place, stack)
    try:
        image = archive.load(place.store, str(path))
    except EngineError as error:
        assert isinstance(error, InvalidConfig)
    else:
        place.store.remove_image(image["id"])
        remove(place.store, image["layers"])
    assert (state(place.canary), host()) == before
    assert (os.listdir(place.store.root.layers), os.listdir(place.store.root.staging)) == ([], [])


def test_a_path_of_4095_bytes_is_loaded_measured_and_removed(place: Place) -> None:
    longest = "/".join(["d" * 255] * 15 + ["d" * 127, "d" * 127])
    image = archive.load(place.store, str(save(place, [[file(longest)], [hardlink("h", longest)]])))
    assert (image["size"], place.store.image(image["id"])["layers"]) == (8, image["layers"])
    remove(place.store, image["layers"])
    assert os.listdir(place.store.root.layers) == []


@pytest.mark.parametrize(
    ("stack", "limits", "message"),
    [
        ([[file(f"f{n}") for n in range(11)]], Limits(entries=10), "it has more than 10 entries"),
        ([[file("f", data=b"x" * 6000)]], Limits(unpacked=5000), "it has more than 4.883 KiB when decompressed"),
        (
            [[file("a", data=b"x" * 3000), file("b", data=b"x" * 3000)], [hardlink("c", "a"), hardlink("d", "b")]],
            Limits(unpacked=5000),
            "it has more than 4.883 KiB when decompressed",
        ),
        (
            [extended(b"x", record(b"GNU.sparse.size=9999") + record(b"GNU.sparse.map=0,4"), header(b"f"))],
            Limits(unpacked=5000),
            "its files are larger than 4.883 KiB",
        ),
        (
            [extended(b"x", record(b"GNU.sparse.size=99") + record(b"GNU.sparse.map=0,1,2,1,4,2"), header(b"f"))],
            Limits(regions=2),
            "a sparse file has more than 2 regions",
        ),
        ([[], [], []], Limits(layers=2), "it has 3 layers, and 2 are allowed"),
    ],
)
def test_limits(place: Place, stack: list[Layer], limits: Limits, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        archive.load(place.store, str(save(place, stack)), limits=limits)
    assert message in str(caught.value)
    assert (os.listdir(place.store.root.layers), os.listdir(place.store.root.staging)) == ([], [])


def test_copies_of_lower_files_count(place: Place) -> None:
    """A hard link to a file of a lower layer copies it: a small tar could so fill the disk."""
    lower = [file("big", data=b"x" * 60_000)]
    upper = [hardlink("h", "big")]
    for stack, limit in (([lower, upper], 80_000), ([lower], 65_000)):
        assert archive.load(place.store, str(save(place, stack)), limits=Limits(unpacked=limit))
    with pytest.raises(InvalidConfig, match="its files are larger than 19"):
        archive.load(
            place.store, str(save(place, [lower, [file("x", data=b"y"), *upper]])), limits=Limits(unpacked=20_000)
        )


def test_layers_with_many_entries_are_not_held_in_memory(place: Place) -> None:
    """A layer whose index would be too large is unpacked, between others that are not."""
    stack: list[Layer] = [[folder("d", 0o700)], [file(f"d/f{n}") for n in range(11)], [file("d/f0"), file(".wh.x")]]
    image = archive.load(place.store, str(save(place, stack)), limits=Limits(nodes=10))
    root = place.store.root
    assert os.path.isdir(layers.home(root, image["layers"][1]))
    assert os.listdir(root.staging) == []
    found = [tree(layers.folder(root, layer)) for layer in image["layers"]]
    assert [sorted(lines) for lines in found[:2]] + found[2:] == [
        ["d700 d"],
        ["d700 d", *sorted(f"f644 d/f{n}: evil" for n in range(11))],
        ["d700 d", "f644 d/f0: evil", "c0 x"],
    ]


def test_a_bomb_is_seen_before_it_is_unpacked(place: Place) -> None:
    """10 MB of gzip that become 10 GB: refused early, in little memory and with the disk as before."""
    block = gzip.compress(bytes(100 << 20), 9)
    head = gzip.compress(header(b"f", size=b"%011o" % (8 << 30 - 1)))
    diff = "sha256:" + "0" * 64
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()
    path = place.folder / "bomb.tar"
    manifest = json.dumps([{"Config": "c", "RepoTags": None, "Layers": ["l"]}]).encode()
    tar_building.plain_tar(path, {"c": config, "manifest.json": manifest, "l": head + block * 80})
    with pytest.raises(InvalidConfig) as caught:
        archive.load(place.store, str(path))
    assert "decompresses to more than 150 times its size" in str(caught.value)
    assert (os.listdir(place.store.root.layers), os.listdir(place.store.root.staging)) == ([], [])
