"""ID ranges: no two holders at a time, whatever the order in which they die, release and take over."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stackpy_runtime.container import ranges
from stackpy_runtime.errors import Conflict
from stackpy_runtime.linux import host_locks


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ranges, "FOLDER", str(tmp_path))
    forget(monkeypatch)
    return tmp_path


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows is done by another supervisor."""
    monkeypatch.setattr(ranges, "_held", {})
    monkeypatch.setattr(ranges, "_next", 0)


def another_process(folder: Path) -> int:
    """What a second supervisor, which ends at once, acquires."""
    code = f"from stackpy_runtime.container import ranges; ranges.FOLDER = {str(folder)!r}; print(ranges.acquire())"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return int(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)


def dead_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_each_taker_gets_another_and_a_released_one_is_free(folder: Path) -> None:
    first, second = ranges.acquire(), ranges.acquire()
    assert second == first + ranges.SIZE
    assert another_process(folder) == second + ranges.SIZE
    ranges.release(first)
    assert ranges.acquire() == first


def test_each_search_goes_on_where_the_last_one_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousandth container does not look at the holders of all others."""
    for _ in range(20):
        ranges.acquire()
    forget(monkeypatch)
    looked: list[str] = []
    stale = ranges._is_stale
    monkeypatch.setattr(ranges, "_is_stale", lambda text: looked.append(text) or stale(text))
    assert [ranges.acquire() for _ in range(20)] == [ranges.FIRST + (20 + n) * ranges.SIZE for n in range(20)]
    assert len(looked) == 20
    monkeypatch.setattr(ranges, "COUNT", 40)
    another = ranges.FIRST + 7 * ranges.SIZE
    os.unlink(folder / str(another))
    assert ranges.acquire() == another  # from the end it goes on at the beginning
    with pytest.raises(Conflict, match="all host ID ranges"):
        ranges.acquire()


def test_many_threads_never_share_one(folder: Path) -> None:
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(ranges.acquire())) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 50
    assert sorted(name for name in os.listdir(folder) if name != ".lock") == sorted(map(str, taken))


def test_a_range_whose_container_died_stays_ours_until_it_is_released(folder: Path) -> None:
    first = ranges.acquire()
    ranges.bind(first, dead_process())
    assert ranges.acquire() != first


def test_a_late_release_leaves_the_range_to_who_took_it_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ranges.acquire()
    ranges.bind(first, dead_process())
    ours = dict(ranges._held)
    forget(monkeypatch)  # another supervisor takes it over
    assert ranges.acquire() == first
    theirs = dict(ranges._held)
    ranges._held.clear()
    ranges._held.update(ours)
    ranges.release(first)
    assert os.path.exists(folder / str(first))
    ranges._held.update(theirs)
    ranges.release(first)
    assert not os.path.exists(folder / str(first))


def test_what_an_earlier_supervisor_took_is_released_once_its_container_is_gone(folder: Path) -> None:
    first = ranges.acquire()
    ranges._held.clear()  # it was killed, and we adopted the container
    ranges.bind(first, os.getpid())
    ranges.release(first)
    assert os.path.exists(folder / str(first))  # it lives: somebody else's by now
    ranges.bind(first, dead_process())
    ranges.release(first)
    assert not os.path.exists(folder / str(first))


def test_files_of_an_earlier_boot_are_stale(folder: Path) -> None:
    (folder / str(ranges.FIRST)).write_text(f"another-boot\n{os.getpid()} 1\nx")
    assert ranges.acquire() == ranges.FIRST


def test_an_engine_that_stands_still_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had its turn when it was stopped: containers of all other roots would wait for it."""
    monkeypatch.setattr(host_locks, "PATIENCE", 0.05)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match=rf"another engine \(pid {os.getpid()}\) has held the ranges of user IDs"):
            ranges.acquire()
    assert ranges.acquire() == ranges.FIRST
