"""Policies: from the stack file, from modules, from stackpy.toml; what they find, and that a broken one denies."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.errors import StackFileError, StackpyError
from stackpy.planning.judging import refuse_denied
from stackpy.planning.plan import Plan, Verdict
from stackpy.testing import load_stack, problems_of

BASE = """\
from stackpy import Container, Image, Stack, policy
image = Image.host("sh").cmd(["sh"])
"""


def verdicts(folder: Path, text: str, toml: str = "") -> list[tuple[str, str, str, str]]:
    (folder / "stack.py").write_text(BASE + text)
    (folder / "stackpy.toml").write_text(toml)
    return [(v.level, v.policy, v.address, v.text) for v in load_stack(str(folder)).plan().verdicts]


def test_a_policy_of_the_stack_file_judges_its_plans(tmp_path: Path) -> None:
    text = """\
@policy
def has_limits(plan):
    for container in plan.containers:
        if "mem_limit" not in container:
            yield container, "has no mem_limit"

@policy(level="warn", name="few")
def count(plan):
    if len(plan.doing("create")) > 1:
        return f"{len(plan.containers)} containers"

Container("web", image=image, mem_limit="64m")
Container("db", image=image)
"""
    assert verdicts(tmp_path, text) == [
        ("deny", "has-limits", "container.db", "has no mem_limit"),
        ("warn", "few", "", "2 containers"),
    ]
    plan = load_stack(str(tmp_path)).plan()
    assert [verdict.place for verdict in plan.verdicts] == ["stack.py:15", ""]
    assert plan.text.splitlines()[-4:-2] == [
        "  warn  few         2 containers",
        "  deny  has-limits  container.db: has no mem_limit (stack.py:15)",
    ]


def test_a_policy_that_fails_denies(tmp_path: Path) -> None:
    text = "@policy(level='warn')\ndef broken(plan):\n    return plan.containers[7]\nContainer('web', image=image)\n"
    [(level, name, _, said)] = verdicts(tmp_path, text)
    assert (level, name, said) == ("deny", "broken", "the policy itself failed: IndexError: list index out of range")
    assert load_stack(str(tmp_path)).plan().verdicts[0].place == "stack.py:5"
    [(level, _, _, said)] = verdicts(tmp_path, "@policy\ndef odd(plan):\n    yield 7\n")
    assert (level, said.partition(":")[0]) == ("deny", "the policy itself failed")
    assert load_stack(str(tmp_path)).plan().verdicts[0].place == "stack.py:3", "where it is defined"


SHIPPED = """\
from stackpy import Volume
from stackpy.policies import *
Stack("shop", policies=[no_privileged_containers, no_unpinned_images.at("warn"), no_public_ports, no_plain_passwords])
Container("a", image="debian:bookworm", privileged=True)
Container("b", image=image, ports=["0.0.0.0:80:80"], environment={"DB_PASSWORD": "x"})
Container("c", image="debian@sha256:" + 64 * "0", ports=["81:80"], network_mode=None)
Container("d", image=image, pid="host")
"""


def test_the_shipped_ones(tmp_path: Path) -> None:
    assert verdicts(tmp_path, SHIPPED) == [
        ("deny", "no-privileged-containers", "container.a", "is privileged"),
        ("deny", "no-privileged-containers", "container.d", 'has pid="host": root inside is root of the host'),
        (
            "warn", "no-unpinned-images", "image.a",
            "stands on debian:bookworm, which is not pinned: `stackpy lock` does it",
        ),
        ("deny", "no-public-ports", "container.b", "publishes port 80 on 0.0.0.0"),
        (
            "deny", "no-plain-passwords", "container.b",
            "has DB_PASSWORD in its environment: make it a Secret, which is a file on tmpfs",
        ),
    ]  # fmt: skip


def test_deleting_data_is_found_in_what_the_plan_does(tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(
        "from stackpy import Stack, Volume\nfrom stackpy.policies import no_deleted_data\n"
        'Stack("shop", policies=[no_deleted_data])\nVolume("data")\n'
    )
    stack = load_stack(str(tmp_path))
    assert stack.destruction().denied == []
    assert stack.destruction(volumes=True).denied == ["no-deleted-data: volume.data would be deleted, with its data"]


def test_stackpy_toml_names_policies_and_decides_their_level(tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text(
        "from stackpy import policy\n@policy\ndef one(plan): return 'first'\n@policy\ndef two(plan): return 'second'\n"
    )
    toml = (
        '[policies]\nwarn = ["house:two"]\n[env.prod.policies]\ndeny = ["house", "stackpy.policies:no_public_ports"]\n'
    )
    assert verdicts(tmp_path, "", toml) == [("warn", "two", "", "second")]
    plan = load_stack(str(tmp_path), environment="prod").plan()
    assert plan.denied == ["one: first", "two: second"]
    # What a stack file imports holds only where it is named.
    assert verdicts(tmp_path, "from house import one\n") == []


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[policies]\ndeny = ["nowhere:x"]\n', "the policy `nowhere:x` cannot be imported: No module named 'nowhere'"),
        ('[policies]\ndeny = ["stackpy.policies:no_ports"]\n', "`stackpy.policies` has no policy `no_ports`"),
        ('[policies]\ndeny = ["os"]\n', "`os` has no policies"),
        ('[policies]\ndeny = "os"\n', "`policies.deny` must be a list of import paths, not"),
        ("[policies]\nforbid = []\n", "unknown setting `policies.forbid`"),
    ],
)
def test_what_is_wrong_with_policies_in_stackpy_toml(tmp_path: Path, toml: str, message: str) -> None:
    (tmp_path / "stack.py").write_text(BASE)
    (tmp_path / "stackpy.toml").write_text(toml)
    [found] = problems_of(str(tmp_path))
    assert found.startswith(message)
    with pytest.raises(StackFileError) as caught:
        load_stack(str(tmp_path))
    assert caught.value.problems[0].location is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy(7)\n", "`policy` is for functions"),
        ('@policy(level="forbid")\ndef x(plan): pass\n', "`level` of `policy`"),
        ('Stack("x", policies=[print])\n', "`policies[0]` of this stack must be a policy"),
    ],
)
def test_wrong_uses_are_reported_at_the_user_s_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "stack.py").write_text(BASE + text)
    [found] = problems_of(str(tmp_path))
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('@policy("warn")\ndef x(plan): pass\n', 'write @policy(level="warn")'),
        (
            'import stackpy.policies as house\nStack("x", policies=[house])\n',
            "name its policies: stackpy.policies.no_privileged_containers, stackpy.policies.no_unpinned_images, ",
        ),
    ],
)
def test_slips_are_told_how_it_is_written(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "stack.py").write_text(BASE + text)
    with pytest.raises(StackFileError) as caught:
        load_stack(str(tmp_path))
    [problem] = caught.value.problems
    assert problem.hint.startswith(hint)


def test_what_is_denied_is_refused() -> None:
    plan = Plan("shop", "embedded", 1, (), (), (), (Verdict("a", "warn", "", "x"),))
    refuse_denied(plan)
    with pytest.raises(StackpyError, match="denied by `b`, `c`: 2 findings, and nothing was changed"):
        refuse_denied(plan._replace(verdicts=(Verdict("b", "deny", "", "x"), Verdict("c", "deny", "", "x"))))
