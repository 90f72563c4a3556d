"""Every file in cases/ is a case: what is desired and what is, and the plan that follows. A new case is a new file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from stackpy.planning import diff
from stackpy.planning.targeting import Selection
from stackpy.render.plan_text import plan_text

FOLDER = Path(__file__).parent


def _sibling(name: str) -> Any:
    """The tests are no package (import mode importlib), so a module beside this one is loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"planning_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


case_files = _sibling("case_files")


@pytest.mark.parametrize("path", sorted(case_files.FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = case_files.read(path)
    desired, observation = case_files.desired(case), case_files.observation(case)
    selection = Selection(*(tuple(case.get(key, ())) for key in ("targets", "excludes", "replaces")))
    plan = diff(desired, observation, selection)
    assert plan_text(plan) + "\n" == case["plan"]
    if "order" in case:
        assert [change.address for change in plan.changes] == case["order"]
    for address, expected in case.get("depends_on", {}).items():
        assert [list(change.depends_on) for change in plan.changes if change.address == address] == [expected]
    assert diff(desired, observation, selection) == plan
