"""When a revision is tried: at once when it is new, later when it fails. Git and the clock are stood in for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from stackpy.applying.turn import Stopper
from stackpy.engines.embedded import EmbeddedEngine
from stackpy.errors import StackpyError
from stackpy.reconciling import loop as reconciling
from stackpy.reconciling.loop import LONGEST_PAUSE, Cycle
from stackpy.reconciling.source import Source


class Repository:
    """A repository whose newest revision the test sets; None: it cannot be reached."""

    def __init__(self, folder: Path) -> None:
        self.source = Source("https://example.org/shop")
        self.folder, self.newest, self.known = folder, "a" * 40, ""

    def fetch(self) -> str:
        if self.newest is None:
            raise StackpyError("no route")
        self.known = self.newest
        return self.known

    def revision(self) -> str:
        if not self.known:
            raise StackpyError("nothing yet")
        return self.known

    def checkout(self, commit: str) -> str:
        return str(self.folder)


class World:
    """A loop with everything around it; `now` is its clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.cycles, self.tried = 1000.0, [], []
        self.repository: Any = Repository(folder)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self._sleep)
        engine = EmbeddedEngine(str(folder / "root"))
        self.loop = reconciling._Loop(self.repository, self._load, engine, self, Stopper(), 1.0)  # type: ignore[arg-type]

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _load(self, folder: str, name: str) -> Any:
        self.tried.append(self.now)
        raise StackpyError(f"{name} is broken")

    def cycle(self, cycle: Cycle) -> None:
        self.cycles.append(cycle)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def run(world: World, cycles: int, interval: float = 10.0) -> None:
    for _ in range(cycles):
        assert world.loop.cycle() is False
        world.loop.pause(interval)


def test_a_revision_that_fails_is_tried_after_ever_longer_pauses(world: World) -> None:
    run(world, 200)
    gaps = [later - earlier for earlier, later in zip(world.tried, world.tried[1:], strict=False)]
    assert gaps[:7] == [10, 20, 40, 80, 160, 320, 600]
    assert set(gaps[6:]) == {LONGEST_PAUSE}
    assert len(world.cycles) == len(world.tried)
    assert {(cycle.result, cycle.error.message) for cycle in world.cycles} == {("failed", "shop is broken")}


def test_a_new_revision_is_tried_at_once(world: World) -> None:
    run(world, 20)
    before = len(world.tried)
    world.repository.newest = "b" * 40
    run(world, 1)
    assert len(world.tried) == before + 1
    assert world.cycles[-1].revision == "b" * 40


def test_an_interval_longer_than_the_longest_pause_is_kept(world: World) -> None:
    run(world, 5, 3600.0)
    gaps = {later - earlier for earlier, later in zip(world.tried, world.tried[1:], strict=False)}
    assert gaps == {3600.0}


def test_before_the_first_fetch_there_is_nothing_to_keep_true(world: World) -> None:
    world.repository.newest = None
    run(world, 2)
    assert world.tried == []
    assert [(cycle.revision, cycle.result, cycle.fetched) for cycle in world.cycles] == [("", "failed", False)] * 2
