"""What is started, waited for and restarted around a container that is started by hand."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.dsl.specs import Dependency
from stackpy.engines import conditions, labels
from stackpy.errors import StackpyError
from tests.unit.fake_engine import FakeEngine


def stack(engine: FakeEngine, **needs: list[Any]) -> None:
    """Containers and jobs (names that end in `_job`) of a stack, none of which runs."""
    for name, dependencies in needs.items():
        address = f"job.{name}" if name.endswith("_job") else f"container.{name}"
        own = {
            labels.STACK: "shop",
            labels.RESOURCE: address,
            labels.DEPENDENCIES: labels.dump_dependencies(tuple(Dependency(*each) for each in dependencies)),
        }
        engine.up({"name": name, "image": "i", "labels": own})
        engine.end(name)
        engine.held[name]["state"]["status"] = "exited"  # type: ignore[index]
    engine.done.clear()


def test_a_chain_is_started_from_its_end() -> None:
    engine, said = FakeEngine(), []
    stack(
        engine,
        seed_job=[],
        db=[("job.seed_job", "completed")],
        web=[("image.web", "started"), ("container.db", "started"), ("container.ghost", "started", False, False)],
    )
    engine.held["seed_job"]["state"]["exit_code"] = 0  # type: ignore[index]
    conditions.of_container(engine, "web", said.append)  # type: ignore[arg-type]
    assert [each for each in engine.done if each[0] == "start"] == [("start", "db")]
    assert said == [
        "starting db, since container.web depends on it",
        "container.web goes on without container.ghost: container.web depends on container.ghost, which is not there",
    ]


def test_a_job_that_failed_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    stack(engine, seed_job=[], web=[("job.seed_job", "completed")])
    engine.held["seed_job"]["state"]["exit_code"] = 3  # type: ignore[index]
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(engine, "await_state", lambda name, condition, timeout: asked.append((name, condition)))
    conditions.of_container(engine, "web", lambda text: None)  # type: ignore[arg-type]
    assert (engine.done, asked) == ([("start", "seed_job")], [("seed_job", "completed")])


def test_what_is_required_and_missing_stops_it() -> None:
    engine = FakeEngine()
    stack(engine, web=[("container.db", "healthy")])
    with pytest.raises(StackpyError, match=r"container\.web depends on container\.db, which is not there"):
        conditions.of_container(engine, "web", lambda text: None)  # type: ignore[arg-type]


def test_dependents_follow_through_others() -> None:
    engine = FakeEngine()
    stack(
        engine,
        db=[],
        api=[("container.db", "started", True)],
        web=[("container.api", "started", True)],
        calm=[("container.db", "started")],
        off=[("container.db", "started", True)],
    )
    for name in ("api", "web", "calm"):
        engine.held[name]["state"]["status"] = "running"  # type: ignore[index]
    assert conditions.dependents(engine, ["db", "no-such"]) == ["api", "web"]  # type: ignore[arg-type]
