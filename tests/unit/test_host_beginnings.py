"""What the supervisor makes of what the keeper says of the processes that it starts containers in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stackpy_runtime.errors import EngineUnavailable
from stackpy_runtime.host.beginnings import Beginnings


@pytest.fixture(name="beginnings")
def beginnings_fixture(tmp_path: Path) -> Beginnings:
    store: Any = SimpleNamespace(root=SimpleNamespace(path=str(tmp_path)))
    nobody: Any = None
    return Beginnings(store, nobody, nobody)


def test_a_first_stage_that_fails_is_the_end_of_its_start(beginnings: Beginnings) -> None:
    beginnings.attempt("web", "one")
    beginnings.heard_failed("web", "one")
    with pytest.raises(EngineUnavailable, match="has ended before there was a container"):
        beginnings.take_started("web")


def test_one_that_another_has_taken_the_place_of_is_not(beginnings: Beginnings) -> None:
    beginnings.attempt("web", "one")
    beginnings.attempt("web", "two")
    beginnings.heard_failed("web", "one")
    assert "web" not in beginnings.current
    beginnings.heard_started("web", 5, 6, -1)
    assert beginnings.take_started("web") == (5, 6, -1)


def test_nor_is_one_of_the_start_before(beginnings: Beginnings) -> None:
    beginnings.attempt("web", "one")
    beginnings.forget("web")
    beginnings.heard_failed("web", "one")
    beginnings.attempt("web", "two")
    beginnings.heard_started("web", 5, 6, -1)
    assert beginnings.await_started("web") == (5, 6)
    assert beginnings.take_started("web") == (5, 6, -1)
