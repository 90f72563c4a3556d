"""RUN steps in the real sandbox, through the engine."""

from __future__ import annotations

import os
from typing import Any

import pytest

from stackpy_runtime.errors import ProcessFailed
from stackpy_runtime.store import layers
from tests.build_lab import listing, run, source, step
from tests.engine_lab import IMAGE, Lab

pytestmark = pytest.mark.root

BASE: Any = {"kind": "image", "reference": IMAGE}


def build(lab: Lab, *steps: Any) -> tuple[Any, str]:
    """Builds an image over the lab's; what its steps printed."""
    image = source(*steps, base=BASE)
    told: list[str] = []

    def progress(event: Any) -> None:
        if event["kind"] == "output":
            told.append(event["text"])

    built = lab.engine.build(image, lab.engine.resolve(image), key="", tags=["built"], labels={}, progress=progress)
    return built, "".join(told)


def test_a_step_sees_what_the_recipe_says_and_leaves_what_it_made(lab: Lab) -> None:
    cached = 'read kept < /c/kept; echo "$kept"; id -u; echo "$MODE $PWD"; mkdir /srv/made; echo 1 > /srv/made/x'
    first, _ = build(lab, run("echo from before > /c/kept", cache=["/c"]))
    built, output = build(
        lab, step("env", values={"MODE": "prod"}), step("workdir", target="/srv"), run(cached, cache=["/c"])
    )
    assert output == "from before\n0\nprod /srv\n"
    store = lab.engine.store
    top = os.open(layers.folder(store.root, built["layers"][-1]), os.O_RDONLY)
    try:
        made = listing(top)
    finally:
        os.close(top)
    assert {path: text for path, text in made.items() if path.startswith("srv")} == {
        "srv": "755 0:0",
        "srv/made": "755 0:0",
        "srv/made/x": "644 0:0 1\n",
    }
    assert first["id"] != built["id"]
    assert lab.run(["cat", "/srv/made/x"], image="built").out == "1\n"


def test_a_step_without_a_network_has_none(lab: Lab) -> None:
    _, output = build(lab, run("cat /proc/net/dev | wc -l", network="none"))
    assert output.split() == ["3"]  # two lines of heads, and loopback


def test_a_failing_step_tells_its_end(lab: Lab) -> None:
    with pytest.raises(ProcessFailed) as caught:
        build(lab, run("echo about to fail; exit 42", 12))
    assert (caught.value.exit_code, caught.value.output) == (42, "about to fail")
    assert caught.value.subject.endswith("(stack.py:12)")
