"""Saved plans: what is in their file, which files are refused and why, and what is seen to have moved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from stackpy.errors import StackpyError, UsageError
from stackpy.planning import fingerprints
from stackpy.planning.comparison import diff
from stackpy.planning.destroy import destroy_plan
from stackpy.planning.plan import Action, Change, Data, Plan, Reason
from stackpy.planning.targeting import Selection
from stackpy.render import saved
from tests.unit.planning import case_files

PLAN = Plan(
    "shop",
    "embedded",
    2,
    (Change("container.web", Action.UPDATE, (Reason("mem_limit", 1, 2, "mem_limit 1 → 2"),), note="1 of 2 replicas"),),
    notes=("a note",),
)
OPTIONS = saved.Options("prod", {"replicas": "2"}, ("token",), ("container.web",))
READING = saved.Reading("embedded", "/root", "k", "", "c", {"container.web": {"image": "0"}}, {}, {"stack.py": "1"})
CONTENT = saved.text(saved.Saved(PLAN, OPTIONS, READING, "1.2", "2026-01-31T12:00:00Z")).encode()
KEY = b"k" * 32
SECRETS = {"key": b"hunter2"}
CASE: dict[str, Any] = {
    "desired": {
        "image.web": {},
        "container.web": {
            "image": "image.web", "mem_limit": 100, "environment": {"PASSWORD": "hunter2"}, "replicas": 2,
        },
        "volume.data": {},
        "secret.key": {"source": {"env": "KEY"}},
    },
    "secrets_before": {"key": "f"},
    "recipes": {"image.web": ["FROM host | a=1"]},
    "recipes_before": {"image.web": ["FROM host | a=1"]},
    "before": {
        "container.web": {
            "image": "image.web", "mem_limit": 100, "environment": {"PASSWORD": "hunter2"}, "replicas": 2,
        },
        "secret.key": {"source": {"env": "KEY"}},
        "volume.data": {},
    },
}  # fmt: skip


def test_a_plan_comes_back_from_its_file() -> None:
    found = saved.read(CONTENT, "x.plan")
    assert (found.plan._replace(saved=""), found.options, found.reading) == (PLAN, OPTIONS, READING)
    assert (found.version, found.time) == ("1.2", "2026-01-31T12:00:00Z")
    assert found.plan.saved == found.digest


def test_the_file_is_addressed_by_its_content() -> None:
    document = json.loads(CONTENT)
    digest = document.pop("digest")
    del document["stackpy_plan"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    other = saved.Saved(PLAN, OPTIONS._replace(destroy=True), READING, "1.2", "2026-01-31T12:00:00Z")
    assert saved.read(saved.text(other).encode(), "x").digest != digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: b"", "`x.plan` is empty"),
        (lambda text: text[: len(text) // 2], "`x.plan` is cut off or damaged: its end is missing"),
        (lambda text: text.replace(b"mem_limit", b"cpu_limit"), "its digest is not that of its content"),
        (lambda text: text.replace(b'"stackpy_plan":1', b'"stackpy_plan":9'), "newer stackpy (1.2): its format is 9"),
        (lambda text: text.replace(b'"stackpy_plan":1', b'"stackpy_plan":0'), "was changed after it was made"),
        (lambda text: b"\x00\xff", "`x.plan` is no saved plan"),
        (lambda text: b"[1]", "`x.plan` is no saved plan"),
        (lambda text: b'{"format": 1, "changes": []}', "is the JSON form of a plan, which is for programs"),
        (lambda text: b"[" * 100_000, "`x.plan` is no saved plan"),
    ],
)
def test_each_wrong_file_has_its_own_message(change: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(StackpyError) as caught:
        saved.read(change(CONTENT), "x.plan")
    assert message in caught.value.message
    assert caught.value.hint


def test_a_file_with_a_right_digest_but_without_its_parts() -> None:
    document = json.loads(CONTENT)
    del document["digest"], document["stackpy_plan"], document["plan"]["changes"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    with pytest.raises(StackpyError, match="parts of it are missing"):
        saved.read(f'{{"stackpy_plan":1,"digest":"{digest}",{text[1:]}'.encode(), "x.plan")


def test_plans_differ_by_what_they_do_and_not_by_how_long_ago_something_was() -> None:
    (change,) = PLAN.changes
    later = PLAN._replace(changes=(change._replace(reasons=(Reason("mem_limit", 1, 2, "a minute later"),)),))
    assert saved.difference(PLAN, later) == ""
    below = PLAN._replace(changes=(change._replace(reasons=(change.reasons[0]._replace(place="stack.py:9"),)),))
    assert saved.difference(PLAN, below) == ""
    (gone,) = (change._replace(data=Data(10, 3.0)),)
    assert saved.difference(PLAN, PLAN._replace(changes=(gone,))) != ""
    written = PLAN._replace(changes=(gone._replace(data=Data(99, 0.0)),))
    assert saved.difference(PLAN._replace(changes=(gone,)), written) == ""
    other = PLAN._replace(changes=(change._replace(action=Action.REPLACE),))
    assert saved.difference(PLAN, other) == "container.web would be another change now: replace"
    assert saved.difference(PLAN, PLAN._replace(changes=())) == "container.web needs no update any more"


def seen(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return fingerprints.actual_values(case_files.observation(case))


def changed(**changes: Any) -> dict[str, Any]:
    """The case with other tables."""
    return {**CASE, **changes}


def moved(case: dict[str, Any]) -> list[tuple[str, str]]:
    before, now = seen(CASE), seen(case)
    return [
        tuple(one)
        for one in fingerprints.moved(
            fingerprints.marks(before, KEY), fingerprints.marks(now, KEY), now, declared=False
        )
    ]


def test_what_moved_is_named_and_how() -> None:
    def replica(**fields: Any) -> dict[str, Any]:
        return changed(replicas={"container.web": [{"index": 2, **fields}]})

    assert moved(CASE) == []
    assert moved(replica(status="exited", exit_code=137)) == [("container.web", "replica 2 is exited, and was running")]
    assert moved(replica(status="absent")) == [("container.web", "replica 2 is gone")]
    assert moved(replica(live={"mem_limit": 1 << 20})) == [("container.web", "replica 2's `mem_limit` is 1 MiB now")]
    assert moved(replica(live={"environment": {"PASSWORD": "new"}})) == [
        ("container.web", "replica 2's `environment` differs")
    ]
    gone = {address: fields for address, fields in CASE["before"].items() if address != "volume.data"}
    assert moved(changed(before=gone)) == [("volume.data", "it is gone")]
    assert moved(changed(recipes_before={"image.web": ["FROM host | a=2"]}))[-1] == (
        "image.web",
        "it was built from something else meanwhile",
    )


def test_what_the_stack_file_says_otherwise_is_named() -> None:
    before = fingerprints.desired_values(case_files.desired(CASE), SECRETS.get)
    now = fingerprints.desired_values(
        case_files.desired(
            changed(
                desired={
                    "image.web": {},
                    "container.web": {**CASE["desired"]["container.web"], "mem_limit": 1 << 30, "replicas": 3},
                    "network.back": {},
                    "secret.key": {"source": {"env": "KEY"}},
                }
            )
        ),
        {"key": b"another"}.get,
    )
    found = fingerprints.moved(fingerprints.marks(before, KEY), fingerprints.marks(now, KEY), now, declared=True)
    assert [tuple(one) for one in found] == [
        ("container.web", "the stack file's `mem_limit` is 1 GiB now, the stack file's `replicas` is 3 now"),
        ("volume.data", "the stack file declares it no more"),
        ("secret.key", "its value differs"),
        ("network.back", "the stack file declares it now"),
    ]


def test_what_there_is_can_be_compared_where_the_key_is_another_one() -> None:
    """The first plan on an engine has a key that is made of all that was read."""

    def marks(case: dict[str, Any], key: bytes) -> dict[str, dict[str, str]]:
        values = fingerprints.desired_values(case_files.desired(case), SECRETS.get)
        return fingerprints.without_values(fingerprints.marks(values, key))

    web = {**CASE["desired"]["container.web"], "mem_limit": 1 << 30, "cpus": 2.0}
    del web["replicas"]
    now = changed(desired={"image.web": {}, "container.web": web, "network.back": {}, "volume.data": {}})
    values = fingerprints.desired_values(case_files.desired(now), SECRETS.get)
    found = fingerprints.moved(marks(CASE, KEY), marks(now, b"x" * 32), values, declared=True)
    assert [tuple(one) for one in found] == [
        ("container.web", "the stack file's `replicas` is not set any more, the stack file's `cpus` is 2 now"),
        ("secret.key", "the stack file declares it no more"),
        ("network.back", "the stack file declares it now"),
    ]
    assert marks(CASE, KEY) == marks(CASE, b"x" * 32)


def test_no_value_is_found_again_in_fingerprints() -> None:
    desired = fingerprints.desired_values(case_files.desired(CASE), SECRETS.get)
    salt = b"s" * 16
    key = fingerprints.derived_key(desired, {}, salt)
    text = json.dumps(fingerprints.marks(desired, key))
    assert "hunter2" not in text
    plain = hashlib.sha256(b'{"PASSWORD":"hunter2"}').hexdigest()
    assert plain[:16] not in text
    # The same password under another key is another fingerprint; the same under the same one is equal.
    assert fingerprints.mark("hunter2", key) != fingerprints.mark("hunter2", KEY)
    assert key == fingerprints.derived_key(desired, {}, salt)
    assert key != fingerprints.derived_key(desired, {"container.web": {}}, salt)


# --- --exclude and --replace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(replaces=("container.web",)), [("container.web", "replace")]),
        (Selection(replaces=("container.web",), excludes=("container.web",)), []),
        (Selection(), []),
    ],
)
def test_what_is_asked_for_is_made_anew(selection: Selection, expected: list[tuple[str, str]]) -> None:
    plan = diff(case_files.desired(CASE), case_files.observation(CASE), selection)
    assert [(change.address, change.action.word) for change in plan.changes] == expected


def test_a_network_that_is_asked_for_takes_its_containers_along() -> None:
    case = {
        "desired": {"network.back": {}, "container.web": {"image": "image.web", "networks": {"back": {"aliases": []}}}},
        "before": {"network.back": {}, "container.web": {"image": "image.web", "networks": {"back": {"aliases": []}}}},
    }
    desired, observation = case_files.desired(case), case_files.observation(case)
    plan = diff(desired, observation, Selection(replaces=("network.back",)))
    assert [(change.address, change.action.word) for change in plan.changes] == [
        ("network.back", "replace"),
        ("container.web", "replace"),
    ]
    # what waits for it cannot be made without it
    assert diff(desired, observation, Selection((), ("network.back",), ("network.back",))).changes == ()


DESTROYED = {
    "before": {
        "network.back": {},
        "container.db": {"image": "image.web", "networks": {"back": {"aliases": []}}},
        "container.web": {"image": "image.web", "depends_on": {"container.db": "started"}},
        "container.lone": {"image": "image.web"},
    }
}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), ["container.web", "container.db", "network.back", "container.lone"]),
        (Selection(("container.db",)), ["container.web", "container.db"]),
        (Selection(("container.lone",)), ["container.lone"]),
        (Selection((), ("container.db",)), ["container.web", "container.lone"]),
    ],
)
def test_a_part_of_a_stack_is_destroyed_with_what_depends_on_it(selection: Selection, expected: list[str]) -> None:
    plan = destroy_plan(case_files.observation(DESTROYED), selection=selection)
    assert sorted(change.address for change in plan.changes) == sorted(expected)
    assert any(note.startswith("limited by --") for note in plan.notes) == (len(expected) < 4)


@pytest.mark.parametrize("address", ["image.web", "volume.data"])
def test_what_cannot_be_made_anew_says_why(address: str) -> None:
    with pytest.raises(UsageError, match=f"--replace {address}"):
        diff(case_files.desired(CASE), case_files.observation(CASE), Selection(replaces=(address,)))
