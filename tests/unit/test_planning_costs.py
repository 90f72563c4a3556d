"""What a plan says of what it takes: what stops, which ports have a gap, how long it was last time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpy.engines import generations
from stackpy.engines.durations import Durations
from stackpy.planning.comparison import diff
from stackpy.planning.costs import costs
from stackpy.planning.plan import Action, Change, Plan, Reason
from tests.unit.planning import case_files

PORTS = [
    {"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"},
    {"host_ip": "0.0.0.0", "published": 53, "target": 53, "protocol": "udp"},
    {"host_ip": "127.0.0.1", "published": 0, "target": 9, "protocol": "tcp"},
]
SHOWN = ("127.0.0.1:8080", "0.0.0.0:53/udp")


def found(change: dict[str, Any], *, replicas: int = 1, update: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """stops, of, gaps, kept of container.web's change."""
    web: dict[str, Any] = {"image": "image.web", "ports": PORTS, "replicas": replicas}
    if update is not None:
        web["update"] = update
    case = {"desired": {"container.web": web}, "before": {"container.web": web}}
    defaults: dict[str, Any] = {"reasons": (Reason("image", "a", "b", "its image changes"),), "order": "stop-first"}
    plan = Plan("shop", "embedded", 2, (Change("container.web", **{**defaults, **change}),))
    specs, observation = case_files.desired(case).stack.resources, case_files.observation(case)
    return [(c.stops, c.of, c.gaps, c.kept, c.seconds) for c in costs(plan, specs, observation, lambda *_: 2.5)]


ANEW = {"reasons": (Reason("state", "running", "running", "container.db is replaced"),), "order": ""}


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        ({"action": Action.REPLACE}, {}, (1, 1, SHOWN, ())),
        ({"action": Action.REPLACE, "order": "start-first"}, {}, (0, 1, (), SHOWN)),
        ({"action": Action.REPLACE}, {"replicas": 3}, (3, 3, (), SHOWN)),
        ({"action": Action.REPLACE}, {"replicas": 3, "update": {"parallelism": 0}}, (3, 3, SHOWN, ())),
        ({"action": Action.REPLACE, "replicas": (2,)}, {"replicas": 3}, (1, 3, (), SHOWN)),
        ({"action": Action.RESTART, **ANEW}, {"replicas": 3}, (3, 3, SHOWN, ())),
        ({"action": Action.RESTART, "order": ""}, {"replicas": 3}, (3, 3, (), SHOWN)),
    ],
)
def test_what_stops_and_which_ports_have_a_gap(
    change: dict[str, Any], options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert found(change, **options) == [(*expected, 2.5)]


@pytest.mark.parametrize("action", [Action.UPDATE, Action.START, Action.CREATE])
def test_what_stops_nothing_costs_nothing(action: Action) -> None:
    assert found({"action": action, "order": ""}) == []


def test_a_network_that_is_made_anew_takes_all_replicas_at_once() -> None:
    web = {"image": "image.web", "networks": {"back": {"aliases": []}}, "ports": PORTS, "replicas": 2}
    case = {
        "desired": {"network.back": {"internal": True}, "container.web": web},
        "before": {"network.back": {"internal": False}, "container.web": web},
    }
    desired, observation = case_files.desired(case), case_files.observation(case)
    [cost] = costs(diff(desired, observation), desired.stack.resources, observation, lambda *_: None)
    assert (cost.stops, cost.gaps, cost.seconds) == (2, SHOWN, None)


def test_the_newest_generation_in_which_it_was_done_tells_how_long_it_took(tmp_path: Path) -> None:
    def keep(number: int, *changes: dict[str, Any]) -> None:
        generations.write(str(tmp_path), "shop", number, {"changes": list(changes)}, keep=10)

    keep(1, {"address": "image.web", "action": "build", "result": "done", "seconds": 9.0})
    keep(2, {"address": "image.web", "action": "build", "result": "done", "seconds": 4.0},
         {"address": "container.web", "action": "replace", "result": "done", "seconds": 1.0})  # fmt: skip
    keep(3, {"address": "image.web", "action": "build", "result": "failed", "seconds": 0.1},
         {"address": "container.web", "action": "create", "result": "done"})  # fmt: skip
    last = Durations(str(tmp_path), "shop").last
    assert last("image.web", "build") == 4.0
    assert last("container.web", "replace") == 1.0
    assert last("container.web", "create") is None
    assert Durations(str(tmp_path), "other").last("image.web", "build") is None
