"""Which snapshot a rollback restores, what is stopped for it, and what an engine without snapshots says."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.cli.commands import rollback
from stackpy.dsl.specs import Spec
from stackpy.errors import StackpyError
from stackpy.planning import Action, Change, Observed, Plan, Reason, Replica, refusals, snapshots
from stackpy.planning.plan import Data
from stackpy.planning.snapshots import Snapshot
from stackpy.problems import Location
from stackpy.render.plan_json import plan_document
from stackpy.render.plan_reading import plan_from

MOUNTS: dict[str, Any] = {"volumes": [{"type": "volume", "source": "data", "target": "/data", "read_only": False}]}
DATA = Snapshot("volume.data", "18ec", 5, "2026-01-31T12:00:00Z", 1_200_000_000)


def kept(*generations: int, address: str = "volume.data") -> list[Snapshot]:
    return [DATA._replace(address=address, id=f"{place:04x}", generation=number)
            for place, number in enumerate(generations)]  # fmt: skip


@pytest.mark.parametrize(
    ("held", "generation", "expected"),
    [
        ((), 3, None),
        ((4,), 3, 4),
        ((4,), 4, None),  # it was taken before generation 4 began
        ((2, 4, 6), 3, 4),  # when 3 was left, not later
        ((6, 4, 4), 3, 4),
        ((2,), 3, None),  # nothing has been made anew since
    ],
)
def test_what_a_volume_held_when_a_generation_was_left(
    held: tuple[int, ...], generation: int, expected: int | None
) -> None:
    found = snapshots.restorable(kept(*held), generation)
    assert {address: one.generation for address, one in found.items()} == (
        {} if expected is None else {"volume.data": expected}
    )
    if held == (6, 4, 4):
        assert found["volume.data"].id == "0001"  # of an apply that was killed and made again the first


def observed(name: str, status: str = "running", count: int = 1, **fields: Any) -> Observed:
    replicas = tuple(
        Replica(index, f"{name}{index}", f"shop-{name}-{index}", status, "", None, 0.0, "", {**MOUNTS, **fields}, {})
        for index in range(1, count + 1)
    )
    return Observed("container", name, replicas[0].live, {}, replicas)


def plan(*changes: Change, generation: int = 6) -> Plan:
    return Plan("shop", "embedded", generation, changes)


def shown(plan: Plan) -> list[tuple[str, str, tuple[int, ...], tuple[str, ...]]]:
    return [(change.address, change.action.word, change.replicas, change.depends_on) for change in plan.changes]


def test_all_that_uses_a_volume_begins_anew_after_it_is_restored() -> None:
    existing = {one.address: one for one in (
        observed("db"), observed("side", count=3), observed("stopped", "exited"), observed("gone"),
        observed("apart", volumes=[]), observed("part", count=2), observed("reader", "paused"),
    )}  # fmt: skip
    before = plan(
        Change("image.a", Action.BUILD, ()),
        Change("volume.data", Action.SNAPSHOT, (Reason("state", None, None, "before container.db is replaced"),)),
        Change("container.db", Action.REPLACE, (), ("volume.data",)),
        Change("container.gone", Action.DELETE, (), ("volume.data",)),
        Change("container.side", Action.UPDATE, ()),
        Change("container.part", Action.REPLACE, (), replicas=(2,)),
        Change("container.reader", Action.START, ()),
    )
    assert shown(snapshots.with_restores(before, [DATA], existing)) == [
        ("image.a", "build", (), ()),
        ("volume.data", "restore", (), ("image.a",)),
        ("container.db", "replace", (), ("volume.data",)),
        ("container.gone", "delete", (), ("volume.data",)),
        ("container.side", "update", (), ("volume.data",)),
        ("container.part", "replace", (2,), ("volume.data",)),
        ("container.reader", "start", (), ("volume.data",)),
        ("container.side", "restart", (), ("volume.data",)),
        ("container.part", "restart", (1,), ("volume.data",)),
    ]


def test_data_alone_is_a_change_too() -> None:
    found = snapshots.with_restores(plan(generation=6), [DATA], {"container.db": observed("db")})
    assert found.generation == 7
    assert [change.action for change in found.changes] == [Action.RESTORE, Action.RESTART]
    assert found.changes[0].reasons[0].new == "18ec"
    assert plan_from(plan_document(found)).changes == tuple(change._replace(note="") for change in found.changes)
    assert snapshots.with_restores(plan(), [], {}) == plan()


def test_sizes_are_said_and_data_of_before_too() -> None:
    taking = Change("volume.data", Action.SNAPSHOT, (Reason("state", None, None, "before job.m runs"),))
    for found, text in (
        ({"volume.data": Data(5000, 1.0)}, "5 kB, before job.m runs"),
        ({}, "empty, before job.m runs"),
    ):
        measured = snapshots.measured(plan(taking), found)
        assert measured.changes[0].reasons[0].text == text
    deleting = Change("volume.data", Action.DELETE, (), data=Data(1, 2.0, 3, 4))
    assert plan_from(plan_document(plan(deleting))).changes == (deleting,)
    assert plan_document(plan(deleting))["changes"][0]["deletes_data"] == {
        "bytes": 1, "seconds_since_written": 2.0, "snapshots": 3, "snapshot_bytes": 4,
    }  # fmt: skip


def test_an_engine_without_snapshots_refuses_the_plan() -> None:
    spec = Spec("volume", "data", {"snapshot": True}, (), Location("stack.py", 3))
    plain = Spec("volume", "plain", {}, (), Location("stack.py", 4))
    refused = refusals.without_snapshots(plan(), {spec.address: spec, plain.address: plain}, "swarm")
    with pytest.raises(StackpyError, match=r"volume\.data: the engine swarm takes no snapshots of volumes") as caught:
        refusals.check(refused)
    assert caught.value.hint == "leave out `snapshot=True` there"


def test_what_is_named_to_be_restored() -> None:
    held = {one.address: one for one in (DATA, DATA._replace(address="volume.more"))}
    chosen = rollback.chosen
    assert chosen(held, [], 4, asks=False) == []
    assert chosen(held, ["volume.more"], 4, asks=False) == [held["volume.more"]]
    assert chosen(held, ["volume.data,volume.more"], 4, asks=False) == list(held.values())
    assert chosen(held, ["volume.*"], 4, asks=False) == list(held.values())
    for word in ("data", "volume.other", "job.*"):
        text = f"there is no snapshot of `{word}` from when generation 4 was left, and nothing was changed"
        with pytest.raises(StackpyError) as caught:
            chosen(held, ["volume.data", word], 4, asks=False)
        assert (caught.value.message, caught.value.hint) == (text, "there are some of volume.data, volume.more")
