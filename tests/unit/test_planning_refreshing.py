"""`--refresh-only`: what somebody has changed since the last apply, whatever the stack file says now."""

from __future__ import annotations

from typing import Any

from stackpy.planning.refreshing import since_last_apply
from tests.unit.planning import case_files

WEB = {"image": "image.web", "mem_limit": 1 << 20, "networks": {"back": {"aliases": []}}}
CASE: dict[str, Any] = {
    "desired": {
        "image.web": {},
        "container.web": {**WEB, "mem_limit": 5 << 20},
        "container.new": {"image": "image.web"},
    },
    "before": {"network.back": {}, "container.web": WEB, "secret.key": {"source": {"env": "X"}}},
    "secrets_before": {"key": "f"},
    "recipes": {"image.web": ["FROM host", "COPY x"]},
    "recipes_before": {"image.web": ["FROM host"]},
}


def drift(**tables: Any) -> list[tuple[str, str, list[str]]]:
    case = {**CASE, **tables}
    plan = since_last_apply(case_files.observation(case), case_files.desired(case).stack)
    return [(change.address, change.action.word, [reason.text for reason in change.reasons]) for change in plan.changes]


def test_what_the_stack_file_says_otherwise_is_no_drift() -> None:
    assert drift() == []
    # an image that is used as its registry has it was never built
    assert drift(recipes_before={}) == []


def test_what_was_done_by_hand_is() -> None:
    assert drift(live={"container.web": {"mem_limit": 9 << 20}}) == [
        ("container.web", "update", ["mem_limit 9 MiB → 1 MiB"])
    ]
    stopped = {"container.web": [{"index": 1, "status": "exited", "exit_code": 137}]}
    assert drift(replicas=stopped) == [("container.web", "start", ["it exited with 137"])]


def test_drift_names_no_snapshot_that_its_mending_would_take() -> None:
    """Of a volume whose writer differs in what only another container can have."""
    writer = {**WEB, "user": "2", "volumes": [{"type": "volume", "source": "data", "target": "/data"}]}
    tables: dict[str, Any] = {
        "desired": {"image.web": {}, "volume.data": {"snapshot": True}, "container.web": writer},
        "before": {"volume.data": {"snapshot": True}, "container.web": writer},
        "live": {"container.web": {"user": "1"}},
    }
    case = {**CASE, **tables, "secrets_before": {}}
    (change,) = since_last_apply(case_files.observation(case), case_files.desired(case).stack).changes
    assert (change.action.word, change.snapshots) == ("replace", ())
