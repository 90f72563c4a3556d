"""COPY and FILE on what an image has in the place already: links, folders, whiteouts, modes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.store import layers
from tests.build_lab import Builder, copy, file, source, step

pytestmark = pytest.mark.root


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "tree" / "lib" / "deep").mkdir(parents=True)
    (folder / "tree" / "lib" / "new").write_text("new")
    (folder / "tree" / "lib" / "deep" / "file").write_text("deep")
    (folder / "tree" / "link").symlink_to("lib")
    (folder / "one").write_text("one")
    (folder / "two").write_text("two")
    (folder / "to-one").symlink_to("one")
    for path in (folder / "tree", folder / "tree/lib", folder / "tree/lib/deep"):
        path.chmod(0o755)
    for path in (folder / "one", folder / "two", folder / "tree/lib/new", folder / "tree/lib/deep/file"):
        path.chmod(0o644)
    return folder


def image_of(builder: Builder, *fills: Callable[[Path], None]) -> Any:
    """A base image whose layers are filled by these functions, bottom first."""
    ids = []
    for number, fill in enumerate(fills):
        staged = layers.stage(builder.store.root)
        fill(Path(staged) / "upper")
        ids.append(f"layer{number}")
        layers.commit(builder.store.root, staged, ids[-1])
    image: Any = {"id": "sha256:" + "b" * 64, "references": ["base:latest"], "layers": ids, "config": {}, "recipe": ""}
    builder.store.put_image({**image, "history": [], "architecture": "amd64", "size": 0, "created": ""})
    return {"kind": "image", "reference": "base"}


def usr_merged(upper: Path) -> None:
    (upper / "usr" / "lib").mkdir(parents=True)
    (upper / "usr" / "lib" / "old").write_text("old")
    (upper / "lib").symlink_to("usr/lib")
    (upper / "abs").symlink_to("/usr/lib")
    (upper / "up").symlink_to("../../usr/lib")
    (upper / "dangling").symlink_to("/not/yet")
    (upper / "file-link").symlink_to("usr/lib/old")
    (upper / "data").mkdir(mode=0o700)
    (upper / "etc").mkdir()
    (upper / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/sh\n")
    (upper / "etc" / "group").write_text("root:x:0:\nwebs:x:44:\nstaff:x:50:\n")
    os.chown(upper / "data", 7, 8)


CASES: dict[str, tuple[list[str], dict[str, Any], dict[str, str]]] = {
    # sources and target, options, and what is new or different afterwards
    "a file by its name": (["one", "/data/x"], {}, {"data/x": "644 0:0 one"}),
    "a file into a folder": (["one", "/data"], {}, {"data/one": "644 0:0 one"}),
    "a file into a new folder": (["one", "/n/m/"], {}, {"n": "755 0:0", "n/m": "755 0:0", "n/m/one": "644 0:0 one"}),
    "a file to a new name": (["one", "/n/m"], {}, {"n": "755 0:0", "n/m": "644 0:0 one"}),
    "several files": (["one", "two", "/data/"], {}, {"data/one": "644 0:0 one", "data/two": "644 0:0 two"}),
    "by a pattern": (["[ot]*o", "/data/"], {}, {"data/two": "644 0:0 two"}),
    "through a link": (["one", "/lib/x"], {}, {"usr/lib/x": "644 0:0 one"}),
    "into a link to a folder": (["one", "/lib"], {}, {"usr/lib/one": "644 0:0 one"}),
    "through an absolute link": (["one", "/abs/n/x"], {}, {"usr/lib/n": "755 0:0", "usr/lib/n/x": "644 0:0 one"}),
    "through a link that climbs": (["one", "/up/x"], {}, {"usr/lib/x": "644 0:0 one"}),
    "through a link to nothing": (
        ["one", "/dangling/x"],
        {},
        {"not": "755 0:0", "not/yet": "755 0:0", "not/yet/x": "644 0:0 one"},
    ),
    "onto a file": (["one", "/usr/lib/old"], {}, {"usr/lib/old": "644 0:0 one"}),
    "onto a link to a file": (["one", "/file-link"], {}, {"usr/lib/old": "644 0:0 one"}),
    "a link as a source": (["to-one", "/data/"], {}, {"data/to-one": "644 0:0 one"}),
    "the contents of a folder": (
        ["tree", "/data"],
        {},
        {
            "data/lib": "755 0:0",
            "data/lib/new": "644 0:0 new",
            "data/lib/deep": "755 0:0",
            "data/lib/deep/file": "644 0:0 deep",
            "data/link": "-> lib",
        },
    ),
    "a folder over a merged usr": (
        ["tree", "/"],
        {},
        {
            "usr/lib/new": "644 0:0 new",
            "usr/lib/deep": "755 0:0",
            "usr/lib/deep/file": "644 0:0 deep",
            "link": "-> lib",
        },
    ),
    "with an owner and a mode": (
        ["tree/lib", "/n"],
        {"chown": "web", "mode": 0o2750},
        {
            "n": "2750 33:44",
            "n/new": "2750 33:44 new",
            "n/deep": "2750 33:44",
            "n/deep/file": "2750 33:44 deep",
        },
    ),
    "with a number": (["one", "/n/"], {"chown": "5"}, {"n": "755 5:5", "n/one": "644 5:5 one"}),
    "with a group": (["one", "/x"], {"chown": "web:staff"}, {"x": "644 33:50 one"}),
}


@pytest.mark.parametrize("name", CASES)
def test_copy(name: str, builder: Builder, context: Path) -> None:
    words, options, expected = CASES[name]
    base = image_of(builder, usr_merged)
    before = builder.tree(builder.store.image("base"))
    built = builder.build(source(copy(context, *words, **options), base=base))
    after = builder.tree(built)
    assert {path: after[path] for path in after if before.get(path) != after[path]} == expected
    assert before.keys() - after.keys() == set()
    # parents that were copied up keep what they had below
    if "data/x" in expected or "data/one" in expected:
        assert after["data"] == "700 7:8"


def test_where_something_was_removed(builder: Builder, context: Path) -> None:
    """A folder in the place of a whiteout does not bring back what was below the removed one."""

    def bottom(upper: Path) -> None:
        (upper / "app").mkdir()
        (upper / "app" / "secret").write_text("gone")
        (upper / "app" / "one").write_text("old")

    def removed(upper: Path) -> None:
        os.mknod(upper / "app", stat.S_IFCHR, 0)

    built = builder.build(source(copy(context, "one", "/app/"), base=image_of(builder, bottom, removed)))
    assert builder.tree(built) == {"app": "755 0:0", "app/one": "644 0:0 one"}


def test_modes_of_new_folders_and_times(builder: Builder, context: Path) -> None:
    (context / "tree").chmod(0o710)
    (context / "tree" / "lib").chmod(0o750)
    (context / "tree" / "lib" / "new").chmod(0o4711)
    for path in ("tree/lib/new", "tree/lib", "tree"):
        os.utime(context / path, (1_000_000, 1_000_000))
    old = os.umask(0o077)
    try:
        built = builder.build(source(copy(context, "tree/", "/a/b"), file("/c/d", "x"), step("workdir", target="/w/v")))
    finally:
        os.umask(old)
    tree = builder.tree(built)
    assert {path: text.split()[0] for path, text in tree.items() if path != "a/b/link"} == {
        "a": "755",
        "a/b": "710",
        "a/b/lib": "750",
        "a/b/lib/new": "4711",
        "a/b/lib/deep": "755",
        "a/b/lib/deep/file": "644",
        "c": "755",
        "c/d": "644",
        "w": "755",
        "w/v": "755",
    }
    layer = Path(builder.folders(built)[0])
    assert {layer.joinpath(path).stat().st_mtime for path in ("a/b", "a/b/lib", "a/b/lib/new")} == {1_000_000}


def test_a_folder_cannot_take_the_place_of_a_file(builder: Builder, context: Path) -> None:
    def fill(upper: Path) -> None:
        (upper / "lib").write_text("a file")
        (upper / "one").mkdir()

    base = image_of(builder, fill)
    with pytest.raises(InvalidConfig, match="`/lib` cannot be used in the image: it is no folder"):
        builder.build(source(copy(context, "tree/", "/"), base=base))
    built = builder.build(source(copy(context, "one", "/one"), base=base))
    assert builder.tree(built)["one/one"] == "644 0:0 one"


def test_old_kernels_are_given_layers_by_number(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.5 there is no `lowerdir+`, and an option has 255 bytes."""
    from stackpy_runtime.build import merged
    from stackpy_runtime.errors import KernelError

    def refused(lowers: list[int], upper: list[int]) -> int:
        raise KernelError("fsconfig overlay lowerdir+", errno=22)

    monkeypatch.setattr(merged, "_new", refused)
    here = os.getcwd()
    built = builder.build(source(*(file(f"/{number}", str(number)) for number in range(12))))
    assert builder.tree(built) == {str(number): f"644 0:0 {number}" for number in range(12)}
    assert os.getcwd() == here
