"""How the replicas of a resource come to be, on an engine in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stackpy.dsl.specs import Spec, StackSpec
from stackpy.engines import labels, rollout
from stackpy.engines.events import Event
from stackpy.errors import StackpyError
from stackpy.planning.plan import Action, Change, Desired, Recipe
from stackpy.problems import Location
from tests.unit.fake_engine import FakeEngine

if TYPE_CHECKING:
    from stackpy.dsl.specs import Condition

HERE = Location("stack.py", 1)


def desired(fields: dict[str, Any] | None = None, *, kind: Any = "container", recipe: str = "r1") -> Desired:
    spec = Spec(kind, "web", {"image": "image.web", **(fields or {})}, (), HERE)
    return Desired(StackSpec("shop", {spec.address: spec}, {}, "/"), {"image.web": Recipe(recipe, ())}, {})


def perform(
    engine: FakeEngine,
    action: Action,
    wanted: Desired,
    *,
    seen: list[str] | None = None,
    replicas: tuple[int, ...] = (),
    generation: int = 1,
    order: Any = "stop-first",
) -> list[str]:
    events: list[Event] = []
    address = next(iter(wanted.stack.resources), "container.web")
    change = Change(address, action, (), replicas=replicas, order=order)
    recipe = wanted.recipes["image.web"].id
    before = len(engine.done)
    rollout.Rollout(engine, change, wanted, generation, events.append, lambda _: f"sha256:{recipe}", seen).make()
    assert all(event.address == address for event in events)
    return [f"{verb} {name}" for verb, name in engine.done[before:]]


def states(engine: FakeEngine) -> dict[str, tuple[str, str]]:
    return {
        name: (document["state"]["status"], document["config"]["labels"][labels.RECIPE])
        for name, document in engine.held.items()
    }


def test_replicas_are_created_once() -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 3})
    assert sorted(perform(engine, Action.CREATE, wanted)) == ["up shop-web-1", "up shop-web-2", "up shop-web-3"]
    assert perform(engine, Action.CREATE, wanted, generation=2) == []
    assert states(engine) == {f"shop-web-{index}": ("running", "r1") for index in (1, 2, 3)}


def test_no_name_is_searched_for_before_its_container_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine looks for the name that was meant among all that there are: a thousand times, of a thousand."""
    engine, wanted = FakeEngine(), desired({"replicas": 2})
    monkeypatch.setattr(engine, "container", None)
    assert sorted(perform(engine, Action.CREATE, wanted, seen=[])) == ["up shop-web-1", "up shop-web-2"]
    gone = [engine.held.pop("shop-web-1")["id"], engine.held["shop-web-2"]["id"]]
    assert perform(engine, Action.CREATE, wanted, seen=gone) == ["up shop-web-1"]


def test_what_an_apply_that_was_killed_left_is_finished() -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 3})
    perform(engine, Action.CREATE, wanted, replicas=(1, 2))
    engine.held["shop-web-2"]["state"]["status"] = "created"
    assert sorted(perform(engine, Action.CREATE, wanted)) == ["start shop-web-2", "up shop-web-3"]


def test_a_half_made_replica_of_another_spec_is_made_anew() -> None:
    engine = FakeEngine()
    perform(engine, Action.CREATE, desired({"user": "1"}))
    assert perform(engine, Action.CREATE, desired({"user": "2"})) == [
        "down shop-web-1", "up shop-web-1"
    ]  # fmt: skip


def test_replacing_goes_one_by_one_and_waits_for_each() -> None:
    engine = FakeEngine()
    probe = {"tcp": 80, "interval": 1.0, "timeout": 1.0, "retries": 2, "start_period": 0.0, "start_interval": 1.0}
    perform(engine, Action.CREATE, desired({"replicas": 2, "healthcheck": probe}))
    wanted = desired({"replicas": 2, "healthcheck": probe}, recipe="r2")
    assert perform(engine, Action.REPLACE, wanted, generation=2) == [
        "drain shop-web-1", "down shop-web-1", "up shop-web-1", "healthy shop-web-1",
        "drain shop-web-2", "down shop-web-2", "up shop-web-2",
    ]  # fmt: skip
    assert states(engine) == {"shop-web-1": ("running", "r2"), "shop-web-2": ("running", "r2")}


def test_a_replacement_that_does_not_get_well_leaves_the_other_replicas() -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 2}, recipe="r2")
    perform(engine, Action.CREATE, desired({"replicas": 2}))
    engine.fails.add(("healthy", "shop-web-1"))
    with pytest.raises(StackpyError) as caught:
        perform(engine, Action.REPLACE, wanted, generation=2)
    assert (caught.value.message, caught.value.hint) == (
        "healthy of shop-web-1 failed\n  | last words of shop-web-1\n0 of 2 replicas were replaced", "mend it"
    )  # fmt: skip
    assert states(engine)["shop-web-2"] == ("running", "r1")


def test_replacing_again_in_the_same_generation_goes_on_where_it_was_killed() -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 2}, recipe="r2")
    perform(engine, Action.CREATE, desired({"replicas": 2}))
    perform(engine, Action.REPLACE, wanted, replicas=(1,), generation=2)
    assert perform(engine, Action.REPLACE, wanted, generation=2) == [
        "drain shop-web-2", "down shop-web-2", "up shop-web-2"
    ]  # fmt: skip


def test_updating_in_place_changes_what_differs_and_nothing_it_was_made_of() -> None:
    engine = FakeEngine()
    perform(engine, Action.CREATE, desired({"mem_limit": 1, "cpus": 0.5, "restart": "always"}))
    wanted = desired({"mem_limit": 2, "restart": "always", "labels": {"a": "b"}}, recipe="r2")
    assert perform(engine, Action.UPDATE, wanted, generation=2) == ["update shop-web-1"]
    config = engine.held["shop-web-1"]["config"]
    assert {key: value for key, value in config.items() if key not in ("labels", "networks")} == {
        "name": "shop-web-1", "image": "sha256:r1", "mem_limit": 2, "restart": "always"
    }  # fmt: skip
    own = config["labels"]
    assert (own["a"], own[labels.RECIPE], own[labels.GENERATION]) == ("b", "r1", "2")
    assert labels.load(own, labels.SPEC, {}) == wanted.stack.resources["container.web"].fields


def test_what_says_in_words_what_was_so_is_no_change_to_what_runs() -> None:
    """The engine refuses to set it while the container runs, and the plan has no reason to restart it."""
    engine = FakeEngine()
    perform(engine, Action.CREATE, desired({"mem_limit": 1, "userns": "auto"}))
    wanted = desired({"mem_limit": 2, "ipc": "private", "init": False, "oom_score_adj": 0})
    perform(engine, Action.UPDATE, wanted, generation=2)
    assert engine.held["shop-web-1"]["config"]["mem_limit"] == 2


def test_a_restart_that_changes_something_is_made_one_by_one_and_stopped_first() -> None:
    """Killed between two steps it is stopped, which the next plan sees."""
    engine = FakeEngine()
    perform(engine, Action.CREATE, desired({"replicas": 2, "init": True}))
    wanted = desired({"replicas": 2, "ulimits": {"core": {"soft": 0, "hard": 0}}, "cpus": 0.5})
    assert perform(engine, Action.RESTART, wanted, generation=2) == [
        "stop shop-web-1", "update shop-web-1", "start shop-web-1", "healthy shop-web-1",
        "stop shop-web-2", "update shop-web-2", "start shop-web-2",
    ]  # fmt: skip
    config = engine.held["shop-web-2"]["config"]
    assert (config["ulimits"], config["cpus"], "init" in config) == ({"core": {"soft": 0, "hard": 0}}, 0.5, False)
    assert sorted(perform(engine, Action.RESTART, wanted, generation=2)) == ["restart shop-web-1", "restart shop-web-2"]


def test_starting_and_deleting_act_on_the_chosen_replicas() -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 3})
    perform(engine, Action.CREATE, wanted)
    engine.end("shop-web-2")
    engine.end("shop-web-3")
    assert perform(engine, Action.START, wanted, replicas=(1, 2)) == ["start shop-web-2"]
    assert perform(engine, Action.DELETE, wanted, replicas=(3,)) == ["down shop-web-3"]
    assert perform(engine, Action.DELETE, wanted, replicas=(1,)) == ["drain shop-web-1", "down shop-web-1"]
    assert perform(engine, Action.DELETE, wanted) == ["down shop-web-2"]
    assert perform(engine, Action.DELETE, wanted) == []


def test_a_paused_replica_goes_on_and_is_not_started() -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 2})
    perform(engine, Action.CREATE, wanted)
    engine.held["shop-web-2"]["state"] |= {"status": "paused"}
    assert perform(engine, Action.START, wanted) == ["unpause shop-web-2"]


@pytest.mark.parametrize("verb", ["up", "start"])
def test_a_failed_start_shows_the_last_lines(verb: str) -> None:
    engine, wanted = FakeEngine(), desired()
    if verb == "start":
        perform(engine, Action.CREATE, wanted)
        engine.end("shop-web-1")
    engine.fails.add((verb, "shop-web-1"))
    with pytest.raises(StackpyError) as caught:
        perform(engine, Action.START if verb == "start" else Action.CREATE, wanted)
    assert caught.value.message == f"{verb} of shop-web-1 failed\n  | last words of shop-web-1"


def test_all_failures_of_replicas_are_told() -> None:
    engine = FakeEngine()
    engine.fails |= {("up", "shop-web-1"), ("up", "shop-web-3")}
    with pytest.raises(StackpyError) as caught:
        perform(engine, Action.CREATE, desired({"replicas": 3}))
    assert sorted(caught.value.message.splitlines()) == [
        "  | last words of shop-web-1", "  | last words of shop-web-3",
        "up of shop-web-1 failed", "up of shop-web-3 failed",
    ]  # fmt: skip
    assert list(engine.held) == ["shop-web-2"]


def test_a_job_runs_again_and_its_failure_is_an_error() -> None:
    engine, wanted = FakeEngine(), desired(kind="job")
    engine.exits["shop-web-1"] = 0
    assert perform(engine, Action.RUN, wanted) == ["up shop-web-1", "wait shop-web-1"]
    engine.exits["shop-web-1"] = 3
    with pytest.raises(StackpyError) as caught:
        perform(engine, Action.RUN, wanted, generation=2)
    assert caught.value.message == "`job.web` exited with 3\n  | last words of shop-web-1"
    assert engine.done[2:] == [("down", "shop-web-1"), ("up", "shop-web-1"), ("wait", "shop-web-1")]


def test_a_job_that_still_runs_is_waited_for_and_not_run_twice() -> None:
    engine, wanted = FakeEngine(), desired(kind="job")
    perform(engine, Action.RUN, wanted)
    assert perform(engine, Action.RUN, wanted, generation=2) == ["wait shop-web-1"]


@pytest.mark.parametrize("condition", ["started", "healthy"])
def test_waiting_is_for_every_replica(condition: Condition) -> None:
    engine, wanted = FakeEngine(), desired({"replicas": 2})
    perform(engine, Action.CREATE, wanted)
    spec = wanted.stack.resources["container.web"]
    events: list[Event] = []
    rollout.wait(engine, "shop", spec, condition, 5.0, events.append)
    assert sorted(engine.done[2:]) == [(condition, "shop-web-1"), (condition, "shop-web-2")]
    assert events == [Event("container.web", "waiting", f"until container.web is {condition}")]
    engine.fails.add((condition, "shop-web-2"))
    with pytest.raises(StackpyError, match="last words of shop-web-2"):
        rollout.wait(engine, "shop", spec, condition, 5.0, events.append)
