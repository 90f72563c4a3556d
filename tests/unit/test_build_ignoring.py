"""What COPY leaves out."""

from __future__ import annotations

import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.build.context import Context, inputs
from stackpy_runtime.build.ignoring import DockerRules, docker_patterns
from stackpy_runtime.build.stat_cache import StatCache
from stackpy_runtime.errors import InvalidConfig
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


def test_docker_patterns_are_clean() -> None:
    text = "\ufeff# no\na\n/b/\n c/../d \n! e/./f\n**/g\n.\n!\n../h\n #i\n!//j\r\n"
    assert docker_patterns(text) == ["a", "b", "d", "!e/f", "**/g", ".", "../h", "#i", "!j"]


# patterns → paths that they exclude, paths that they do not; by the rules of github.com/moby/patternmatcher
DOCKER = {
    "**": ("file dir/file", ""),
    "**/**": ("dir/file", ""),
    "dir/**": ("dir/file dir/dir2/file", "dir"),
    "**/dir": ("dir dir/file x/dir x/dir/y", "xdir"),
    "**/dir2/*": ("dir/dir2/file dir2/x", "dir2"),
    "**/dir2/**": ("dir/dir2/dir3/file", "dir/dir2"),
    "**file": ("file dir/file dir/dir/xfile", "filex"),
    "**/file*.txt*": ("dir/dir/file.txt", "dir/fil.txt"),
    "**/**/*.txt": ("dir/dir/file.txt file.txt", "dir/dir/file.txt2"),
    "a**/*.txt": ("a/file.txt a/dir/dir/file.txt", "b/file.txt"),
    "a/*.txt": ("a/file.txt", "a/dir/file.txt"),
    "a/*.txt**": ("a/file.txt", "a/file"),
    "a[b-d]e": ("ace", "ae aae"),
    "a[^b-d]e": ("aze", "ace"),
    "a[]-]e": None,
    "[": None,
    "a\\": None,
    "a[b-": None,
    ".*": (".foo", "foo"),
    "abc.def": ("abc.def", "abcdef abcZdef"),
    "abc?def": ("abcZdef", "abcdef abc/def"),
    "a\\\\": ("a\\", "a"),
    "a\\*b": ("a*b", "axb"),
    "**/.foo": (".foo x/.foo", "bar.foo"),
    "a(b)c/def": ("a(b)c/def", "a(b)c/xyz"),
    "a.|)$(}+{bc": ("a.|)$(}+{bc", "a"),
    "dist/*.whl": ("dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", "dist/x.wh"),
    "** !util/docker/web": ("util/docker", "util/docker/web util/docker/web/foo"),
    "** !util/docker/web util/docker/web/foo": ("util/docker/web/foo", "util/docker/web/bar"),
    "* !src": ("a a/src", "src src/b"),
    "a/b !a": ("a/b", "a"),  # what is taken back before it was excluded is not taken back later
    "!x x": ("x x/y", "z"),
    "docs !docs/README.md": ("docs docs/a", "docs/README.md"),
    "docs !docs": ("", "docs docs/a"),
}


@pytest.mark.parametrize("patterns", DOCKER)
def test_docker_rules(patterns: str) -> None:
    expected = DOCKER[patterns]
    if expected is None:
        with pytest.raises(InvalidConfig, match="cannot be read"):
            DockerRules(patterns.split(), StatCache(""))
        return
    rules = DockerRules(patterns.split(), StatCache(""))
    excluded, kept = (text.split() for text in expected)
    verdicts = {path: rules.excluded(path, False) for path in [*excluded, *kept]}
    assert verdicts == {**dict.fromkeys(excluded, True), **dict.fromkeys(kept, False)}


PRUNED = {
    "node_modules": (True, "node_modules"),
    "docs !docs/README.md": (False, "docs"),
    "* !src/a/*.py": (True, "node_modules"),
    "* !src/a/b.py": (False, "src"),
    "* !src/*/b": (False, "src/x"),
    "* !src/*/b ": (True, "src/x/b"),
    "* !**/keep": (False, "anything/at/all"),
    "* ![a]b": (False, "x"),
}


@pytest.mark.parametrize("patterns", PRUNED)
def test_what_is_excluded_is_not_walked(patterns: str) -> None:
    pruned, folder = PRUNED[patterns]
    assert DockerRules(patterns.split(), StatCache("")).prunes(folder) is pruned


def test_another_ignore_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("")
    (tmp_path / ".dockerignore").write_text("a\n")
    (tmp_path / "web.dockerignore").write_text("b\nweb*\n.docker*\n")
    context = Context(str(tmp_path), "", str(tmp_path / "web.dockerignore"))
    sources, _ = context.sources(copy(tmp_path, ".", "/"))
    context.close()
    assert [item.name for item in sources[0].items] == ["./", "a"]


@given(st.lists(st.text("a/*!?[]\\.^- ", max_size=8), max_size=4), st.text("a/b.", min_size=1, max_size=8))
def test_any_pattern_is_read_or_refused(patterns: list[str], path: str) -> None:
    clean = posixpath.normpath(path).strip("/") or "a"
    try:
        rules = DockerRules(docker_patterns("\n".join(patterns)), StatCache(""))
    except InvalidConfig:
        return
    verdict = rules.excluded(clean, True)
    # What is pruned would not have given anything.
    if verdict and rules.prunes(clean):
        assert all(rules.excluded(f"{clean}/{name}", False) for name in ("a", "b", "a/a", ".", "*"))
