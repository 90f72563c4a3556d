"""Snapshots of a stack's volumes: whose they are, when they go, and who is stopped for a restore."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.engines import rollout, volume_snapshots
from stackpy.engines.events import Event
from stackpy.errors import Interrupted, StackpyError
from stackpy.planning import Action, Change, Reason
from stackpy.planning.snapshots import Snapshot
from tests.unit.fake_engine import NOW, FakeEngine, container
from tests.unit.test_engines_rollout import desired, perform, states


@pytest.fixture
def fake() -> FakeEngine:
    made = FakeEngine()
    for name, stack in (("shop_data", "shop"), ("other_data", "other")):
        made.create_volume(name, {"stackpy.stack": stack, "stackpy.resource": "volume.data"})
    made.done.clear()
    return made


def take(fake: FakeEngine, generation: int, *, stopping: bool = False) -> list[str]:
    told: list[Event] = []
    change = Change("volume.data", Action.SNAPSHOT, ())
    volume_snapshots.take(fake, "shop", change, generation, told.append, lambda: stopping)
    return [event.text for event in told]


def test_a_snapshot_is_held_until_its_generation_goes(fake: FakeEngine) -> None:
    assert take(fake, 4) == ["snapshot s1 of shop_data"]
    take(fake, 5)
    by_hand = fake.snapshot_volume("shop_data", {}, lambda: None)
    assert volume_snapshots.held(fake, "shop") == [
        Snapshot("volume.data", "s1", 4, NOW, 4096),
        Snapshot("volume.data", "s2", 5, NOW, 4096),
    ]
    assert volume_snapshots.held(fake, "other") == []
    volume_snapshots.prune(fake, "other", [])
    volume_snapshots.prune(fake, "shop", [5, 6])
    assert [one["id"] for one in fake.snapshots["shop_data"]] == ["s2", by_hand["id"]]
    with pytest.raises(Interrupted):
        take(fake, 6, stopping=True)
    assert len(fake.snapshots["shop_data"]) == 2


def running(fake: FakeEngine, name: str, stack: str, volume: str, **state: Any) -> None:
    mounts = [{"type": "volume", "source": volume, "target": "/data"}, {"type": "tmpfs", "target": "/tmp"}]
    fake.held[name] = container(name, config={"mounts": mounts, "labels": {"stackpy.stack": stack}}, **state)


def test_what_uses_a_volume_is_stopped_for_it_and_what_is_not_the_stacks_is_not(fake: FakeEngine) -> None:
    take(fake, 4)
    fake.done.clear()
    running(fake, "shop-db-1", "shop", "shop_data")
    running(fake, "shop-old-1", "shop", "shop_data", status="exited")
    running(fake, "shop-web-1", "shop", "shop_more")
    change = Change("volume.data", Action.RESTORE, (Reason("state", None, "s1", ""),))
    told: list[Event] = []
    volume_snapshots.restore(fake, "shop", change, 6, told.append, lambda: False)
    assert fake.done == [("stop", "shop-db-1"), ("restore", "s1"), ("snapshot", "shop_data")]
    assert [event.text for event in told] == ["shop-db-1 stopped", "what shop_data held before is snapshot s2"]
    assert fake.snapshots["shop_data"][-1]["labels"]["stackpy.generation"] == "6"
    fake.done.clear()
    fake.start("shop-db-1")
    running(fake, "guest", "", "shop_data")
    with pytest.raises(StackpyError, match="guest uses volume `shop_data`, and is not this stack's to stop"):
        volume_snapshots.restore(fake, "shop", change, 7, told.append, lambda: False)
    assert fake.done == [("start", "shop-db-1")]


def ending(fake: FakeEngine, action: Action, replicas: int, *, stopping: bool = False) -> list[str]:
    """Makes a change that ends what writes volume.data; what was done, and what was told of the snapshot."""
    wanted = desired({"replicas": replicas}, recipe="r2")
    if action is Action.DELETE:
        del wanted.stack.resources["container.web"]  # type: ignore[attr-defined]
    change = Change("container.web", action, (), order="stop-first", snapshots=("volume.data",))
    told: list[Event] = []
    fake.done.clear()
    image = lambda _: "sha256:r2"  # noqa: E731
    try:
        rollout.Rollout(fake, change, wanted, 5, told.append, image, None, lambda: stopping).make()
    finally:
        done = [f"{verb} {name}" for verb, name in fake.done]
        fake.done.clear()
        done += [f"{event.kind} {event.address}" for event in told if event.address == "volume.data"]
        fake.done[:] = [("", one) for one in done]
    return done


def test_what_ends_a_writer_keeps_what_it_has_written_once_it_has_stopped(fake: FakeEngine) -> None:
    perform(fake, Action.CREATE, desired({"replicas": 2}))
    told = ["started volume.data", "output volume.data", "done volume.data"]
    assert ending(fake, Action.REPLACE, 2) == [
        "drain shop-web-1", "stop shop-web-1", "snapshot shop_data",
        "down shop-web-1", "up shop-web-1", "healthy shop-web-1",
        "drain shop-web-2", "down shop-web-2", "up shop-web-2", *told,
    ]  # fmt: skip
    assert ending(fake, Action.DELETE, 2) == [
        "stop shop-web-1", "stop shop-web-2", "snapshot shop_data", "down shop-web-1", "down shop-web-2", *told
    ]  # fmt: skip
    assert [one["labels"]["stackpy.generation"] for one in fake.snapshots["shop_data"]] == ["5", "5"]


@pytest.mark.parametrize("action", [Action.REPLACE, Action.DELETE])
@pytest.mark.parametrize("stopping", [False, True])
def test_where_it_cannot_be_kept_the_writer_runs_again(fake: FakeEngine, action: Action, stopping: bool) -> None:
    perform(fake, Action.CREATE, desired({"replicas": 1}))
    if not stopping:
        fake.fails.add(("snapshot", "shop_data"))
    with pytest.raises(Interrupted if stopping else StackpyError):
        ending(fake, action, 1, stopping=stopping)
    done = [name for _, name in fake.done]
    assert done == ["stop shop-web-1", "snapshot shop_data", "start shop-web-1", "started volume.data"]
    assert states(fake) == {"shop-web-1": ("running", "r1")}
