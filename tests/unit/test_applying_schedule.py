"""On any graph, whatever fails: everything ends somehow, nothing begins too early, nothing is skipped for nothing."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stackpy.applying.schedule import Schedule
from stackpy.applying.workers import Workers
from stackpy.dsl.specs import Dependency, Spec
from stackpy.planning.plan import Action, Change, Plan
from stackpy.problems import Location


@st.composite
def plans(draw: Any) -> Plan:
    size = draw(st.integers(1, 12))
    changes: list[Change] = []
    for number in range(size):
        earlier = [f"container.c{n}" for n in range(number)]
        needs = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        changes.append(Change(f"container.c{number}", Action.CREATE, (), depends_on=tuple(needs)))
    return Plan("shop", "fake", 1, tuple(changes))


@given(plan=plans(), failing=st.sets(st.integers(0, 11)), data=st.data())
def test_every_change_ends(plan: Plan, failing: set[int], data: Any) -> None:
    schedule = Schedule(plan, {})
    running = schedule.free()
    ended: list[int] = []
    while running:
        number = running.pop(data.draw(st.integers(0, len(running) - 1)))
        needs = {int(address[len("container.c") :]) for address in plan.changes[number].depends_on}
        assert needs <= set(ended), "begun too early"
        assert number not in ended, "begun twice"
        if number in failing:
            schedule.failed(number)
        else:
            ended.append(number)
            running += schedule.done(number)
    for number, change in enumerate(plan.changes):
        needs = {int(address[len("container.c") :]) for address in change.depends_on}
        blocked = any(schedule.results[need] in ("failed", "skipped") for need in needs)
        expected = "skipped" if blocked else "failed" if number in failing else "done"
        assert schedule.results[number] == expected
        assert (change.address in schedule.blocked) is blocked


def test_what_is_not_required_holds_nothing_up() -> None:
    nowhere = Location("stack.py", 1)
    dependencies = (Dependency("container.a", "healthy", False, False), Dependency("container.b", "started"))
    specs = {
        "container.a": Spec("container", "a", {}, (), nowhere),
        "container.b": Spec("container", "b", {}, (), nowhere),
        "container.c": Spec("container", "c", {}, dependencies, nowhere),
    }
    needs = ("container.a", "container.b")
    changes = [Change(address, Action.CREATE, ()) for address in needs]
    changes.append(Change("container.c", Action.CREATE, (), depends_on=needs))
    schedule = Schedule(Plan("shop", "fake", 1, tuple(changes)), specs)
    assert schedule.free() == [0, 1]
    assert schedule.spare("container.a") == []
    assert schedule.failed(0) == []
    assert schedule.done(1) == [2]
    assert schedule.waits(2) == {("container.b", "started")}
    assert schedule.unmet(("container.b", "started")) == [2], "the other one is required"


def test_workers_are_bounded_and_end() -> None:
    workers = Workers("test", 3)
    lock, all_done = threading.Lock(), threading.Event()
    now = most = finished = 0

    def task() -> None:
        nonlocal now, most, finished
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.001)
        with lock:
            now -= 1
            finished += 1
            if finished == 50:
                all_done.set()

    for _ in range(50):
        workers.submit(task)
    assert all_done.wait(60)
    assert most <= 3
    workers.close()
    for thread in threading.enumerate():
        if thread.name == "stackpy-test":
            thread.join(60)
            assert not thread.is_alive()
