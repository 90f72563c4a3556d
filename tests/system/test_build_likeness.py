"""A stage that was made again and came out the same: what takes from it, and what stands on that, is taken as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.model import ImageSource
from stackpy_runtime.store import garbage, layers, pruning
from tests.build_lab import Builder, file, run, source, step

HOST: Any = {"kind": "host", "programs": ["sh", "cat", "mkdir", "touch", "chmod", "chown", "ln", "rm"]}

pytestmark = pytest.mark.root


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    made = Builder(tmp_path / "root")
    yield made
    made.store.close()


def image(script: str, *last: Any, **copying: Any) -> ImageSource:
    """A stage that a script makes, an image that copies of it, and steps on that."""
    taken = {"sources": ["/out"], "target": "/in/", **copying}
    steps = (step("copy", from_stage="made", **taken), run("cat /in/a >/after"), *last)
    return {**source(*steps, base=HOST), "stages": {"made": source(run(script), base=HOST)}}


FIRST = "mkdir -p /out/deep; echo a >/out/a; echo b >/out/deep/b; ln -s a /out/link; chmod 640 /out/a"


def names(builder: Builder) -> list[str]:
    return [text.removeprefix("[made] ").split()[0] for text in builder.ran]


@pytest.mark.parametrize(
    "again",
    [
        f"{FIRST}; echo elsewhere >/elsewhere",
        f"touch -d @1000000000 /x; {FIRST}; touch -d @1000000000 /out/a",
        f"mkdir -p /out/gone; rm -r /out/gone; {FIRST}",
    ],
)
def test_what_comes_out_the_same_is_taken(again: str, builder: Builder) -> None:
    first = builder.build(image(FIRST))
    assert names(builder) == ["FROM", "RUN", "COPY", "RUN"]
    second = builder.build(image(again))
    assert names(builder) == ["RUN"]
    assert second["layers"] == first["layers"] and second["id"] != first["id"]
    # It is known by its own ID from now on, and what is put on it goes on from there.
    builder.build(image(again))
    assert builder.ran == []
    third = builder.build(image(again, file("/more", "x")))
    assert names(builder) == ["FILE"]
    assert third["layers"][: len(first["layers"])] == first["layers"]
    # And so does what is put on the first, since it is the same.
    builder.build(image(FIRST, file("/more", "x")))
    assert builder.ran == []
    builder.build(image(f"{again}; : once more", file("/more", "x")))
    assert names(builder) == ["RUN"]


@pytest.mark.parametrize(
    "other",
    [
        FIRST.replace("echo b", "echo c"),
        f"{FIRST}; chmod 600 /out/a",
        f"{FIRST}; chown 5:6 /out/a",
        f"{FIRST}; touch /out/more",
        f"{FIRST}; rm /out/link; ln -s deep /out/link",
        f"{FIRST}; rm /out/link; touch /out/link",
        f"{FIRST}; mkdir /out/empty",
        f"{FIRST}; chmod 700 /out/deep",
    ],
)
def test_what_differs_is_copied_again(other: str, builder: Builder) -> None:
    builder.build(image(FIRST))
    made = builder.build(image(other))
    assert names(builder) == ["RUN", "COPY", "RUN"]
    fresh = Builder(Path(f"{builder.store.root.path}-fresh"))
    try:
        assert fresh.tree(fresh.build(image(other))) == builder.tree(made)
    finally:
        fresh.store.close()


def test_what_the_copy_changes_does_not_count(builder: Builder) -> None:
    builder.build(image(FIRST, chown="7:8", chmod="755"))
    builder.build(image(f"{FIRST}; chown 5:6 /out/a; chmod 600 /out/deep/b", chown="7:8", chmod="755"))
    assert names(builder) == ["RUN"]
    builder.build(image(f"{FIRST}; : other", chown="7:9", chmod="755"))
    assert names(builder) == ["RUN", "COPY", "RUN"]


def test_it_goes_through_stages_links_and_mounts(builder: Builder) -> None:
    def whole(script: str) -> ImageSource:
        mount: Any = {"type": "bind", "from_stage": "middle", "target": "/m"}
        return {
            **source(
                step("copy", from_stage="middle", sources=["/in/a"], target="/a", link=True),
                run("cat /m/in/a >/b", mounts=[mount]),
                base=HOST,
            ),
            "stages": {
                "made": source(run(script), base=HOST),
                "middle": source(step("copy", from_stage="made", sources=["/out/a"], target="/in/"), base=HOST),
            },
        }

    first = whole(FIRST)
    second = whole(f"{FIRST}; : other")
    for each in (first, second):  # build_lab's RUN shows no trees
        each["steps"] = each["steps"][:1]
    one = builder.build(first)
    two = builder.build(second)
    assert names(builder) == ["RUN"]
    assert one["layers"] == two["layers"]


def test_a_changed_base_of_what_copies_is_no_hit(builder: Builder) -> None:
    def on(below: str, script: str) -> ImageSource:
        made = image(script)
        made["steps"] = [file("/below", below), *made["steps"]]
        return made

    builder.build(on("1", FIRST))
    builder.build(on("2", f"{FIRST}; : other"))
    assert sorted(names(builder)) == ["COPY", "FILE", "RUN", "RUN"]


def test_what_is_pruned_is_made_again(builder: Builder) -> None:
    key = {"key": "shop/image.a"}
    builder.build(image(FIRST), **key)
    again = image(f"{FIRST}; : other")
    made = builder.build(again, **key)
    store, tree = builder.store, builder.tree(made)
    # The index forgets, and the image stays: a layer of another step's name is known by the image alone.
    store.delete_steps(list(store.step_layers().get(made["layers"][-1], [])))
    assert builder.tree(builder.build(again, **key)) == tree
    pruning.images(store, every=True, matches=lambda image: True)
    pruning.cache(store, keep=0, matches=lambda entry: True)
    garbage.collect(store)
    assert not any(layers.exists(store.root, layer) for layer in made["layers"])
    assert builder.tree(builder.build(again, **key)) == tree


def test_no_cache_makes_everything_again(builder: Builder) -> None:
    builder.build(image(FIRST))
    builder.build(image(f"{FIRST}; : other"), options={"no_cache": True})
    assert names(builder) == ["RUN", "COPY", "RUN"]
