"""What a plan says of data that it deletes, and of names that others have."""

from __future__ import annotations

import pytest

from stackpy.dsl.specs import Spec
from stackpy.planning import Action, Change, Plan, Reason, data_loss, foreign
from stackpy.planning.plan import Data
from stackpy.problems import Location
from stackpy.render.plan_json import plan_document
from stackpy.render.plan_text import plan_text

GONE = Reason("state", "present", "absent", "with its data")


def plan(*changes: Change) -> Plan:
    return Plan("shop", "embedded", 5, changes)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Data(1_200_000_000, 180.0), "deletes data: 1.2 GB, last written 3 minutes ago"),
        (Data(5000, 60.0, 2, 9000), "deletes data: 5 kB, last written 1 minute ago, and 2 snapshots of it (9 kB)"),
        (Data(0, 0.0, 1, 9000), "deletes data: 1 snapshot of it (9 kB)"),
        (Data(4096, 0.2), "deletes data: 4.1 kB, last written just now"),
        (Data(999, 3700.0), "deletes data: 999 B, last written 1 hour ago"),
        (Data(52_000_000_000_000, 86400.0 * 400), "deletes data: 52 TB, last written 400 days ago"),
    ],
)
def test_the_words(data: Data, text: str) -> None:
    assert data_loss.text(data) == text


def test_a_deletion_is_marked_and_needs_its_address() -> None:
    first = plan(
        Change("volume.data", Action.DELETE, (GONE,)),
        Change("volume.empty", Action.DELETE, (GONE,)),
        Change("container.web", Action.DELETE, (GONE,)),
    )
    assert data_loss.losing(first) == ["volume.data", "volume.empty"]
    marked = data_loss.measured(first, {"volume.data": Data(1_200_000_000, 180.0)})
    assert "- volume.data             delete                         deletes data: 1.2 GB, last written 3" in plan_text(
        marked
    )
    assert plan_document(marked)["changes"][0]["deletes_data"] == {
        "bytes": 1_200_000_000,
        "seconds_since_written": 180.0,
    }
    assert "deletes_data" not in plan_document(marked)["changes"][1]
    left = data_loss.unconfirmed(marked.changes, ["volume.other"])
    assert [change.address for change in left] == ["volume.data"]
    refusal = data_loss.refuse(left)
    assert refusal.message == "nothing was changed: volume.data deletes data: 1.2 GB, last written 3 minutes ago"
    assert refusal.hint == "if that is meant: `--allow-data-loss volume.data`"
    for allowed in (["volume.data"], ["volume.x,volume.data"], ["volume.*"], ["*"]):
        assert data_loss.unconfirmed(marked.changes, allowed) == []


def test_what_containers_have_written_is_noted_and_not_asked_for() -> None:
    making = plan(Change("container.web", Action.REPLACE, ()), Change("container.old", Action.DELETE, (GONE,)))
    assert data_loss.rewriting(making) == ["container.web", "container.old"]
    marked = data_loss.noted(making, {"container.web": Data(52_000_000, 7200.0)})
    assert marked.notes == (
        "container.web: 52 MB that it has written outside of volumes go with it, last written 2 hours ago",
    )
    assert data_loss.unconfirmed(marked.changes, []) == []


def test_names_that_others_have_are_refused_with_what_to_do() -> None:
    specs = {
        spec.address: spec
        for spec in (
            Spec("container", "web", {"replicas": 2}, (), Location("stack.py", 1)),
            Spec("volume", "data", {}, (), Location("stack.py", 2)),
            Spec("secret", "key", {}, (), Location("stack.py", 3)),
        )
    }
    making = plan(
        *(Change(address, Action.CREATE, ()) for address in specs), Change("container.old", Action.DELETE, (GONE,))
    )
    names = foreign.wanted_names(making, specs)
    assert names == {
        ("container", "shop-web-1"): "container.web",
        ("container", "shop-web-2"): "container.web",
        ("volume", "shop_data"): "volume.data",
        ("secret", "shop_key"): "secret.key",
    }
    found = {("container", "shop-web-2"): "", ("volume", "shop_data"): "stack `other`", ("secret", "shop_key"): ""}
    refused = foreign.refused(making, found, names)
    assert [(one.address, one.text, one.hint) for one in refused.refusals] == [
        (
            "container.web",
            "there is a container `shop-web-2` already, and it is not the stack's",
            "`stackpy adopt container.web shop-web-2` takes it into the stack",
        ),
        (
            "volume.data",
            "there is a volume `shop_data` already, and it belongs to stack `other`",
            "give one of the two another name",
        ),
        (
            "secret.key",
            "there is a secret `shop_key` already, and it is not the stack's",
            "give one of the two another name",
        ),
    ]
