"""`protect`, `ignore_changes` and `moved`: in the stack file, and what a plan makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpy.dsl.specs import Spec, StackSpec
from stackpy.errors import StackpyError
from stackpy.planning import Desired, Observation, Observed, Recipe, Replica, addresses, destroy_plan, diff
from stackpy.planning.plan import Action, Change, Plan
from stackpy.planning.refusals import check
from stackpy.problems import Location
from stackpy.render.plan_json import plan_document
from stackpy.render.plan_text import plan_text
from tests.unit.stack_files import complaints, container, load_text, resources

RECIPE = Recipe("r", ())


def plan_of(
    fields: dict[str, Any] | None,
    live: dict[str, Any],
    *,
    applied: dict[str, Any] | None = None,
    name: str = "web",
    image: str = "r",
    replicas: int = 1,
    moved: dict[str, str] | None = None,
) -> Plan:
    """The plan of container `web` (none: no longer declared) where there is one with these live fields."""
    base = {"image": "image.a"}
    applied = {**base, **(live if applied is None else applied)}
    running = tuple(
        Replica(index, f"id{index}", f"shop-{name}-{index}", "running", "", None, 0.0, image, live, applied)
        for index in range(1, replicas + 1)
    )
    specs = {"image.a": Spec("image", "a", {"source": {"base": {"kind": "image"}, "steps": []}}, (), Location("f", 1))}
    if fields is not None:
        specs["container.web"] = Spec("container", "web", {**base, **fields}, (), Location("/x/stack.py", 7))
    observed = Observed("container", name, live, applied, running)
    observation = Observation("shop", "embedded", 4, {f"container.{name}": observed}, {}, frozenset(), {})
    stack = StackSpec("shop", specs, {}, "/", moved=moved or {})
    return diff(Desired(stack, {"image.a": RECIPE}, {}), observation)


def actions(plan: Plan) -> list[tuple[str, str]]:
    return [(change.address, change.action.word) for change in plan.changes]


# --- protect ------------------------------------------------------------------------------------------------------


def test_a_protected_container_is_neither_replaced_nor_deleted() -> None:
    plan = plan_of({"protect": True, "command": ["b"]}, {"command": ["a"]}, applied={"protect": True, "command": ["a"]})
    assert [(one.address, one.text) for one in plan.refusals] == [
        ("container.web", "it is protected by stack.py:7, and would be replaced")
    ]
    assert "refused: container.web: it is protected by stack.py:7" in plan_text(plan)
    assert plan_document(plan)["refusals"][0]["address"] == "container.web"
    with pytest.raises(StackpyError, match=r"container\.web: it is protected by stack\.py:7"):
        check(plan)
    gone = plan_of(None, {}, applied={"protect": True})
    assert [one.text for one in gone.refusals] == ["it is protected since the last apply, and would be deleted"]


def test_protection_that_the_stack_file_has_taken_back_is_over() -> None:
    plan = plan_of({"command": ["b"]}, {"command": ["a"]}, applied={"protect": True, "command": ["a"]})
    assert plan.refusals == () and actions(plan) == [("container.web", "replace")]


def test_protection_comes_and_goes_in_place_and_lets_other_changes_be() -> None:
    assert actions(plan_of({"protect": True}, {})) == [("container.web", "update")]
    assert actions(plan_of({"protect": True}, {}, applied={"protect": True})) == []
    assert actions(plan_of({}, {}, applied={"protect": True})) == [("container.web", "update")]
    fewer = plan_of({"protect": True, "replicas": 1}, {}, applied={"protect": True, "replicas": 2}, replicas=2)
    assert actions(fewer) == [("container.web", "delete")] and not fewer.refusals
    limit = plan_of({"protect": True, "mem_limit": 5}, {"mem_limit": 4}, applied={"protect": True, "mem_limit": 4})
    assert actions(limit) == [("container.web", "update")] and not limit.refusals


def test_destroy_is_refused_too() -> None:
    volume = Observed("volume", "data", {}, {"protect": True})
    observation = Observation("shop", "embedded", 4, {"volume.data": volume}, {}, frozenset(), {})
    [refused] = destroy_plan(observation, volumes=True).refusals
    assert (refused.address, refused.hint) == (
        "volume.data", "take `protect=True` away in the stack file and apply that first"
    )  # fmt: skip
    assert destroy_plan(observation).refusals == ()


# --- ignore_changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "live", "expected"),
    [
        (["mem_limit"], {"mem_limit": 7, "labels": {"a": "1", "b": "2"}}, []),
        (["mem_limit"], {"labels": {"a": "1", "b": "2"}}, []),
        ([], {"mem_limit": 7, "labels": {"a": "1", "b": "2"}}, ["mem_limit"]),
        (["labels.a"], {"mem_limit": 5, "labels": {"a": "9", "b": "2"}}, []),
        (["labels.a"], {"mem_limit": 5, "labels": {"b": "9"}}, ["labels.b"]),
        (["labels"], {"mem_limit": 5}, []),
    ],
)
def test_what_is_ignored_is_no_difference(ignored: list[str], live: dict[str, Any], expected: list[str]) -> None:
    fields = {"mem_limit": 5, "labels": {"a": "1", "b": "2"}, **({"ignore_changes": ignored} if ignored else {})}
    plan = plan_of(fields, live, applied=fields)
    assert [reason.path for change in plan.changes for reason in change.reasons] == expected


def test_an_image_and_a_number_of_replicas_can_be_ignored() -> None:
    fields = {"ignore_changes": ["image", "replicas"], "replicas": 1}
    assert actions(plan_of(fields, {}, applied=fields, image="other", replicas=3)) == []


# --- moved --------------------------------------------------------------------------------------------------------


def test_what_has_moved_is_renamed_and_not_made_anew() -> None:
    plan = plan_of({}, {}, name="api", moved={"container.api": "container.web"})
    assert actions(plan) == [("container.web", "move")]
    assert ">> container.web" in plan_text(plan) and "move from container.api" in plan_text(plan)
    both = plan_of({"mem_limit": 5}, {}, name="api", moved={"container.api": "container.web"})
    assert actions(both) == [("container.web", "move"), ("container.web", "update")]
    done = plan_of({}, {}, moved={"container.api": "container.web"})
    assert actions(done) == []


def test_a_move_that_was_cut_short_between_two_replicas_is_finished() -> None:
    """And what has not moved yet neither goes nor is made anew."""
    applied = {"image": "image.a", "replicas": 2}

    def part(name: str, index: int) -> Observed:
        replica = Replica(index, f"id{index}", f"shop-{name}-{index}", "running", "", None, 0.0, "r", {}, applied)
        return Observed("container", name, {}, applied, (replica,))

    specs = {
        "image.a": Spec("image", "a", {"source": {"base": {"kind": "image"}, "steps": []}}, (), Location("f", 1)),
        "container.web": Spec("container", "web", applied, (), Location("f", 2)),
    }
    existing = {"container.web": part("web", 1), "container.api": part("api", 2)}
    desired = Desired(
        StackSpec("shop", specs, {}, "/", moved={"container.api": "container.web"}), {"image.a": RECIPE}, {}
    )
    plan = diff(desired, Observation("shop", "embedded", 4, existing, {}, frozenset(), {}))
    assert actions(plan) == [("container.web", "move")]
    # and when it has another name still by then
    moved = {"container.older": "container.web", "container.api": "container.web"}
    existing = {"container.older": part("older", 1), "container.api": part("api", 2)}
    desired = desired._replace(stack=desired.stack._replace(moved=moved))
    plan = diff(desired, Observation("shop", "embedded", 4, existing, {}, frozenset(), {}))
    assert [(change.address, change.note) for change in plan.changes] == [
        ("container.web", "from container.older"), ("container.web", "from container.api")
    ]  # fmt: skip
    # but two that are whole stay two
    existing = {"container.web": part("web", 1), "container.api": part("api", 1)}
    plan = diff(desired, Observation("shop", "embedded", 4, existing, {}, frozenset(), {}))
    assert ("container.api", "delete") in actions(plan)


def test_what_names_a_network_that_has_moved_does_not_differ() -> None:
    fields = {"networks": {"new": {"aliases": []}}}
    before = {"networks": {"old": {"aliases": []}}}
    plan = plan_of(fields, before, moved={"network.old": "network.new"})
    assert actions(plan) != []  # without the network itself nothing has moved
    specs = {"network.new": Spec("network", "new", {}, (), Location("f", 1))}
    observation = Observation(
        "shop", "embedded", 1, {"network.old": Observed("network", "old", {}, {})}, {}, frozenset(), {}
    )
    stack = StackSpec("shop", specs, {}, "/", moved={"network.old": "network.new"})
    assert actions(diff(Desired(stack, {}, {}), observation)) == [("network.new", "move")]


# --- the stack file -----------------------------------------------------------------------------------------------


def test_the_fields_are_read(tmp_path: Path) -> None:
    spec = container(tmp_path, 'protect=True, ignore_changes=["mem_limit", "labels.team", "mem_limit"]')
    assert spec.fields["protect"] is True and spec.fields["ignore_changes"] == ["mem_limit", "labels.team"]
    found = resources(
        tmp_path,
        'Network("n", protect=True, ignore_changes=["labels"])\nVolume("v", protect=True)\n'
        'Secret("s", env="HOME", protect=True)\n',
    )
    assert [found[a].fields["protect"] for a in ("network.n", "volume.v", "secret.s")] == [True] * 3


def test_moves_are_followed_to_what_is_declared(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        'from stackpy import moved\nweb = Container("web", image="app")\n'
        'moved(old="container.api", new=web)\nmoved(old="container.app", new="container.api")\n',
    )
    assert loaded.stack.moved == {"container.api": "container.web", "container.app": "container.web"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('Container("web", image="a", ignore_changes=["mem_limt"])',
         '`ignore_changes[0]` of container `web` has no field "mem_limt"', "did you mean `mem_limit`?"),
        ('Container("web", image="a", ignore_changes=["protect"])',
         "`ignore_changes[0]` of container `web` has `protect`, whose changes touch nothing that runs", ""),
        ('Container("web", image="a", ignore_changes="mem_limit")',
         "`ignore_changes` of container `web` must be a list of fields", ""),
        ('Volume("v", protect="yes, please")', "`protect` of volume `v` must be", ""),
        ('Volume("v", ignore_changes=["size"])', '`ignore_changes[0]` of volume `v` has no field "size"', ""),
        ('moved(old="container.a", new="container.b")', "moves to `container.b`, which is not declared", ""),
        ('Volume("a")\nVolume("b")\nmoved(old="volume.a", new="volume.b")', "`volume.a` has moved away", "remove one"),
        ('Volume("b")\nmoved(old="network.a", new="volume.b")', "which is of another kind", ""),
        ('moved(old="image.a", new="image.b")', "cannot be `image.a`", "found by what it is made of"),
        ('moved(old="web", new="volume.b")', 'must be an address such as "container.api", not "web"', ""),
        ('Volume("b")\nfor _ in "12":\n moved(old="volume.a", new="volume.b")', "moves twice", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_place(tmp_path: Path, text: str, message: str, hint: str) -> None:
    told = complaints(tmp_path, f"from stackpy import moved\n{text}\n")
    assert message in told and hint in told and "^" in told


# --- addresses that others have -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        ("container.web", ""),  # its own
        ("container.old", ""),  # which goes
        ("container.db", "10.5.0.2 on network `back` is in use by container.db"),
        ("container `by-hand`", "10.5.0.2 on network `back` is in use by container `by-hand`"),
    ],
)
def test_an_address_that_somebody_keeps_is_refused(holder: str, text: str) -> None:
    plan = plan_of({"networks": {"back": {"aliases": [], "ipv4_address": "10.5.0.2"}}}, {}, applied={})
    plan = plan._replace(changes=(*plan.changes, Change("container.old", Action.DELETE, ())))
    fields = {"image": "image.a", "networks": {"back": {"ipv4_address": "10.5.0.2"}}}
    specs = {"container.web": Spec("container", "web", fields, (), Location("/x/stack.py", 7))}
    takers = addresses.wanted(plan, specs)
    assert takers == {("address", "shop_back 10.5.0.2"): "container.web"}
    found = addresses.refused(plan, dict.fromkeys(takers, holder), takers).refusals
    assert [one.text for one in found] == ([text] if text else [])
