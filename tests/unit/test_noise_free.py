"""What was applied is no change, in whatever form it is written; of every field, and of any of them together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpy.dsl import container_fields
from stackpy.dsl.specs import StackSpec
from stackpy.planning import Desired, diff
from stackpy.project import load
from tests.field_forms import BEFORE, FORMS, container
from tests.unit.test_engines_schema import noted, observed, recipes

# what needs another container, a file, a kernel or a driver that a test may lack; test_engines_schema.py has most
ELSEWHERE = {
    *"image env_file label_file tmpfs depends_on platform pull_policy replicas entrypoint network_mode pid uts".split(),
    *"device_cgroup_rules learn domainname cgroup cgroup_parent storage_opt runtime memswap_limit privileged".split(),
    *"mem_swappiness oom_kill_disable cpu_period cpu_quota cpu_rt_period cpu_rt_runtime blkio_config".split(),
    *"pre_start post_start update".split(),
}
IMAGE = 'image = Image.scratch().cmd(["true"])\n'


def stack_of(text: str) -> StackSpec:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stack.py").write_text(text)
        return load(folder=folder, name="shop").stack


def changes(before: str, after: str) -> list[Any]:
    """The reasons of what a stack file would change where another was applied."""
    applied, wanted = stack_of(before), stack_of(after)
    images = recipes(wanted)
    fingerprints = {address: "f" for address in wanted.resources if address.startswith("secret.")}
    plan = diff(Desired(wanted, images, fingerprints), observed(noted(applied), images))
    return [(change.address, reason.text) for change in plan.changes for reason in change.reasons]


def test_every_field_is_here_or_said_to_be_elsewhere() -> None:
    assert sorted(set(container_fields.CONTAINER_FIELDS) - set(FORMS) - ELSEWHERE) == []


@pytest.fixture(autouse=True)
def _value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "value")


@pytest.mark.parametrize("field", sorted(FORMS))
def test_no_form_of_a_value_differs_from_another(field: str) -> None:
    for forms in FORMS[field]:
        texts = [BEFORE + IMAGE + container("web", {field: form}) for form in forms]
        for text in texts:
            assert changes(texts[0], text) == [], (field, text)
            assert changes(text, texts[0]) == [], (field, text)


@st.composite
def choices(draw: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Some fields with a value each, in two forms."""
    first, second = {}, {}
    for field in draw(st.lists(st.sampled_from(sorted(FORMS)), unique=True, max_size=12)):
        forms = draw(st.sampled_from(FORMS[field]))
        first[field], second[field] = draw(st.sampled_from(forms)), draw(st.sampled_from(forms))
    return first, second


@settings(max_examples=40, deadline=None)
@given(chosen=choices())
def test_what_was_applied_in_any_form_is_no_change(chosen: tuple[dict[str, str], dict[str, str]]) -> None:
    before, after = (BEFORE + IMAGE + container("web", fields) for fields in chosen)
    assert changes(before, after) == []
