"""Build steps reach nothing of the host by links in images, caches and contexts.

Rows of the threat list: 2024-1753, 2024-9407, 2024-11218, 2024-23651, 2024-23652.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError, ProcessFailed
from tests.engine_lab import Canary, Lab

pytestmark = pytest.mark.root


def _build(lab: Lab, base: str, *steps: dict[str, Any]) -> None:
    source: Any = {
        "base": {"kind": "image", "reference": base},
        "steps": [{"text": step["instruction"], "line": "stack.py:1", **step} for step in steps],
    }
    recipe = lab.engine.resolve(source)
    lab.engine.build(source, recipe, key="lab/evil", tags=["evil:latest"], labels={}, progress=lambda progress: None)


def test_2024_1753_a_build_step_reaches_nothing_of_the_host(lab: Lab, canary: Canary) -> None:
    def tree(folder: Path) -> None:
        (folder / "cache").symlink_to(canary.folder)
        (folder / "work").symlink_to(canary.folder)
        (folder / str(canary.folder)[1:]).mkdir(parents=True)

    base = lab.image(None, tree)
    run = {"instruction": "run", "network": "none", "argv": ["sh", "-c", "cat /cache/secret; touch /cache/x; id -u"]}
    try:
        _build(lab, base, {**run, "cache": ["/cache"]})
        _build(lab, base, {**run, "cache": ["/cache/deeper"]})
        _build(lab, base, {"instruction": "workdir", "target": "/work/made"}, run)
        _build(lab, base, {"instruction": "file", "target": "/work/made", "content": "eA==", "mode": 0o644}, run)
    except ProcessFailed as error:
        raise AssertionError(error.output) from None
    canary.check()


def test_2024_23652_a_target_replaced_by_a_link_is_not_cleaned_away(lab: Lab, canary: Canary) -> None:
    base = lab.image()
    script = f"rm -rf /cache; mv /cache /moved; ln -sfn {canary.folder} /cache; ln -sfn {canary.folder} /cache/in; true"
    for _ in range(2):
        _build(lab, base, {"instruction": "run", "network": "none", "argv": ["sh", "-c", script], "cache": ["/cache"]})
        canary.check()
    script = f"cat /cache/in/secret; rm -rf /cache/in/*; ls /cache; echo {os.urandom(4).hex()}"
    _build(lab, base, {"instruction": "run", "network": "none", "argv": ["sh", "-c", script], "cache": ["/cache"]})
    canary.check()


def test_2024_1753_copy_from_a_context_does_not_follow_links_out(lab: Lab, canary: Canary, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    (context / "link").symlink_to(canary.folder)
    (context / "sub/file").symlink_to(canary.folder / "secret")
    base = lab.image(None, lambda folder: (folder / "out").symlink_to("/proc/self/root"))
    for sources in (["link/secret"], ["sub/../../canary/secret"], [str(canary.folder / "secret")], ["sub"], ["link"]):
        step = {"instruction": "copy", "sources": sources, "context": str(context), "target": "/copied/"}
        show = {"instruction": "run", "network": "none", "argv": ["sh", "-c", "cat $(ls -d /copied/* /copied/*/*)"]}
        try:
            _build(lab, base, step)
        except EngineError:
            # Refused: as good.
            continue
        shown = lab.shell("cat /copied/* /copied/*/*", image="evil:latest")
        canary.check(shown.out + str(show))
