"""What a plan says of outputs: values of the last apply beside those of the next."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.dsl.deferred import Deferred, Wanted
from stackpy.planning.outputs import changed
from stackpy.planning.plan import Plan
from stackpy.render.plan_text import plan_text

PORT = str(Deferred(Wanted("container.web", "port", "80/tcp", 1)))


def said(before: dict[str, Any], now: dict[str, Any], *touched: str, port: int | None = 4711) -> list[str]:
    return [reason.text for reason in changed(before, now, touched, lambda wanted: port)]


@pytest.mark.parametrize(
    ("before", "now", "texts"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": [1, {"b": 2}]}, {"a": (1, {"b": 2})}, []),
        ({"a": 1}, {"a": 2, "b": "x"}, ["a 1 → 2", "b: added, x"]),
        ({"a": 1, "b": None}, {"a": 1}, ["b: removed"]),
        ({"a": 1}, {"a": None}, ["a 1 → (unset)"]),
        ({"db_password": "old"}, {"db_password": "new"}, ["db_password (sensitive): its value changes"]),
        ({"url": "http://a"}, {"url": "http://me:word@a"}, ["url (sensitive): its value changes"]),
    ],
)
def test_what_differs(before: dict[str, Any], now: dict[str, Any], texts: list[str]) -> None:
    assert said(before, now) == texts


def test_the_value_of_a_secret_variable_is_not_shown_whatever_holds_it() -> None:
    [reason] = changed({"line": "a"}, {"line": "b s3cr3t"}, (), lambda wanted: None, ("s3cr3t",))
    assert (reason.old, reason.new, reason.text) == (None, None, "line (sensitive): its value changes")


def test_an_output_that_is_known_to_be_secret_is_not_shown() -> None:
    [reason] = changed({"line": "a"}, {}, (), lambda wanted: None, secret=["line"])
    assert (reason.old, reason.new, reason.text) == (None, None, "line (sensitive): its value changes")


def test_what_is_known_after_the_apply_is_compared_where_the_plan_leaves_it() -> None:
    before = {"url": "http://localhost:4711/"}
    assert said(before, {"url": f"http://localhost:{PORT}/"}) == []
    assert said(before, {"url": f"http://localhost:{PORT}/x"}) == [
        "url http://localhost:4711/ → http://localhost:4711/x"
    ]
    assert said(before, {"url": f"http://localhost:{PORT}/x"}, "container.web") == []
    assert said(before, {"url": f"http://localhost:{PORT}/"}, port=None) == ["url http://localhost:4711/ → (unset)"]


def test_a_plan_of_outputs_alone_makes_no_generation() -> None:
    outputs = changed({"a": "x", "gone": 1}, {"a": "y\x1b[2J"}, (), lambda wanted: None)
    assert plan_text(Plan("shop", "embedded", 4, (), outputs=outputs)) == (
        "shop on embedded · generation 4\n\n"
        "  : output.a                x → y\\x1b[2J\n"
        "  : output.gone             removed\n\n"
        "Plan: 2 outputs to change."
    )
