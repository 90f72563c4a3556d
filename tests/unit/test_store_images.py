"""The index: what it keeps of images and of the build cache, and that all comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound
from stackpy_runtime.store.store import Store
from tests.store_lab import container, image, message, store_fixture

__all__ = ["store_fixture"]


# --- images ---------------------------------------------------------------------------------------------------------


def test_an_image_is_found_by_reference_and_id(store: Store) -> None:
    store.put_image(image("abc1", "web", "reg:5000/web:1"))
    store.put_image(image("abc2", "abc1"))
    by = {text: store.image(text)["id"][7:11] for text in ("web", "web:latest", "reg:5000/web:1", "abc1", "abc2")}
    assert by == {"web": "abc1", "web:latest": "abc1", "reg:5000/web:1": "abc1", "abc1": "abc2", "abc2": "abc2"}
    assert store.image("sha256:abc1")["references"] == ["reg:5000/web:1", "web:latest"]
    with pytest.raises(InvalidConfig) as caught:
        store.image("sha256:abc")
    assert message(caught) == ("several images' IDs begin with `sha256:abc`", "give more of the ID")
    with pytest.raises(NotFound) as missing:
        store.image("nope")
    assert message(missing) == ("no such image: `nope`", "`stackpy image ls` lists the images of this engine")
    store.put_image(image("abc3", "shop/worker"))
    with pytest.raises(NotFound, match="worker") as own:
        store.image("worker")
    assert message(own)[1].startswith("did you mean `shop/worker:latest`? ")


def test_an_id_that_another_begins_with_is_found(store: Store) -> None:
    short: Any = {**image("a"), "id": "sha256:abc"}
    store.put_image(short)
    store.put_image({**image("a"), "id": "sha256:abcd"})
    assert store.image("sha256:abc") == short


def test_putting_an_image_again_replaces_it_and_keeps_its_names(store: Store) -> None:
    store.put_image(image("a", "web"))
    store.put_image(image("b", "other"))
    store.put_image({**image("a", "new"), "size": 7})
    store.put_image(image("c", "other"))
    assert [(i["id"][7:8], i["size"], i["references"]) for i in store.images()] == [
        ("a", 7, ["new:latest", "web:latest"]), ("b", 1, []), ("c", 1, ["other:latest"]),
    ]  # fmt: skip


def test_tagging(store: Store) -> None:
    first, second = image("a", "web"), image("b")
    store.put_image(first)
    store.put_image(second)
    store.tag("web", second["id"])
    assert (store.image("web")["id"], store.image("a")["references"]) == (second["id"], [])
    assert (store.untag("web"), store.untag("web")) == (second["id"], None)
    with pytest.raises(NotFound):
        store.tag("web", "sha256:" + "f" * 64)


def test_all_spellings_of_a_reference_are_one(store: Store) -> None:
    store.put_image(image("a", "docker.io/me/app:1", "web"))
    store.put_image(image("b"))
    for text in ("me/app:1", "docker.io/me/app:1", "index.docker.io/me/app:1", "docker.io/library/web", "library/web"):
        assert store.image(text)["references"] == ["docker.io/me/app:1", "web:latest"]
    store.tag("me/app:1", image("b")["id"])
    assert [i["references"] for i in store.images()] == [["web:latest"], ["me/app:1"]]
    assert store.untag("docker.io/me/app:1") == image("b")["id"]
    assert store.remove_image("docker.io/library/web") == ["untagged: web:latest", f"deleted: {image('a')['id']}"]


def test_removing_by_name_removes_what_has_no_other_name(store: Store) -> None:
    identity = image("a")["id"]
    store.put_image(image("a", "one", "two"))
    assert store.remove_image("one") == ["untagged: one:latest"]
    assert store.remove_image("two") == ["untagged: two:latest", f"deleted: {identity}"]
    assert store.images() == []


def test_removing_by_id_needs_force_for_several_names(store: Store) -> None:
    identity = image("a")["id"]
    store.put_image(image("a", "one", "two"))
    with pytest.raises(Conflict) as caught:
        store.remove_image(identity)
    assert message(caught) == (
        f"image {identity}: it has several references: one:latest, two:latest",
        "remove them one by one, or use --force",
    )
    assert store.remove_image(identity[7:19], force=True) == [
        "untagged: one:latest", "untagged: two:latest", f"deleted: {identity}",
    ]  # fmt: skip


def test_an_image_in_use_stays_and_forced_loses_its_names(store: Store) -> None:
    identity = image("a")["id"]
    store.put_image(image("a", "one", "two", layers=["l1"]))
    store.insert_container(container(1, "web", image_id=identity))
    assert store.remove_image("two") == ["untagged: two:latest"]  # still has a name
    for attempt in (lambda: store.remove_image("one"), lambda: store.remove_image(identity)):
        with pytest.raises(Conflict) as caught:
            attempt()
        assert caught.value.message == "in use by container web"
        assert caught.value.hint == "remove it first: `stackpy rm web`"
    assert store.delete_images([identity], lambda found: True) == []
    assert store.image("one")["references"] == ["one:latest"]
    assert store.remove_image("one", force=True) == ["untagged: one:latest", f"kept: {identity} (used by web)"]
    assert (store.image_users(identity), store.layers_in_use()) == (["web"], {"l1"})
    store.delete_container(f"{1:064x}")
    assert store.remove_image(identity) == [f"deleted: {identity}"]
    assert store.delete_images([identity], lambda found: True) == []


# --- the build cache ------------------------------------------------------------------------------------------------


def test_steps_whose_layer_is_gone_are_not_there(store: Store) -> None:
    (Path(store.root.layers) / "l1").mkdir()
    store.put_step("s1", "l1", {"Env": []})
    store.put_step("s2", "gone", {})
    store.put_step("s3", "", {"x": 1})
    assert store.steps_present(f"s{n}" for n in range(1500)) == {"s1", "s3"}
    assert [store.step(f"s{n}") for n in (1, 2, 3, 4)] == [
        {"layer": "l1", "config": {"Env": []}}, None, {"layer": "", "config": {"x": 1}}, None,
    ]  # fmt: skip
    store.put_step("s3", "l1", {})
    store.put_image(image("a", layers=["l7", "l1"]))
    assert (store.step("s3"), store.layers_in_use()) == ({"layer": "l1", "config": {}}, {"l1", "gone", "l7"})
    store.delete_steps(["s1", "s2", "s9"])
    assert store.steps_present(["s1", "s2", "s3"]) == {"s3"}


def test_recipes_by_key(store: Store) -> None:
    recipe: Any = {"id": "r", "steps": [{"id": "s", "text": "RUN x", "line": "f:1", "inputs": {"argv": "h"}}]}
    for key in ("shop/image.web", "shop/image.db", "shopping/image.web", "a%/x"):
        store.put_recipe(key, recipe)
    store.put_recipe("shop/image.db", {"id": "r2", "steps": []})
    assert store.recipes("shop/") == {"shop/image.db": {"id": "r2", "steps": []}, "shop/image.web": recipe}
    assert (store.recipes("a%"), store.recipe("shop/image.web"), store.recipe("x")) == ({"a%/x": recipe}, recipe, None)
    store.delete_recipe("shop/image.web")
    assert sorted(store.recipes()) == ["a%/x", "shop/image.db", "shopping/image.web"]


# --- what is written is what is read --------------------------------------------------------------------------------

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), documents, max_size=5))
def test_any_document_comes_back(store: Store, payload: dict[str, Any]) -> None:
    store.put_step("s", "", payload)
    assert store.step("s") == {"layer": "", "config": payload}


def test_surrogates_of_file_names_come_back(store: Store) -> None:
    store.put_step("s", "", {"path": "a\udcffb"})
    assert store.step("s") == {"layer": "", "config": {"path": "a\udcffb"}}
    with pytest.raises(EngineError, match="not UTF-8"):
        store.tag("x\udcff", store_image(store))


def store_image(store: Store) -> str:
    store.put_image(image("a"))
    return str(image("a")["id"])
