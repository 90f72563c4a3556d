"""Secrets in places where they do not belong stay out of plans, and of what generations keep."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.applying import reviving, unkept
from stackpy.dsl.specs import Spec, StackSpec
from stackpy.errors import StackpyError
from stackpy.planning import Action, Change, Desired, Observation, Observed, Plan, Reason, Recipe, hiding
from stackpy.problems import Location

HERE = Location("stack.py", 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("RUN make", "RUN make"),
        ("ENV A=1 DB_PASSWORD=x B=2", "ENV A=1 DB_PASSWORD=(sensitive) B=2"),
        ('ENV DB_PASSWORD="x y" B="2 3"', 'ENV DB_PASSWORD=(sensitive) B="2 3"'),
        ('ENV DB_PASSWORD="x \\" y" B=2', "ENV DB_PASSWORD=(sensitive) B=2"),
        ("ENV DB_PASSWORD='x y' B=2", "ENV DB_PASSWORD=(sensitive) B=2"),
        ("ENV DB_PASSWORD=x\\ y B=2", "ENV DB_PASSWORD=(sensitive) B=2"),
        ("ENV DB_PASSWORD x y=z", "ENV DB_PASSWORD (sensitive)"),
        ("ENV DB_PASSWORD=the_FILE", "ENV DB_PASSWORD=(sensitive)"),
        ("ENV PASSWORD_FILE=/run/secrets/x", "ENV PASSWORD_FILE=/run/secrets/x"),
        ('LABEL "api.token"="x y" a=b', 'LABEL "api.token"=(sensitive) a=b'),
        ("ARG TOKEN=x", "ARG TOKEN=(sensitive)"),
        ("ARG TOKEN", "ARG TOKEN"),
        ("RUN curl https://u:x@host/y && curl http://host/", "RUN curl https://u:(sensitive)@host/y && curl http://host/"),
        ("RUN echo TOKEN=x", "RUN echo TOKEN=x"),
        ("RUN echo hidden\x1b", "RUN echo (sensitive)\\x1b"),
        ("COPY a b", "COPY a b"),
    ],
)  # fmt: skip
def test_a_step_as_it_is_shown(text: str, shown: str) -> None:
    assert hiding.step(text, ("hidden",)) == shown


def test_what_a_plan_says_of_a_hidden_value() -> None:
    reasons = (
        Reason(
            "environment.PLAIN", "before", "a hidden one", "environment.PLAIN before → a hidden one", policy="replace"
        ),
        Reason("command", ["x"], ["x", "hidden"], "command x → x hidden"),
        Reason("steps[1]", "ENV A=before", "ENV A=hidden", "step 2/2 ENV A=hidden: it was ENV A=before"),
        Reason("mem_limit", 1, 2, "mem_limit 1 → 2"),
    )
    lines = ("cached 1/2 FROM scratch", "ran    2/2 ENV A=hidden: it was ENV A=before")
    change = Change("image.a", Action.BUILD, reasons, steps=lines)
    (shown,) = hiding.without(Plan("s", "e", 2, (change,), notes=("of hidden",)), ("hidden",)).changes
    assert shown.reasons == (
        Reason("environment.PLAIN", None, None, "environment.PLAIN (sensitive): its value changes", True, "replace"),
        Reason("command", None, None, "command (sensitive): its value changes", True),
        Reason("steps[1]", None, None, "step 2/2 ENV A=(sensitive): it differs"),
        reasons[3],
    )
    assert shown.steps == (lines[0], "ran    2/2 ENV A=(sensitive): it differs")


def spec(**fields: Any) -> Spec:
    return Spec("container", "web", {"image": "image.web", **fields}, (), HERE)


FIELDS: dict[str, Any] = {
    "environment": {"MODE": "x", "DB_PASSWORD": "p", "DSN": "pg://u:p@db", "PLAIN": "a hidden one"},
    "labels": {"a": "b", "api.token": "t"},
    "command": ["serve", "pg://u:p@db"],
    "healthcheck": {"test": ["CMD", "hidden"]},
    "files": {"/a": {"content": "YSBoaWRkZW4gb25l"}, "/b": {"content": "YW4gb3BlbiBvbmU="}},
    "mem_limit": 5,
}


def test_what_is_kept_of_a_container_and_comes_back_with_the_values_of_now() -> None:
    kept = unkept.kept(spec(**FIELDS), ("hidden",))
    hidden = unkept.HIDDEN
    assert kept == {
        "image": "image.web",
        "environment": {"MODE": "x", "DB_PASSWORD": hidden, "DSN": hidden, "PLAIN": hidden},
        "labels": {"a": "b", "api.token": hidden},
        "command": hidden,
        "healthcheck": hidden,
        "files": {"/a": hidden, "/b": {"content": "YW4gb3BlbiBvbmU="}},
        "mem_limit": 5,
    }
    wanted = Desired(StackSpec("shop", {"container.web": spec(**kept)}, {}, "/"), {}, {})
    now = {**FIELDS, "environment": {**FIELDS["environment"], "MODE": "y", "DB_PASSWORD": "new"}}
    observed = Observed(
        "container", "web", {}, {key: now[key] for key in ("environment", "labels", "healthcheck", "files")}
    )
    found = Observation("shop", "e", 1, {"container.web": observed}, {}, frozenset(), {})
    file = StackSpec("shop", {"container.web": spec(command=["of the file"])}, {}, "/")
    back, notes = reviving.completed(wanted, found, lambda: file, 3)
    assert back.stack.resources["container.web"].fields == {
        "image": "image.web",
        "environment": {**FIELDS["environment"], "DB_PASSWORD": "new"},
        "labels": FIELDS["labels"],
        "command": ["of the file"],
        "healthcheck": FIELDS["healthcheck"],
        "files": FIELDS["files"],
        "mem_limit": 5,
    }
    paths = (
        "environment.DB_PASSWORD, environment.DSN, environment.PLAIN, labels.api.token, command, healthcheck, files./a"
    )
    assert notes == [f"container.web: {paths} keep their values of now: what may be a secret is in no generation"]
    # the generation that this makes keeps no more of it, though nothing says any more that these are secrets
    (again,) = reviving.kept(back)["resources"]
    assert again[2] == kept
    with pytest.raises(StackpyError, match=r"`command` of container\.web may be a secret") as caught:
        reviving.completed(wanted, found, lambda: None, 3)
    assert "generation 3 cannot be brought back" in caught.value.message


def test_what_is_kept_of_an_image() -> None:
    base = {"kind": "dockerfile", "path": "/x", "args": {"TOKEN": "t"}}
    image = Spec(
        "image", "web", {"source": {"base": base, "steps": [{"env": {"A": "b"}}]}, "tags": ["web:1"]}, (), HERE
    )
    wanted = Desired(StackSpec("shop", {image.address: image}, {}, "/"), {"image.web": Recipe("r", ())}, {})
    assert reviving.kept(wanted)["resources"] == [
        ["image", "web", {"source": {"base": {"kind": "dockerfile"}, "steps": [{}]}, "tags": ["web:1"]}, []]
    ]
