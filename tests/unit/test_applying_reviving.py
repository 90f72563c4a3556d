"""What a generation keeps, which one a rollback goes to, and who applied from which revision."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from stackpy.applying import circumstances, reviving
from stackpy.dsl.deferred import Deferred, Wanted
from stackpy.dsl.specs import Dependency, Spec, StackSpec
from stackpy.errors import StackpyError
from stackpy.planning.comparison import diff
from stackpy.planning.plan import Action, Desired, Observation, Recipe, RecipeStep
from stackpy.problems import Location

if TYPE_CHECKING:
    from pathlib import Path

HERE = Location("stack.py", 1)


def wanted() -> Desired:
    image = Spec("image", "web", {"source": {"base": {"kind": "scratch"}, "steps": [1]}, "tags": ["web:1"]}, (), HERE)
    db = Spec("container", "db", {"image": "image.web", "environment": {"A": "1"}}, (), HERE)
    web = Spec("container", "web", {"image": "image.web"}, (Dependency("container.db", "healthy", True),), HERE)
    specs = {spec.address: spec for spec in (image, db, web)}
    return Desired(StackSpec("shop", specs, {"url": "x"}, "/srv"), {"image.web": Recipe("r1", ())}, {})


def test_what_is_kept_comes_back_the_same() -> None:
    before = wanted()
    document = {"stack": "shop", "generation": 3, "outputs": {"url": "x"}, "desired": reviving.kept(before)}
    after = reviving.revived(json.loads(json.dumps(document)))
    assert reviving.kept(after) == reviving.kept(before)
    assert after.stack.resources["container.web"].dependencies == (Dependency("container.db", "healthy", True),)
    assert after.recipes["image.web"].id == "r1"
    for old in ({"stack": "shop", "generation": 2}, {**document, "desired": {"format": 99}}):
        with pytest.raises(StackpyError, match="was kept by another version"):
            reviving.revived(old)


def test_outputs_come_back_as_they_were_declared() -> None:
    """A port that the engine chose is another one when the generation is brought back."""
    port = str(Deferred(Wanted("container.web", "port", "80/tcp", 1)))
    declared = {"port": port, "line": "with s3cr3t", "plain": 1}
    before = wanted()
    before = before._replace(stack=before.stack._replace(outputs=declared, hidden=("s3cr3t",)))
    document = {"stack": "shop", "generation": 3, "outputs": {"port": 4711}, "desired": reviving.kept(before)}
    document = json.loads(json.dumps(document))
    revived = reviving.revived(document)
    assert revived.stack.outputs == declared
    assert reviving.kept(revived)["hidden_outputs"] == ["line"], "a rollback to a rollback hides it too"
    del document["desired"]["outputs"]  # as it was kept before
    assert reviving.revived(document).stack.outputs == {"port": 4711}


def test_images_of_a_generation_are_neither_built_nor_renamed() -> None:
    desired = wanted()
    empty = Observation("shop", "embedded", 3, {}, {"image.web": Recipe("r2", ())}, frozenset(), {"web:1": "r2"})
    built = desired._replace(recipes={"image.web": Recipe("r1", (RecipeStep("s1", "FROM scratch", "", {}),))})
    assert Action.BUILD in [change.action for change in diff(built, empty).changes]
    plan = diff(desired, reviving.as_built(empty, desired))
    assert [change.address for change in plan.changes] == ["container.db", "container.web"]
    untagged = desired.stack.resources["image.web"]._replace(fields={"source": {"base": {"kind": "host"}, "steps": []}})
    resources = {**desired.stack.resources, "image.web": untagged}
    named_otherwise = empty._replace(tags={"shop/web:latest": "r2"})
    own = desired._replace(stack=desired.stack._replace(resources=resources))
    assert diff(own, reviving.as_built(named_otherwise, own)).changes == plan.changes


def told(*outcomes: Any) -> list[dict[str, Any]]:
    """Generations from 1 on; a number is a rollback to that one, a negative one a rollback that failed."""
    return [
        {"generation": place, "outcome": "applied" if each > 0 else "failed", "rolled_back_to": abs(each)}
        if isinstance(each, int)
        else {"generation": place, "outcome": each}
        for place, each in enumerate(outcomes, 1)
    ]


@pytest.mark.parametrize(
    ("outcomes", "number", "chosen"),
    [
        (["applied", "applied"], None, 1),
        (["applied", "applied", "failed"], None, 2),
        (["applied", "interrupted"], None, 1),
        (["applied", "failed", "applied"], None, 1),
        (["applied", "applied", "destroyed"], None, 2),
        (["applied", "applied", "applied", 2], None, 1),
        (["applied", "applied", "applied", -2], None, 2),
        (["applied", "applied"], 2, 2),
        (["applied", "failed", "applied"], 2, 2),
        (["applied"], None, 0),
        ([], None, 0),
        (["applied", "applied", 1], None, 0),
        (["applied", "destroyed"], 2, 0),
        (["applied"], 7, 0),
    ],
)
def test_where_a_rollback_goes(outcomes: list[Any], number: int | None, chosen: int) -> None:
    if chosen:
        assert reviving.choose(told(*outcomes), number)["generation"] == chosen
    else:
        with pytest.raises(StackpyError):
            reviving.choose(told(*outcomes), number)


@pytest.mark.parametrize(
    ("kept", "number", "message", "hint"),
    [
        (range(3, 6), 2, "generation 2 is not kept any more", "kept are 3 to 5; `[generations] keep` says how many"),
        (range(3, 6), 6, "there is no generation 6", "kept are 3 to 5"),
        (range(3, 6), 0, "there is no generation 0", "kept are 3 to 5"),
        (range(1, 2), 2, "there is no generation 2", "kept is 1"),
        ((), 1, "there is no generation 1: the stack has no history", "`stackpy ls` lists stacks"),
    ],
)
def test_a_number_of_which_there_is_no_generation(kept: Any, number: int, message: str, hint: str) -> None:
    documents = [{"generation": each, "outcome": "applied"} for each in kept]
    for ask in (reviving.numbered, reviving.choose):
        with pytest.raises(StackpyError) as caught:
            ask(documents, number)
        assert (caught.value.message, caught.value.hint) == (message, hint)


def test_what_only_adopted_something_is_nothing_to_go_back_to() -> None:
    with pytest.raises(StackpyError, match=r"generation 3 has only taken volume\.data into the stack"):
        reviving.revived({"generation": 3, "stack": "s", "outcome": "adopted", "adopted": {"volume.data": "old"}})


DIGEST = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ""),
        ({".git/HEAD": DIGEST}, DIGEST),
        ({".git/HEAD": "ref: refs/heads/main", ".git/refs/heads/main": f"{DIGEST}\n"}, DIGEST),
        ({".git/HEAD": "ref: refs/heads/main", ".git/packed-refs": f"# pack\n{DIGEST} refs/heads/main\n"}, DIGEST),
        ({".git/HEAD": "ref: refs/heads/main"}, ""),
        ({".git/HEAD": "nonsense"}, ""),
        ({".git": "gitdir: elsewhere/w", "elsewhere/w/HEAD": "ref: refs/heads/x", "elsewhere/w/commondir": "../common",
          "elsewhere/common/refs/heads/x": DIGEST}, DIGEST),
    ],
)  # fmt: skip
def test_the_revision_of_a_folder(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "deep").mkdir()
    assert circumstances.revision(str(tmp_path / "deep")) == expected


def test_who_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "mary")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert circumstances.user() == "mary"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert circumstances.user() != "mary"
