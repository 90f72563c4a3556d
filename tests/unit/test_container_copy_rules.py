"""Where a copy goes: the rules of `docker cp`, as its documentation lists them."""

from __future__ import annotations

import pytest

from stackpy_runtime.container.copy_rules import CONTENT, End, Path, Target, check_archive, split, target
from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b", Path("/a/b", False, False)),
        ("/a/b/", Path("/a/b", True, False)),
        ("/a/b//", Path("/a/b", True, False)),
        ("/a/b/.", Path("/a/b", True, True)),
        ("/a/b/./", Path("/a/b", True, True)),
        ("/", Path("/", True, True)),
        ("/.", Path("/", True, True)),
        (".", Path("", True, True)),
        ("", Path("", False, True)),
        ("a", Path("a", False, False)),
        ("./a", Path("./a", False, False)),
        ("..", Path("..", True, True)),
        ("a/..", Path("a/..", True, True)),
        ("a.", Path("a.", False, False)),
    ],
)
def test_paths_taken_apart(text: str, path: Path) -> None:
    assert split(text) == path


FILE, FOLDER = End("f", "f", "file"), End("d", "d", "folder")


@pytest.mark.parametrize(
    ("source", "called", "written", "there", "expected"),
    [
        # A file: onto a name, a file, into a folder.
        (FILE, "f", "/x", End("/x", "x", ""), Target("parent", "f", "x")),
        (FILE, "f", "/x", End("/x", "x", "file"), Target("parent", "f", "x")),
        (FILE, "f", "/x", End("/x", "x", "folder"), Target("itself", "", "")),
        (FILE, "f", "/x/", End("/x/", "x", "folder"), Target("itself", "", "")),
        # A folder: it becomes what is not there, goes into what is.
        (FOLDER, "d", "/x", End("/x", "x", ""), Target("parent", "d", "x")),
        (FOLDER, "d", "/x/", End("/x/", "x", ""), Target("parent", "d", "x")),
        (FOLDER, "d", "/x", End("/x", "x", "folder"), Target("itself", "", "")),
        # What is in a folder.
        (FOLDER, CONTENT, "/x", End("/x", "x", ""), Target("parent", CONTENT, "x")),
        (FOLDER, CONTENT, "/x", End("/x", "x", "folder"), Target("itself", "", "")),
    ],
)
def test_where_it_goes(source: End, called: str, written: str, there: End, expected: Target) -> None:
    assert target(source, called, split(written), there) == expected


@pytest.mark.parametrize(
    ("source", "written", "there", "error", "message"),
    [
        (FILE, "/x/", End("/x/", "x", ""), NotFound, "there is no folder `/x/`"),
        (FILE, "/x/y", End("/x/y", "y", "", parent=False), NotFound, "there is no folder for `/x/y` to be in"),
        (FOLDER, "/x/y", End("/x/y", "y", "", parent=False), NotFound, "there is no folder for `/x/y` to be in"),
        (FOLDER, "/x", End("/x", "x", "file"), Conflict, "cannot be copied onto"),
        (FOLDER, "/x", End("/x", "x", "link"), Conflict, "cannot be copied onto"),
        (FILE, "/x/", End("/x/", "x", "file"), Conflict, "is not a folder"),
    ],
)
def test_what_cannot_be(source: End, written: str, there: End, error: type[EngineError], message: str) -> None:
    with pytest.raises(error, match=message):
        target(source, source.name, split(written), there)


def test_an_archive_goes_into_a_folder() -> None:
    assert check_archive(FOLDER) == Target("itself", "", "")
    for kind in ("file", ""):
        with pytest.raises(InvalidConfig, match="extracted into a folder"):
            check_archive(End("x", "x", kind))
