"""The cache of compiled modules: the next process has them from it, and nobody can tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two modules and a package in it."""
    top = tmp_path / "sample"
    (top / "inner").mkdir(parents=True)
    (top / "__init__.py").write_text("")
    (top / "one.py").write_text("VALUE = 1\n\n\ndef fail():\n    raise ValueError('here')\n")
    (top / "inner" / "__init__.py").write_text("NAME = 'inner'\n")
    (top / "inner" / "two.py").write_text("VALUE = 2\n")
    for source in top.rglob("*.py"):
        os.utime(source, (10**9, 10**9))  # Python's own cache does not see what is edited in the second of its making
    return top


def process(package: Path, code: str, *flags: str, **environment: str) -> str:
    """Runs code in a process of its own that uses the cache and keeps it; returns what it printed."""
    program = f"import sys; sys.path[:0] = {[str(package.parent), str(RUNTIME)]!r}\n"
    program += "from stackpy_runtime import code_cache; modules = code_cache.use('sample')\n"
    program += f"{code}\nmodules.keep()\n"
    result = subprocess.run(
        [sys.executable, *flags, "-c", program],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout.strip()


LOADERS = (
    "import sample.one, sample.inner.two\nprint(*(type(m.__loader__).__name__ for m in (sample.one, sample.inner)))"
)
FROM_SOURCE, FROM_CACHE = "SourceFileLoader SourceFileLoader", "_Loader _Loader"


def cache_of(package: Path) -> Path:
    """The cache's file."""
    [path] = package.glob("__pycache__/*.code")
    return path


def test_the_second_process_has_the_modules_from_the_cache(package: Path) -> None:
    assert process(package, LOADERS) == FROM_SOURCE
    assert process(package, LOADERS) == FROM_CACHE
    assert [path.name for path in (package / "__pycache__").glob("*code*")] == [cache_of(package).name]


def test_modules_look_as_if_they_came_from_their_sources(package: Path) -> None:
    look = """
import inspect, traceback, sample.one as one, sample.inner as inner
for module in one, inner:
    print(module.__file__, module.__cached__, module.__package__, module.__spec__.parent, hasattr(module, '__path__'))
    print(module.__loader__.get_source(module.__name__), module.__loader__.is_package(module.__name__))
try:
    one.fail()
except ValueError:
    print(traceback.format_exc())
print(inspect.getsource(one.fail), one.fail.__code__.co_filename)
"""
    plain = process(package, look)
    assert f"{package}/one.py" in plain
    assert process(package, look) == plain


def test_what_another_process_needs_besides_is_added(package: Path) -> None:
    process(package, "import sample.one")
    process(package, "import sample.inner.two")
    assert process(package, LOADERS) == FROM_CACHE


def test_an_edit_is_seen_at_once_whatever_the_times_say(package: Path) -> None:
    process(package, LOADERS)
    module = package / "one.py"
    seen = "import sample.one; print(sample.one.VALUE)"
    module.write_text(module.read_text().replace("VALUE = 1", "VALUE = 3"))
    assert process(package, seen) == "3"
    # Python's own cache takes that for what it has compiled.
    module.write_text(module.read_text().replace("VALUE = 3", "VALUE = 4"))
    os.utime(module, (10**9, 10**9))
    assert process(package, LOADERS).split()[0] == "SourceFileLoader"


def test_an_edit_in_the_second_of_another_is_not_kept_wrongly(package: Path) -> None:
    module = package / "one.py"
    os.utime(module)
    process(package, "import sample.one")
    module.write_text(module.read_text().replace("VALUE = 1", "VALUE = 3"))
    os.utime(module)
    process(package, "import sample.one")
    assert process(package, "import sample.one; print(type(sample.one.__loader__).__name__, sample.one.VALUE)") == (
        "_Loader 3"
    )


def test_a_file_that_is_added_goes_before_another_as_python_has_it(package: Path) -> None:
    process(package, LOADERS)
    (package / "one").mkdir()
    (package / "one" / "__init__.py").write_text("VALUE = 'a package now'\n")
    # Of the same folder, and not in the cache yet: what it is kept with must not speak for its neighbour.
    (package / "three.py").write_text("")
    assert process(package, "import sample.three") == ""
    assert process(package, "import sample.one; print(sample.one.VALUE)") == "a package now"
    assert process(package, "import sample.one; print(sample.one.VALUE)") == "a package now"


def test_a_module_that_is_removed_is_missed(package: Path) -> None:
    process(package, LOADERS)
    (package / "one.py").unlink()
    assert process(package, "try:\n    import sample.one\nexcept ModuleNotFoundError as error:\n    print(error)") == (
        "No module named 'sample.one'"
    )


def test_a_package_that_was_moved_is_read_anew(package: Path) -> None:
    process(package, LOADERS)
    moved = package.rename(package.parent / "other") and package.parent / "elsewhere" / "sample"
    moved.parent.mkdir()
    (package.parent / "other").rename(moved)
    assert process(moved, "import sample.one; print(sample.one.fail.__code__.co_filename)") == f"{moved}/one.py"


@pytest.mark.parametrize("kept", [0, 10, 40, 300, -1])
def test_a_damaged_cache_is_none(package: Path, kept: int) -> None:
    process(package, LOADERS)
    whole = cache_of(package).read_bytes()
    cache_of(package).write_bytes(whole[:kept] + bytes(len(whole[kept:])))
    assert process(package, "import sample.one, sample.inner.two; print(sample.one.VALUE)") == "1"


def test_it_is_written_where_python_writes_and_only_then(package: Path, tmp_path: Path) -> None:
    process(package, LOADERS, "-B")
    process(package, LOADERS, PYTHONDONTWRITEBYTECODE="1")
    process(package, LOADERS, PYTHONPYCACHEPREFIX="/dev/null/nowhere")
    process(package, LOADERS, PYTHONPYCACHEPREFIX=str(tmp_path / "prefix"))
    assert list(package.rglob("*.code")) == []
    assert len(list((tmp_path / "prefix").rglob("*.code"))) == 1
    assert process(package, LOADERS, PYTHONPYCACHEPREFIX=str(tmp_path / "prefix")) == FROM_CACHE
    process(package, LOADERS, "-O")
    assert process(package, LOADERS) == FROM_SOURCE  # optimized code is another's


def test_a_cache_that_is_replaced_meanwhile_does_not_mix_with_the_old(package: Path) -> None:
    process(package, LOADERS)
    replaced = """
import os, subprocess
path = modules.caches['sample'].path
with open(path, 'rb') as file:
    content = file.read()
with open(path + '.new', 'wb') as file:
    file.write(content[:-100] + bytes(100))
os.replace(path + '.new', path)
import sample.one, sample.inner.two
print(sample.one.VALUE, sample.inner.two.VALUE)
"""
    assert process(package, replaced) == "1 2"
