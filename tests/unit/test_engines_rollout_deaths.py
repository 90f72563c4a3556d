"""An apply dies before or after any step of a rollout: the next plan says what is so, and the next apply ends well.

Exhaustively for a rollout of each order, and by random edits and deaths, on an engine in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl.specs import Spec, StackSpec
from stackpy.engines import observation, rollout
from stackpy.errors import StackpyError
from stackpy.planning.comparison import diff
from stackpy.planning.plan import Desired, Observation, Plan, Recipe
from stackpy.problems import Location
from tests.unit.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Location("stack.py", 1)


class Died(BaseException):
    """kill -9, as far as a program can play it."""


class MortalEngine(FakeEngine):
    """Dies at the n-th verb: before it takes effect, or when it just has."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.before = False
        self.fewest = 99  # containers that ran at once, at the worst moment

    def dies(self, number: int, *, before: bool) -> None:
        self.left, self.before = number, before

    def _running(self) -> int:
        return sum(document["state"]["status"] == "running" for document in self.held.values())

    def _mortal(self, verb: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0 and self.before:
            raise Died
        result = verb(*arguments, **named)
        self.fewest = min(self.fewest, self._running())
        if self.left == 0:
            raise Died
        return result

    def up(self, config: Any) -> str:
        return str(self._mortal(super().up, config))

    def down(self, reference: str) -> None:
        self._mortal(super().down, reference)

    def rename(self, reference: str, name: str, *, labels: dict[str, str] | None = None) -> None:
        self._mortal(super().rename, reference, name, labels=labels)

    def drain(self, reference: str, timeout: float) -> bool:
        return bool(self._mortal(super().drain, reference, timeout))


def wanted(replicas: int, recipe: str, **fields: Any) -> Desired:
    image = Spec("image", "web", {"source": {"base": {"kind": "image"}, "steps": []}}, (), HERE)
    web = Spec("container", "web", {"image": "image.web", "replicas": replicas, **fields}, (), HERE)
    stack = StackSpec("shop", {spec.address: spec for spec in (image, web)}, {}, "/")
    return Desired(stack, {"image.web": Recipe(recipe, ())}, {})


def plan(engine: FakeEngine, desired: Desired) -> Plan:
    found = observation.resources(
        "shop", containers=engine.containers(), networks=[], volumes=[], secrets=[], image_recipes={}, now=0.0
    )
    seen = Observation("shop", "embedded", 1, found, desired.recipes, frozenset(), {})
    return diff(desired, seen)


def apply(engine: FakeEngine, desired: Desired) -> None:
    recipe = desired.recipes["image.web"].id
    for change in plan(engine, desired).changes:
        rollout.Rollout(engine, change, desired, 2, lambda event: None, lambda _: f"sha256:{recipe}").make()


def check(engine: FakeEngine, desired: Desired) -> None:
    """Everything is as wanted: nothing too many, nothing missing, and the next plan is empty."""
    count = desired.stack.resources["container.web"].fields["replicas"]
    assert sorted(engine.held) == [f"shop-web-{index}" for index in range(1, count + 1)]
    assert all(document["config"]["name"] == name for name, document in engine.held.items())
    assert {document["config"]["image"] for document in engine.held.values()} == {
        f"sha256:{desired.recipes['image.web'].id}"
    }
    assert plan(engine, desired).changes == ()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("order", ["start-first", "stop-first"])
def test_death_at_each_step_of_a_rollout(order: str, before: bool) -> None:
    fields = {"update": {"order": order}}
    number, deaths, died = 0, 0, True
    while died:
        number += 1
        engine = MortalEngine()
        apply(engine, wanted(2, "r1", **fields))
        engine.dies(number, before=before)
        engine.fewest = 99
        desired = wanted(2, "r2", **fields)
        try:
            apply(engine, desired)
            died = False
        except Died:
            deaths += 1
        engine.dies(0, before=before)
        apply(engine, desired)
        check(engine, desired)
        # Start-first, only a death between the two changes of numbers costs one for a moment.
        assert engine.fewest >= (1 if order == "stop-first" or died else 2), "whatever the moment, one serves"
    assert deaths == (10 if order == "start-first" else 6)


EDITS = st.tuples(st.integers(1, 3), st.sampled_from("abc"), st.sampled_from(["start-first", "stop-first"]))
POLICIES = st.fixed_dictionaries(
    {
        "parallelism": st.integers(0, 2),
        "failure_action": st.sampled_from(["pause", "continue", "rollback"]),
        "max_failure_ratio": st.sampled_from([0.0, 0.5, 1.0]),
    }
)
FAULTS = st.one_of(st.tuples(st.just("death"), st.integers(1, 12), st.booleans()),
                   st.tuples(st.just("unhealthy"), st.integers(1, 8), st.booleans()),
                   st.tuples(st.just("none"), st.just(0), st.booleans()))  # fmt: skip


@given(st.lists(st.tuples(EDITS, POLICIES, FAULTS), min_size=1, max_size=4))
def test_edits_faults_and_an_apply(steps: list[Any]) -> None:
    engine = MortalEngine()
    for (replicas, recipe, order), policy, (fault, number, before) in steps:
        # One thread at a time, so that a death is at the same place again: parallel ones are tested above.
        update = {**policy, "order": order, "parallelism": 1}
        desired = wanted(replicas, recipe, update=update)
        engine.dies(number if fault == "death" else 0, before=before)
        engine.fails = {("healthy", f"shop-web-{number}")} if fault == "unhealthy" else set()
        try:
            apply(engine, desired)
        except (Died, StackpyError):
            pass
        engine.dies(0, before=before)
        engine.fails = set()
        apply(engine, desired)
        check(engine, desired)
