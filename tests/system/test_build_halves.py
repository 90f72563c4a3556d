"""Large folders are copied by two processes: the tree is the same, and an error of either half is the step's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from stackpy_runtime.build import context as contexts
from stackpy_runtime.build import copying, halves, recipe
from stackpy_runtime.errors import Conflict, EngineError
from tests.build_lab import Builder, copy, listing, source

pytestmark = pytest.mark.root

FOLDERS, FILES = 12, 100


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # also on a machine with one processor
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    folder = tmp_path / "context"
    for number in range(FOLDERS * FILES):
        place = folder / "many" / f"d{number % FOLDERS:02}" / "deep"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number}").write_text(f"file {number}\n")
        (place / f"f{number}").chmod(0o600 + number % 8)
    (folder / "many" / "link").symlink_to("d00")
    return folder


def test_both_halves_are_the_whole(builder: Builder, context: Path) -> None:
    built = builder.build(source(copy(context, "many", "/app/", chown="7:8")))
    top = os.open(context / "many", os.O_RDONLY | os.O_DIRECTORY)
    expected = listing(top)
    os.close(top)
    found = {path.removeprefix("app/"): text for path, text in builder.tree(built).items() if path != "app"}
    assert {path: text.replace(" 7:8", " 0:0") for path, text in found.items()} == expected
    assert built["size"] == sum(path.stat().st_size for path in context.rglob("f*"))
    [layer] = builder.folders(built)
    for path in (context / "many", context / "many/d03/deep", context / "many/d11", context / "many/d11/deep/f23"):
        copied = os.stat(f"{layer}/app/{path.relative_to(context / 'many')}")
        assert copied.st_mtime_ns == path.stat().st_mtime_ns


def test_halves_divide_no_subfolder() -> None:
    def item(place: str) -> contexts.Item:
        return contexts.Item(place, place, place, "folder" if "/" not in place else "file", 0o755, "")

    items = [item(place) for top in "abc" for place in (top, *(f"{top}/{n}" for n in range(halves.LARGE)))]
    first, second = halves.split(items)
    assert [*first, *second] == items
    assert second[0].place in ("b", "c")
    assert halves.split(items[:5]) == (items[:5], [])
    one = items[: halves.LARGE + 1]
    assert halves.split(one) == (one, [])


@pytest.mark.parametrize("number", [0, FOLDERS - 1])
def test_a_file_that_changed_is_seen_in_either_half(builder: Builder, context: Path, number: int) -> None:
    image = source(copy(context, "many", "/app/"))
    walks = contexts.Walks()
    resolved = recipe.resolve(image, builder.store, walks)
    (context / f"many/d{number:02}/deep/f{number}").write_text("other")
    with pytest.raises(Conflict, match=f"`many/d{number:02}/deep/f{number}` changed while it was copied"):
        builder.build(image, resolved, walks=walks)


def test_what_was_found_when_the_recipe_was_made_is_copied(builder: Builder, context: Path) -> None:
    image = source(copy(context, "many", "/app/"))
    walks = contexts.Walks()
    resolved = recipe.resolve(image, builder.store, walks)
    (context / "many" / "later").write_text("added since")
    built = builder.build(image, resolved, walks=walks)
    assert "app/later" not in builder.tree(built) and "app/d00/deep/f0" in builder.tree(built)


def test_a_killed_half_fails_the_step(builder: Builder, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, below = os.getpid(), copying._Copier._below

    def killed(self: copying._Copier, *arguments: object) -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        below(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(copying._Copier, "_below", killed)
    with pytest.raises(EngineError, match="the process that copied a half of the files was killed"):
        builder.build(source(copy(context, "many", "/app/")))


def test_a_failing_half_ends_the_other(builder: Builder, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()

    def failing(self: copying._Copier, *arguments: object) -> None:
        if os.getpid() == parent:
            raise OSError(28, "No space left on device", "x")
        while True:
            signal.pause()

    monkeypatch.setattr(copying._Copier, "_below", failing)
    with pytest.raises(OSError, match="No space"):
        builder.build(source(copy(context, "many", "/app/")))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
