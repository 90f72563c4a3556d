"""What COPY leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy_runtime.build.context import Context, inputs
from stackpy_runtime.build.ignoring import docker_patterns
from tests.build_lab import copy

TREE = [
    "a.py",
    "a.pyc",
    "src/b.py",
    "src/b.pyc",
    "src/__pycache__/b.pyc",
    "src/data/x.txt",
    "docs/x.txt",
    "docs/keep.txt",
]

# .dockerignore, excludes of the step, source → files that are copied
CASES = {
    "nothing": ("", [], ".", TREE),
    "at the root only": ("*.pyc\n", [], ".", [path for path in TREE if path != "a.pyc"]),
    "at any depth": ("**/*.pyc\n", [], ".", [path for path in TREE if not path.endswith("pyc")]),
    "a folder": ("src\n", [], ".", ["a.py", "a.pyc", "docs/x.txt", "docs/keep.txt"]),
    "a folder, spelt with slashes": ("/src/\n", [], ".", ["a.py", "a.pyc", "docs/x.txt", "docs/keep.txt"]),
    "not all of a folder": ("docs\n!docs/keep.txt\n", [], "docs", ["docs/keep.txt"]),
    "comments and blanks": ("# a\n\n  \n .  \n/\n", [], ".", TREE),
    "all but": ("*\n!src\n**/*.pyc\n", [], ".", ["src/b.py", "src/data/x.txt"]),
    "excludes at any depth": ("", ["*.pyc", "__pycache__/"], ".", [path for path in TREE if not path.endswith("pyc")]),
    "excludes seen from the source": ("", ["/data"], "src", ["src/b.py", "src/b.pyc", "src/__pycache__/b.pyc"]),
    "excludes that take back": ("", ["*.txt", "!keep.txt"], "docs", ["docs/keep.txt"]),
    "both": ("docs\n", ["*.pyc"], ".", ["a.py", "src/b.py", "src/data/x.txt"]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("again", [False, True], ids=["first", "remembered"])
def test_excludes(name: str, again: bool, tmp_path: Path) -> None:
    ignored, exclude, taken, expected = CASES[name]
    folder, root = tmp_path / "context", tmp_path / "root"
    root.mkdir()
    for path in TREE:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    if ignored:
        (folder / ".dockerignore").write_text(ignored)
    for _ in range(2 if again else 1):
        context = Context(str(folder), str(root))
        sources, problems = context.sources(copy(folder, taken, "/", exclude=exclude))
        context.close()
    files = [path for path in inputs(sources, None) if not path.endswith("/") and path != ".dockerignore"]
    assert (sorted(files), problems) == (sorted(expected), [])


def test_docker_patterns_are_rooted_and_clean() -> None:
    text = "\ufeff# no\na\n/b/\n c/../d \n! e/./f\n**/g\n.\n!\n../h\n"
    assert docker_patterns(text) == ["/a", "/b", "/d", "!/e/f", "/**/g", "/**/g/**", "/h"]
