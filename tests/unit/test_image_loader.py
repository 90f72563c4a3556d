"""ELF files and the loader's cache, read as data."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.image import elf, loader
from stackpy_runtime.image.loader import CacheEntry

NAMES = st.text("abcdefgh.so-_/1", min_size=1, max_size=12)
ENTRIES = st.builds(CacheEntry, st.integers(0, 0xFFFF), NAMES, NAMES, st.integers(0, 9), st.integers(0, 1 << 40))


@given(st.lists(ENTRIES, max_size=20))
def test_a_cache_is_read_as_it_was_written(entries: list[CacheEntry]) -> None:
    assert loader.read_cache(loader.write_cache(entries)) == entries


@given(st.binary(max_size=200), st.lists(ENTRIES, max_size=3), st.integers(0, 300), st.binary(max_size=8))
def test_a_broken_cache_is_no_cache(noise: bytes, entries: list[CacheEntry], place: int, patch: bytes) -> None:
    whole = loader.write_cache(entries)
    for data in (noise, whole[:place], whole[:place] + patch + whole[place + len(patch) :]):
        assert isinstance(loader.read_cache(data), list)


def test_the_host_s_cache_means_the_same_when_written_again(tmp_path: Path) -> None:
    program = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    if program is None or not os.path.exists(loader.CACHE):
        pytest.skip("this host's loader has no cache")
    entries = loader.read_cache(Path(loader.CACHE).read_bytes())
    (tmp_path / "cache").write_bytes(loader.write_cache(entries))

    def shown(path: str) -> list[str]:
        command = [program, "-p", "-C", path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[
            1 : len(entries) + 1
        ]

    assert entries
    assert shown(str(tmp_path / "cache")) == shown(loader.CACHE)


def test_libraries_are_those_that_the_loader_takes() -> None:
    """ldd, which runs the program's loader, is the oracle; sh is every host's own."""
    path = os.path.realpath("/bin/sh")
    found = elf.read(path)
    assert found is not None
    known = loader.Libraries()
    ours = {name: known.find(name, found, os.path.dirname(path), []) for name in found.needed}
    lines = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout.splitlines()
    oracle = dict(line.split()[0:3:2] for line in lines if "=>" in line)
    assert ours == {name: oracle[name] for name in found.needed}


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_broken_program_is_no_program(tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int) -> None:
    whole = Path(os.path.realpath("/bin/sh")).read_bytes()[:4096]
    path = tmp_path_factory.getbasetemp() / "broken"
    for data in (noise, b"\x7fELF\x02\x01" + noise, whole[:place] + noise + whole[place + len(noise) :]):
        path.write_bytes(data)
        found = elf.read(str(path))
        assert found is None or isinstance(found.needed, list)


def test_rpaths_are_followed(tmp_path: Path) -> None:
    """RPATH counts for what a library needs in turn; RUNPATH for the file itself only, and before the cache."""
    libc = loader.Libraries().find("libc.so.6", _sample(), "/", [])
    assert libc is not None
    for name in ("own", "passed"):
        (tmp_path / name).mkdir()
        shutil.copy(os.path.realpath(libc), tmp_path / name / "libc.so.6")
    own = _sample()._replace(rpath=["$ORIGIN/own"])
    cases = {
        "rpath": (own, [], "own"),
        "runpath": (_sample()._replace(runpath=["${ORIGIN}/own"]), [str(tmp_path / "passed")], "own"),
        "passed on": (_sample(), [str(tmp_path / "passed")], "passed"),
        "not past a runpath": (_sample()._replace(runpath=["/nowhere"]), [str(tmp_path / "passed")], None),
    }
    for needing, inherited, folder in cases.values():
        expected = libc if folder is None else str(tmp_path / folder / "libc.so.6")
        assert loader.Libraries().find("libc.so.6", needing, str(tmp_path), inherited) == expected


def _sample() -> elf.Elf:
    found = elf.read(os.path.realpath("/bin/sh"))
    assert found is not None
    return found._replace(rpath=[], runpath=[])
