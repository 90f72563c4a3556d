"""The one table of fields: whole, printed in the docs, and what the engine can carry out."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

from stackpy.dsl import container_fields
from stackpy.engines import translation
from stackpy.engines.translation import config_keys
from stackpy.planning import contents, field_table, fields
from stackpy.planning.plan import Reason
from stackpy_runtime.host import requests
from stackpy_runtime.model import ContainerConfig


def test_every_field_that_a_container_can_have_stands_in_the_table() -> None:
    rows = field_table.rows("container")
    assert sorted(set(container_fields.CONTAINER_FIELDS) - set(rows)) == []
    assert sorted(set(rows) - set(container_fields.CONTAINER_FIELDS)) == []


def test_the_page_is_what_the_table_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "fields.md"
    assert page.read_text() == field_table.page(), "run `python -m stackpy.planning.field_table > docs/fields.md`"


def test_the_engine_changes_what_the_table_says_that_it_changes() -> None:
    at_start = set(config_keys(fields.with_policy(fields.RESTART)))
    in_place = set(config_keys(fields.with_policy(fields.IN_PLACE)))
    assert at_start == set(requests.AT_START)
    # Compose has no field for memory nodes
    assert in_place | at_start | {"labels", "cpuset_mems"} == set(requests.UPDATABLE)


def test_the_engine_knows_what_it_is_given() -> None:
    assert set(translation.SAME) - set(get_type_hints(ContainerConfig)) == set()


def test_each_policy_is_a_word_of_the_plan() -> None:
    words = (fields.IN_PLACE, fields.RESTART, fields.REPLACE)
    for table in (fields.CONTAINER, fields.NETWORK, fields.VOLUME, fields.SECRET):
        assert {field.policy for field in table.values()} <= set(words)


def test_what_is_written_live_says_whom_it_tells() -> None:
    fields_ = {
        "files": {"/a": {"on_change": "SIGHUP"}, "/b": {}, "/c": {"on_change": "restart"}},
        "secrets": [{"secret": "s", "target": "s", "on_change": "SIGUSR1"}, {"secret": "t", "target": "t"}],
    }
    paths = ["files./a", "files./a.mode", "files./b", "files./c", "secrets.s", "secrets.t"]
    assert [contents.policy(fields_, path) for path in paths] == [
        "in place", "in place", "in place", "restart", "in place", "in place"
    ]  # fmt: skip
    assert contents.policy({**fields_, "read_only": True}, "files./b") == "restart"
    reasons = [Reason(path, None, None, "", policy=contents.policy(fields_, path)) for path in paths]
    assert contents.signals(fields_, reasons) == ["SIGHUP", "SIGUSR1"]
    assert contents.untold(fields_, reasons) == ["files./b", "secrets.t"]
