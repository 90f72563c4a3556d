"""How replicas are replaced: orders, groups, and what follows a failure, on an engine in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stackpy.engines import labels, replacing
from stackpy.errors import Interrupted, StackpyError
from stackpy.planning.plan import Action
from tests.unit.fake_engine import FakeEngine
from tests.unit.test_engines_rollout import desired, perform, states

if TYPE_CHECKING:
    from collections.abc import Sequence

PORTS = [{"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}]


def begun(replicas: int, **fields: Any) -> FakeEngine:
    engine = FakeEngine()
    perform(engine, Action.CREATE, desired({"replicas": replicas, **fields}))
    return engine


def replace(engine: FakeEngine, replicas: int, update: Any = None, **fields: Any) -> list[str]:
    wanted = desired({"replicas": replicas, "update": update or {}, **fields}, recipe="r2")
    return perform(engine, Action.REPLACE, wanted, generation=2, order="start-first")


def numbers(engine: FakeEngine) -> dict[str, str]:
    return {name: document["config"]["labels"][labels.REPLICA] for name, document in engine.held.items()}


def test_start_first_the_new_one_serves_before_the_old_one_leaves() -> None:
    engine = begun(2)
    assert replace(engine, 2) == [
        "up shop-web-3", "healthy shop-web-3",
        "rename shop-web-1 shop-web-4", "rename shop-web-3 shop-web-1", "drain shop-web-4", "down shop-web-4",
        "up shop-web-5", "healthy shop-web-5",
        "rename shop-web-2 shop-web-6", "rename shop-web-5 shop-web-2", "drain shop-web-6", "down shop-web-6",
    ]  # fmt: skip
    assert states(engine) == {"shop-web-1": ("running", "r2"), "shop-web-2": ("running", "r2")}
    assert numbers(engine) == {"shop-web-1": "1", "shop-web-2": "2"}
    wanted = desired({"replicas": 2, "update": {}}, recipe="r2")
    assert perform(engine, Action.CREATE, wanted, generation=2) == [], "made as if it had been created"


def test_start_first_one_that_does_not_run_is_just_made_anew() -> None:
    engine = begun(1)
    engine.end("shop-web-1")
    assert replace(engine, 1) == ["down shop-web-1", "up shop-web-1"]


def test_start_first_a_server_without_a_check_listens_before_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = begun(1, ports=PORTS)
    engine.listens = {"shop-web-1": {80, 9000}, "shop-web-2": {80}}
    assert replace(engine, 1, ports=PORTS)[:2] == ["up shop-web-2", "healthy shop-web-2"]
    engine.listens = {"shop-web-1": {80}}
    monkeypatch.setattr(replacing, "PATIENCE", 0.0)
    with pytest.raises(StackpyError, match="does not listen on 80, as the one before does") as caught:
        perform(
            engine, Action.REPLACE, desired({"ports": PORTS}, recipe="r3"), generation=3, order="start-first"
        )  # fmt: skip
    assert caught.value.hint == "the new replica was removed, and the one before it goes on"
    assert states(engine) == {"shop-web-1": ("running", "r2")}


def test_one_that_never_gets_healthy_leaves_everything_as_it_was() -> None:
    engine = begun(2)
    engine.fails.add(("healthy", "shop-web-3"))
    with pytest.raises(StackpyError, match="last words of shop-web-3\n0 of 2 replicas were replaced"):
        replace(engine, 2)
    assert states(engine) == {"shop-web-1": ("running", "r1"), "shop-web-2": ("running", "r1")}


def test_a_rollback_brings_back_what_was_replaced() -> None:
    engine = begun(3)
    engine.fails.add(("healthy", "shop-web-6"))
    with pytest.raises(StackpyError) as caught:
        replace(engine, 3, {"failure_action": "rollback"})
    assert caught.value.message.splitlines()[-1] == "shop-web-1 is as it was before"
    assert states(engine) == {f"shop-web-{index}": ("running", "r1") for index in (1, 2, 3)}
    assert numbers(engine) == {f"shop-web-{index}": str(index) for index in (1, 2, 3)}


def test_a_rollback_of_stop_first_brings_back_the_one_that_failed_too() -> None:
    engine = begun(1)
    engine.fails.add(("healthy", "shop-web-1"))
    wanted = desired({"update": {"failure_action": "rollback"}}, recipe="r2")
    with pytest.raises(StackpyError, match="shop-web-1 is as it was before"):
        perform(engine, Action.REPLACE, wanted, generation=2)
    assert states(engine) == {"shop-web-1": ("running", "r1")}


@pytest.mark.parametrize(("ratio", "fails"), [(0.0, True), (0.3, True), (0.5, False)])
def test_continuing_replaces_the_rest_and_tells_of_the_failures(ratio: float, fails: bool) -> None:
    engine = begun(2)
    engine.fails.add(("healthy", "shop-web-3"))
    update = {"failure_action": "continue", "max_failure_ratio": ratio}
    if fails:
        with pytest.raises(StackpyError, match="1 of 2 replicas were replaced"):
            replace(engine, 2, update)
    else:
        replace(engine, 2, update)
    assert states(engine) == {"shop-web-1": ("running", "r1"), "shop-web-2": ("running", "r2")}


def test_one_that_ends_while_it_is_monitored_has_failed() -> None:
    engine = begun(1)
    engine.exits["shop-web-2"] = 3
    with pytest.raises(StackpyError, match=r"shop-web-2 ended within 5 s\n.*last words"):
        replace(engine, 1, {"monitor": 5.0})
    assert states(engine) == {"shop-web-1": ("running", "r1")}


@pytest.mark.parametrize(
    ("parallelism", "expected"), [(1, [[1], [2], [3]]), (2, [[1, 2], [3]]), (0, [[1, 2, 3]]), (9, [[1, 2, 3]])]
)
def test_groups(parallelism: int, expected: list[Sequence[int]]) -> None:
    assert replacing.groups([1, 2, 3], parallelism) == expected


def test_an_interrupt_ends_the_wait_for_a_new_replica() -> None:
    engine = begun(1)
    engine.health = "starting"
    wanted = replacing.Replacing(
        engine,
        "shop",
        "container.web",
        policy=replacing.Policy(True, failure_action="rollback"),
        present=dict(enumerate(engine.containers(), 1)),
        config=lambda index: {**engine.held["shop-web-1"]["config"], "image": "sha256:r2"},
        highest=1,
        say=lambda text: None,
        stopping=lambda: True,
    )
    with pytest.raises(Interrupted, match="stopped after 0 of 1 replicas"):
        wanted.run([1])
    assert engine.done[1:] == [("up", "shop-web-2"), ("down", "shop-web-2")]


def test_an_interrupt_ends_a_rollout_between_two_replicas() -> None:
    engine = begun(2)
    made: list[str] = []
    wanted = replacing.Replacing(
        engine,
        "shop",
        "container.web",
        policy=replacing.Policy(True, delay=60.0),
        present=dict(enumerate(engine.containers(), 1)),
        config=lambda index: {**engine.held[f"shop-web-{index}"]["config"], "image": "sha256:r2"},
        highest=2,
        say=made.append,
        stopping=lambda: len(made) > 1,
    )
    with pytest.raises(StackpyError, match="stopped after 1 of 2 replicas"):
        wanted.run([1, 2])
    assert made == ["shop-web-3 started, to become shop-web-1", "shop-web-1 replaced"]
