"""Stacks at random, edited at random, on an engine that fails at random: what an apply leaves, the next one finishes.

By hand for longer: STACKPY_WALKS=5000 pytest tests/unit/test_applying_any_stack.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stackpy.applying import destroy, execute
from stackpy.engines.completing import completed
from stackpy.errors import ApplyFailed
from stackpy.planning import destroy_plan, diff
from stackpy.planning.plan import Plan
from stackpy.project import load
from tests.random_stacks import RandomStack
from tests.unit.strict_engine import Adapter, StrictEngine

WALKS = int(os.environ.get("STACKPY_WALKS", "25"))
STEPS = 8


class Walk:
    """One stack's life on an engine in memory."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.engine = StrictEngine(chance)
        self.adapter = Adapter(self.engine)
        self.stack = RandomStack("any", [8001, 8002, 8003, 8004])
        self.before = ""  # the stack file before the last edits
        self.values = {f"s{number}": b"one" for number in range(1000)}

    def get(self, name: str) -> bytes:
        """The value of a secret."""
        return self.values.get(name, b"one")

    def edit(self) -> None:
        """Changes what is wanted."""
        self.before = self.stack.text()
        for _ in range(self.chance.randint(1, 5)):
            self.stack.edit(self.chance.choice)
        self.stack.unprotected()
        for item in self.stack.of("secret"):
            self.values[item.full] = self.chance.choice((b"one", b"other"))

    def hurt(self) -> None:
        """What may happen between two applies."""
        for name in [*self.engine.held]:
            document = self.engine.held[name]
            what = self.chance.choice(("", "", "", "ends", "goes", "pauses", "memory"))
            job = document["config"]["labels"]["stackpy.resource"].startswith("job.")
            if what == "goes":
                del self.engine.held[name]
            elif what == "ends" and not job:
                self.engine.end(name)
            elif what == "pauses" and document["state"]["status"] == "running":
                document["state"]["status"] = "paused"
            elif what == "memory":
                document["config"]["mem_limit"] = 50 << 20

    def load(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "stack.py").write_text(self.stack.text())
            return load(folder=folder, name="any").stack

    def plan(self) -> tuple[Plan, Any]:
        """The plan, made where nothing can be changed."""
        self.engine.frozen = True
        try:
            stack = self.load()
            desired = self.adapter.resolve(stack, self)
            plan = diff(desired, self.adapter.observe("any"))
            return completed(plan, stack.resources, self.adapter), desired
        finally:
            self.engine.frozen = False

    def apply(self) -> bool:
        """Whether it succeeded."""
        plan, desired = self.plan()
        seen: set[str] = set()
        for change in plan.changes:
            assert set(change.depends_on) <= seen | {change.address}, "a change stands before what it depends on"
            seen.add(change.address)
        before = {*self.engine.vols}
        try:
            execute(plan, desired, self, self.adapter, report=lambda event: None)
        except ApplyFailed:
            return False
        finally:
            assert len(self.engine.vols) >= len(before), "an apply has deleted a volume"
        return True

    def as_wanted(self) -> None:
        """After an apply that has succeeded."""
        plan, _ = self.plan()
        assert plan.changes == (), [
            (one.address, one.action.word, [r.text for r in one.reasons]) for one in plan.changes
        ]
        wanted = {
            f"any-{item.full}-{index}"
            for item in self.stack.of("container", "job")
            for index in range(1, self.stack.replicas(item) + 1)
        }
        assert {*self.engine.held} == wanted


@settings(max_examples=WALKS, phases=[Phase.generate])  # a number that is smaller is no simpler life
@given(number=st.integers(0, 1 << 60))
def test_whatever_fails_a_later_apply_finishes(number: int) -> None:
    walk = Walk(Random(number))
    try:
        live(walk)
    except BaseException as error:
        error.add_note(
            "\n".join([str(walk.engine.done[-30:]), "--- before", walk.before, "--- now", walk.stack.text()])
        )
        raise


def live(walk: Walk) -> None:
    """A life: edits, harm, applies of which some fail, and the end."""
    for _ in range(STEPS):
        walk.edit()
        if walk.chance.random() < 0.5:
            walk.hurt()
        for failing in (walk.chance.choice((0.0, 0.1, 0.3)), 0.1):
            walk.engine.failing = failing
            if walk.apply():
                break
        walk.engine.failing = 0.0
        assert walk.apply()
        walk.as_wanted()
    plan = completed(destroy_plan(walk.adapter.observe("any"), volumes=True), {}, walk.adapter)
    destroy(plan, walk.adapter, report=lambda event: None)
    assert (walk.engine.held, walk.engine.nets, walk.engine.vols, walk.engine.keys) == ({}, {}, {}, {})
