"""Apply, then plan: nothing to change, for every field in some form of it, on the real engine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.field_forms import BEFORE, FORMS, container

pytestmark = pytest.mark.root

IMAGE = 'image = Image.host("sh", "sleep", "true").cmd(["sleep", "1000"]).label(of="image").env(FROM="image")\n'
CONTAINERS = 4


def test_what_was_applied_is_no_change(cli: Cli, tmp_path: Path) -> None:
    chance = random.Random(20261129)
    cli.environment["KEY"] = "value"
    chosen: list[dict[str, str]] = [{} for _ in range(CONTAINERS)]
    for number, field in enumerate(sorted(FORMS)):
        # each field once at least, and twice where it has another value
        for offset, forms in enumerate(FORMS[field][:2]):
            chosen[(number + offset) % CONTAINERS][field] = chance.choice(forms)
    folder = tmp_path / "noise"
    folder.mkdir()
    text = "".join(container(f"c{number}", fields) for number, fields in enumerate(chosen))
    (folder / "stack.py").write_text(BEFORE + IMAGE + text)
    cli("apply", "--yes", "--no-wait", cwd=folder)
    plan = cli.json("plan", cwd=folder)
    assert [(change["address"], change["reasons"]) for change in plan["changes"]] == []
    # and each field in another form
    other = "".join(
        container(
            f"c{number}",
            {field: chance.choice(next(f for f in FORMS[field] if form in f)) for field, form in fields.items()},
        )
        for number, fields in enumerate(chosen)
    )
    (folder / "stack.py").write_text(BEFORE + IMAGE + other)
    plan = cli.json("plan", cwd=folder)
    assert [(change["address"], change["reasons"]) for change in plan["changes"]] == []
