"""Which folders are watched for which inputs, and which changes below them count."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stackpy.watching.places import newest, places
from stackpy.watching.watcher import Watcher


def test_a_file_is_watched_through_its_folder_and_a_folder_as_a_whole(tmp_path: Path) -> None:
    top = str(tmp_path)
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "stack.py").touch()
    found = places([f"{top}/stack.py", f"{top}/missing/dir/x.j2"], [f"{top}/src", f"{top}/src/deep", f"{top}/later"])
    assert found.flat == {top, f"{top}/src"}
    assert found.deep == {f"{top}/src"}
    assert {path.removeprefix(top) for path in found.names} == {
        "/stack.py", "/missing", "/missing/dir", "/missing/dir/x.j2", "/src", "/src/deep", "/later"
    }  # fmt: skip


def test_both_ends_of_a_link_count(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "app.toml").touch()
    (tmp_path / "app.toml").symlink_to("real/app.toml")
    found = places([f"{tmp_path}/app.toml"], [])
    assert found.flat == {str(tmp_path), f"{tmp_path}/real"}
    assert found.concern(f"{tmp_path}/real/app.toml")


@pytest.mark.parametrize(
    ("path", "concerns"),
    [
        ("/p/.venv/stack.py", True),  # named, wherever it lives
        ("/p/.venv/src/app.py", True),  # the noise is looked for below the folder only
        ("/p/.venv/src", True),
        ("/p/.venv/src/__pycache__/app.cpython-311.pyc", False),
        ("/p/.venv/src/.git/index", False),
        ("/p/.venv/src/a/node_modules/x.js", False),
        ("/p/.venv/src/.app.py.swp", False),
        ("/p/.venv/src/4913", False),
        ("/p/.venv/src/app.py~", False),
        ("/p/.venv/other.py", False),
        ("/p/.venv/srcs/app.py", False),
    ],
)
def test_noise(path: str, concerns: bool) -> None:
    found = places(["/p/.venv/stack.py"], [])._replace(deep=frozenset({"/p/.venv/src"}))
    assert found.concern(path) is concerns


def test_the_newest_of_what_exists(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    os.utime(old, (1, 1))
    new.touch()
    assert newest([str(new), str(old), "/missing/x"]) == max(new.stat().st_mtime, new.stat().st_ctime)
    assert newest(["/missing/x"]) == 0


class Heard:
    """Collects what a watcher calls out."""

    def __init__(self) -> None:
        self.batches: list[frozenset[str]] = []
        self._event = threading.Event()

    def __call__(self, paths: frozenset[str]) -> None:
        self.batches.append(paths)
        self._event.set()

    def next(self) -> frozenset[str]:
        assert self._event.wait(60), "no change was heard"
        self._event.clear()
        return self.batches[-1]


def test_saves_of_every_kind_are_heard(tmp_path: Path) -> None:
    stack, source = tmp_path / "stack.py", tmp_path / "src"
    stack.write_text("1")
    source.mkdir()
    running = set(threading.enumerate())
    heard = Heard()
    watcher = Watcher(places([str(stack)], [str(source)]), heard)
    try:
        stack.write_text("2")
        assert heard.next() == {str(stack)}
        aside = tmp_path / ".stack.py.tmp"
        aside.write_text("3")
        aside.rename(stack)
        assert heard.next() == {str(stack)}
        stack.unlink()
        assert heard.next() == {str(stack)}
        (source / "sub").mkdir()
        assert heard.next()
        (source / "sub" / "app.py").write_text("4")
        assert f"{source}/sub/app.py" in heard.next()
        (tmp_path / "notes.txt").write_text("5")
        (source / "x.pyc").write_text("6")
        before = len(heard.batches)
        (source / "end").touch()
        heard.next()
        assert set().union(*heard.batches[before:]) == {f"{source}/end"}
    finally:
        watcher.close()
    assert set(threading.enumerate()) <= running


def test_a_folder_that_is_replaced_is_told(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    heard = Heard()
    watcher = Watcher(places([], [str(source)])._replace(names=frozenset()), heard)
    try:
        source.rename(tmp_path / "old")
        source.mkdir()
        while frozenset() not in heard.batches:
            heard.next()  # the move itself may be heard before or after
    finally:
        watcher.close()


def test_a_folder_that_is_gone_is_an_error_at_once(tmp_path: Path) -> None:
    found = places([f"{tmp_path}/x"], [])._replace(flat=frozenset({f"{tmp_path}/gone"}))
    with pytest.raises(FileNotFoundError):
        Watcher(found, lambda _: None)
