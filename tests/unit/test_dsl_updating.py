"""`update`: its forms, its refusals, and the order that follows from a container's other fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stackpy.dsl.specs import Spec
from stackpy.planning import rollouts
from stackpy.planning.plan import Replica
from stackpy.problems import Location
from tests.unit.stack_files import complaints, container

if TYPE_CHECKING:
    from pathlib import Path

HERE = Location("stack.py", 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('Update(order="start-first", parallelism=0, delay="1m30s")',
         {"order": "start-first", "parallelism": 0, "delay": 90.0}),
        ('{"order": "stop-first", "monitor": 5, "max_failure_ratio": 0.3, "failure_action": "rollback"}',
         {"order": "stop-first", "monitor": 5.0, "max_failure_ratio": 0.3, "failure_action": "rollback"}),
        ("Update()", {}),
        ('{"delay": None}', {}),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, given: str, expected: dict[str, Any]) -> None:
    assert container(tmp_path, f"update={given}").fields["update"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('update=Update(order="first")', "`order` of this update must be `start-first` or `stop-first`"),
        ("update=Update(paralelism=2)", "did you mean `parallelism`?"),
        ('update={"paralelism": 2}', "did you mean `parallelism`?"),
        ('update={"parallelism": -1}', "`update.parallelism` of container `web` must be"),
        ('update={"max_failure_ratio": 30}', "must be a number from 0 to 1, not 30"),
        ('update={"failure_action": "stop"}', "must be `pause`, `continue` or `rollback`"),
        ('update="start-first"', "must be an Update or a mapping"),
        ('update={"order": "start-first"}, network_mode="host"', "cannot be start-first"),
        ('update_config={"order": "start-first"}', "did you mean `update`?"),
    ],
)
def test_refusals(tmp_path: Path, arguments: str, message: str) -> None:
    assert message in complaints(tmp_path, f'Container("web", image="app", {arguments})')


PORT = {"host_ip": "127.0.0.1", "published": 80, "target": 80, "protocol": "tcp"}
WRITTEN = {"type": "volume", "source": "data", "target": "/data"}


@pytest.mark.parametrize(
    ("fields", "live", "order"),
    [
        ({}, {}, "start-first"),
        ({"update": {"order": "stop-first"}}, {}, "stop-first"),
        ({"volumes": [WRITTEN]}, {}, "stop-first"),
        ({"volumes": [WRITTEN], "update": {"order": "start-first"}}, {}, "start-first"),
        ({"volumes": [{**WRITTEN, "read_only": True}]}, {}, "start-first"),
        ({"volumes": [{**WRITTEN, "type": "tmpfs", "source": ""}]}, {}, "start-first"),
        ({"volumes": [{**WRITTEN, "type": "bind", "source": "/srv"}]}, {}, "stop-first"),
        ({"network_mode": "none"}, {}, "start-first"),
        ({"network_mode": "host"}, {}, "stop-first"),
        ({"network_mode": "service:other"}, {}, "stop-first"),
        ({"pid": "service:other"}, {}, "stop-first"),
        ({"ports": [PORT]}, {"ports": [PORT]}, "start-first"),
        ({"ports": [{**PORT, "host_ip": "0.0.0.0"}]}, {"ports": [PORT]}, "stop-first"),
        ({"ports": [{**PORT, "host_ip": "0.0.0.0"}], "update": {"order": "start-first"}}, {"ports": [PORT]},
         "stop-first"),
        ({"ports": [{**PORT, "protocol": "udp"}]}, {"ports": [PORT]}, "start-first"),
    ],
)  # fmt: skip
def test_order(fields: dict[str, Any], live: dict[str, Any], order: str) -> None:
    spec = Spec("container", "web", {"image": "image.a", **fields}, (), HERE)
    replica = Replica(1, "1", "shop-web-1", "running", "", None, 0.0, "r", live, {})
    assert rollouts.order(spec, [replica], {}, cleared=False) == order
    assert rollouts.order(spec, [replica], {}, cleared=True) == "stop-first"


def test_a_container_whose_namespaces_others_share_leaves_first() -> None:
    web = Spec("container", "web", {"image": "image.a", "update": {"order": "start-first"}}, (), HERE)
    side = Spec("container", "side", {"image": "image.a", "network_mode": "service:web"}, (), HERE)
    assert rollouts.order(web, [], {"container.side": side}, cleared=False) == "stop-first"
