"""Why each step of an image runs: the first thing that differs from the nearest earlier build."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

from stackpy.planning.plan import Recipe, RecipeStep
from stackpy.planning.reasons import of_recipes
from stackpy.planning.steps import explained, title, turned_out

FROM = ("FROM debian", {"image": "sha256:" + "a" * 64})
COPY = ("COPY src/ /app/", {"src/a.py": "1", "src/b.py": "2", "target": "/app/"})
RUN = ("RUN make", {"argv": "make", "build argument V": "1", "env A": "1"})
LABEL = ("LABEL a=b", {"a": "b"})


def recipe(*steps: tuple[str, Mapping[str, str]], stages: Mapping[str, Recipe] | None = None) -> Recipe:
    """A chain: the ID of a step is all that is before it, and it."""
    made, before = [], ""
    for text, inputs in steps:
        before = hashlib.sha256(f"{before}|{text}{sorted(inputs.items())}".encode()).hexdigest()
        made.append(RecipeStep(before, text, "Dockerfile:1", inputs))
    return Recipe(before, tuple(made), stages or {})


def told(new: Recipe, *earlier: Recipe, without: tuple[int, ...] = ()) -> list[str]:
    """The lines, where all that was built is in the store but for some steps by number."""
    built = {step for each in earlier for step in each.step_ids} - {new.steps[number].id for number in without}
    return [str(each) for each in explained(new, earlier, built)]


def changed(step: tuple[str, Mapping[str, str]], **inputs: str) -> tuple[str, Mapping[str, str]]:
    return step[0], {**step[1], **{name.replace("_", " "): value for name, value in inputs.items()}}


OLD = recipe(FROM, COPY, RUN, LABEL)
BASE = ("FROM debian", {"image": "sha256:" + "b" * 64})

CASES: dict[str, tuple[Recipe, list[str]]] = {
    "nothing": (OLD, ["cached 1/4 FROM debian", "cached 2/4 COPY src/ /app/", "cached 3/4 RUN make"]),
    "a file": (
        recipe(FROM, (COPY[0], {**COPY[1], "src/b.py": "3"}), RUN, LABEL),
        ["cached 1/4 FROM debian", "ran    2/4 COPY src/ /app/: src/b.py differs", "ran    3/4 RUN make: step 2 ran"],
    ),
    "files come and go": (
        recipe(FROM, (COPY[0], {"src/a.py": "1", "src/c.py": "2", "target": "/app/"}), RUN, LABEL),
        ["cached 1/4 FROM debian", "ran    2/4 COPY src/ /app/: src/c.py is new and one more"],
    ),
    "a build argument": (
        recipe(FROM, COPY, changed(RUN, argv="make 2", build_argument_V="2"), LABEL),
        ["cached 1/4 FROM debian", "cached 2/4 COPY src/ /app/", "ran    3/4 RUN make: build argument V differs"],
    ),
    "a variable": (
        recipe(FROM, COPY, changed(RUN, env_A="2"), LABEL),
        ["cached 1/4 FROM debian", "cached 2/4 COPY src/ /app/", "ran    3/4 RUN make: the variable A differs"],
    ),
    "the base": (
        recipe(BASE, COPY, RUN, LABEL),
        [
            "cached 1/4 FROM debian",
            "ran    2/4 COPY src/ /app/: the base image differs: sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb",
        ],
    ),
    "another command": (
        recipe(FROM, COPY, ("RUN make all", {**RUN[1], "argv": "make all"}), LABEL),
        ["cached 1/4 FROM debian", "cached 2/4 COPY src/ /app/", "ran    3/4 RUN make all: it was RUN make"],
    ),
    "one more in between": (
        recipe(FROM, ("RUN first", {"argv": "first"}), COPY, RUN, LABEL),
        [
            "cached 1/5 FROM debian",
            "ran    2/5 RUN first: it is new",
            "ran    3/5 COPY src/ /app/: step 2 ran",
            "ran    4/5 RUN make: step 3 ran",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_first_thing_that_differs(name: str) -> None:
    new, lines = CASES[name]
    assert told(new, OLD)[: len(lines)] == lines


def test_without_an_earlier_build() -> None:
    assert told(recipe(FROM, RUN)) == ["cached 1/2 FROM debian", "ran    2/2 RUN make: it was never built"]


def test_what_was_pruned() -> None:
    assert told(OLD, OLD, without=(2,))[2] == "ran    3/4 RUN make: its result is not in the store"


def test_the_nearest_of_several_is_compared_with() -> None:
    other = recipe(BASE, ("RUN other", {"argv": "other"}))
    near = recipe(FROM, COPY, changed(RUN, env_A="9"), LABEL)
    assert told(OLD, other, near)[2] == "ran    3/4 RUN make: the variable A differs"


def test_stages_come_first_and_have_their_names() -> None:
    def image(source: str) -> Recipe:
        stage = recipe(FROM, (COPY[0], {"a.c": source}))
        other = recipe(FROM, ("RUN other", {"argv": "other"}))
        return recipe(
            FROM,
            ("COPY --from=other /y /y", {"from": other.id}),
            ("COPY --from=tool /x /x", {"from": stage.id}),
            stages={"tool": stage, "other": other},
        )

    assert told(image("2"), image("1")) == [
        "cached [tool] 1/2 FROM debian",
        "ran    [tool] 2/2 COPY src/ /app/: a.c differs",
        "cached 1/3 FROM debian",
        "cached 2/3 COPY --from=other /y /y",
        "ran    3/3 COPY --from=tool /x /x: the stage tool differs",
    ]


def test_what_became_of_it_is_told_and_not_what_was_expected() -> None:
    expected = explained(recipe(FROM, changed(COPY, target="/x/"), RUN, LABEL, COPY), [OLD], {OLD.steps[0].id})
    happened = {title(COPY[0], 2, 5): False, title(RUN[0], 3, 5): True, title(LABEL[0], 4, 5): False}
    assert [str(step) for step in turned_out(expected, happened)] == [
        "cached 1/5 FROM debian",
        "ran    2/5 COPY src/ /app/: where it puts them differs",
        "cached 3/5 RUN make",
        "ran    4/5 LABEL a=b: step 3 ran",
    ]


def test_another_image_on_the_same_base_tells_nothing() -> None:
    other = recipe(FROM, ("RUN other", {"argv": "other"}))
    new = recipe(FROM, ("RUN one", {"argv": "one"}))
    ran = "ran    2/2 RUN one: it was"
    assert told(new, other)[1:] == [f"{ran} never built"]
    assert [str(step) for step in explained(new, [], other.step_ids, other)][1:] == [f"{ran} RUN other"]


def test_a_base_that_is_made_is_explained() -> None:
    old = recipe(("FROM host sh", {"sh": "1"}))
    assert told(recipe(("FROM host sh", {"sh": "2"})), old) == ["ran    1/1 FROM host sh: sh differs"]


def test_values_of_build_arguments_are_not_told() -> None:
    new = recipe(FROM, COPY, changed(RUN, build_argument_V="hunter2"), LABEL)
    assert "hunter2" not in "".join(told(new, OLD))


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (changed(COPY, **{"src/a.py": "3"}), "step 2/2 COPY src/ /app/: src/a.py differs"),
        (changed(COPY, mode="0755"), "step 2/2 COPY src/ /app/: its mode is new"),
        (changed(COPY, **{"from": "x"}), "step 2/2 COPY src/ /app/: what it takes files from is new"),
    ],
)
def test_the_reason_of_a_build_has_the_words_of_its_step(step: tuple[str, Mapping[str, str]], text: str) -> None:
    new = recipe(FROM, step)
    assert of_recipes(recipe(FROM, COPY), new, [1]).text == text
    assert told(new, recipe(FROM, COPY))[-1] == f"ran    {text.removeprefix('step ')}"


def test_the_reason_of_a_build_names_the_stage_that_differs() -> None:
    old, new = (
        recipe(FROM, ("COPY --from=tool /x /x", {"from": stage.id}), stages={"tool": stage})
        for stage in (recipe(FROM, (COPY[0], {"a.c": source})) for source in "12")
    )
    assert of_recipes(old, new, [1]).text == "step 2/2 COPY --from=tool /x /x: the stage tool differs"
