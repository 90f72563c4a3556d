"""The plan of DESIGN section 6, letter by letter, and what its rendering must never do."""

from __future__ import annotations

import json

from stackpy.planning.plan import Action, Change, Plan, Reason
from stackpy.render.plan_json import plan_json
from stackpy.render.plan_text import plan_text

PLAN = Plan(
    "shop",
    "embedded",
    5,
    (
        Change(
            "image.api",
            Action.BUILD,
            (Reason("steps[3]", "a", "b", "step 4/6 COPY src/ /app/src: src/app.py differs"),),
            note="3 of 6 steps",
        ),
        Change(
            "container.api",
            Action.REPLACE,
            (Reason("image", "a", "b", "its image changes"),),
            depends_on=("image.api",),
            order="start-first",
        ),
        Change("container.web", Action.UPDATE, (Reason("mem_limit", 1 << 28, 1 << 29, "mem_limit 256 MiB → 512 MiB"),)),
        Change("volume.cache", Action.CREATE, (Reason("state", "absent", "present", "it does not exist"),)),
        Change("container.old", Action.DELETE, (Reason("state", "present", "absent", "no longer in stack.py"),)),
        Change(
            "container.db",
            Action.START,
            (Reason("state", "exited", "running", "it exited with 137 four minutes ago"),),
        ),
    ),
)

TEXT = """\
shop on embedded · generation 4 → 5

  ~ container.web           update in place
      mem_limit             256 MiB → 512 MiB
-/+ container.api           replace, start-first           because its image changes
      image.api             step 4/6 COPY src/ → /app/src    src/app.py differs
  + volume.cache            create
  - container.old           delete                         no longer in stack.py
  ! container.db            start                          it exited with 137 four minutes ago
  * image.api               build 3 of 6 steps

Plan: 1 to build, 1 to create, 1 to update, 1 to replace, 1 to start, 1 to delete."""


def test_text_is_the_contract() -> None:
    assert plan_text(PLAN) == TEXT


def test_json_is_the_contract() -> None:
    document = json.loads(plan_json(PLAN))
    assert list(document) == ["format", "stack", "engine", "generation", "changes", "summary"]
    assert {key: document[key] for key in ("format", "stack", "engine", "generation", "summary")} == {
        "format": 1,
        "stack": "shop",
        "engine": "embedded",
        "generation": 5,
        "summary": {"build": 1, "create": 1, "update": 1, "replace": 1, "start": 1, "delete": 1},
    }
    assert document["changes"][:2] == [
        {
            "address": "image.api",
            "action": "build",
            "reasons": [
                {
                    "path": "steps[3]",
                    "old": "a",
                    "new": "b",
                    "sensitive": False,
                    "text": "step 4/6 COPY src/ /app/src: src/app.py differs",
                }
            ],
            "depends_on": [],
        },
        {
            "address": "container.api",
            "action": "replace",
            "order": "start-first",
            "reasons": [
                {"path": "image", "old": "a", "new": "b", "sensitive": False, "text": "its image changes"},
            ],
            "depends_on": ["image.api"],
        },
    ]


def test_nothing_to_change() -> None:
    plan = Plan("shop", "embedded", 4, (), ("volume.data is kept",))
    assert plan_text(plan) == "shop on embedded · generation 4 · nothing to change\n\n  volume.data is kept"
    assert json.loads(plan_json(plan)) == {
        "format": 1,
        "stack": "shop",
        "engine": "embedded",
        "generation": 4,
        "changes": [],
        "summary": {},
        "notes": ["volume.data is kept"],
    }


def test_a_sensitive_value_is_shown_nowhere() -> None:
    reason = Reason("environment.KEY", "hunter1", "hunter2", "environment.KEY (sensitive): its value changes", True)
    plan = PLAN._replace(changes=(Change("container.web", Action.REPLACE, (reason,), order="stop-first"),))
    assert "hunter" not in plan_text(plan) + plan_json(plan)
    assert plan_text(plan).splitlines()[3] == (
        "      environment.KEY       (sensitive)                    its value changes"
    )


def test_a_value_cannot_write_on_the_terminal() -> None:
    reason = Reason("environment.A", "x", "\x1b[2J\u202e\n", "")
    plan = PLAN._replace(changes=(Change("container.web", Action.REPLACE, (reason,)),), notes=("a\x1bb",))
    assert plan_text(plan).splitlines()[3:6] == [r"      environment.A         x → \x1b[2J\u202e\n", "", r"  a\x1bb"]


def test_on_a_narrow_terminal_reasons_stand_beneath() -> None:
    assert plan_text(PLAN, 200) == TEXT
    assert (
        plan_text(PLAN, 80)
        == """\
shop on embedded · generation 4 → 5

  ~ container.web           update in place
      mem_limit             256 MiB → 512 MiB
-/+ container.api           replace, start-first
                            because its image changes
      image.api             step 4/6 COPY src/ → /app/src    src/app.py differs
  + volume.cache            create
  - container.old           delete                         no longer in stack.py
  ! container.db            start
                            it exited with 137 four minutes ago
  * image.api               build 3 of 6 steps

Plan: 1 to build, 1 to create, 1 to update, 1 to replace, 1 to start, 1 to delete."""
    )


def test_colour_changes_nothing_but_symbols() -> None:
    import re

    coloured = plan_text(PLAN, colour=True)
    assert re.sub(r"\x1b\[\d*m", "", coloured) == TEXT
    assert re.findall(r"\x1b\[\d+m(\S+)\x1b\[0m", coloured) == ["~", "-/+", "+", "-", "!", "*"]


def test_long_addresses_move_the_columns() -> None:
    name = "container." + "n" * 40
    reason = Reason("state", "present", "absent", "no longer in stack.py")
    plan = PLAN._replace(changes=(Change(name, Action.DELETE, (reason,)), Change("volume.a", Action.CREATE, ())))
    assert plan_text(plan).splitlines()[2:4] == [
        "  + volume.a" + " " * 44 + "create",
        f"  - {name}  delete" + " " * 25 + "no longer in stack.py",
    ]
