"""`ps --filter` and `events --filter`: which containers and events docker's keys mean."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy.engines import container_filters, event_filters
from tests.unit.fake_engine import container

IMAGES = [
    {"id": "sha256:aa11", "references": ["debian:bookworm"], "layers": ["l1"], "config": {}, "origins": []},
    {"id": "sha256:bb22", "references": ["shop/web:latest"], "layers": ["l1", "l2"], "recipe": "r",
     "config": {"ExposedPorts": {"9000/tcp": {}}}},
    {"id": "sha256:cc33", "references": ["other:1"], "layers": ["l3"], "config": {}},
]  # fmt: skip
NETWORKS = [{"name": "shop_back", "id": "0123456789ab"}]


def made(name: str, image: int, created: str, config: dict[str, Any], **state: Any) -> dict[str, Any]:
    document = container(name, config={"image": IMAGES[image]["references"][0], **config}, **state)  # type: ignore[index]
    return {**document, "image_id": IMAGES[image]["id"], "created": created}


PORTS = [{"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}]
STACK = {"stackpy.stack": "shop", "stackpy.resource": "container.web", "tier": "front"}
CONTAINERS = [
    made("shop-web-1", 1, "2026-01-01", {"labels": STACK, "ports": PORTS, "networks": {"shop_back": {}}},
         health="healthy"),
    made("db", 0, "2026-01-02", {"mounts": [{"type": "volume", "source": "data", "target": "/var/lib/db"}],
                                 "labels": {"tier": "back"}}, status="paused"),
    made("job", 2, "2026-01-03", {"network_mode": "none"}, status="exited", exit_code=3),
    made("job2", 2, "2026-01-04", {"network_mode": "host"}, status="exited", exit_code=0),
]  # fmt: skip
CONTAINERS[0]["id"] = "feed" + "0" * 60
AROUND = container_filters.Surroundings(CONTAINERS, lambda: IMAGES, lambda: NETWORKS)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], "shop-web-1 db job job2"),
        ([("name", "job")], "job job2"),
        ([("name", "^/job$")], "job"),
        ([("name", "web"), ("name", "db")], "shop-web-1 db"),
        ([("name", "job"), ("exited", "3")], "job"),
        ([("id", "^feed")], "shop-web-1"),
        ([("status", "paused")], "db"),
        ([("status", "exited"), ("status", "paused")], "db job job2"),
        ([("status", "dead")], ""),
        ([("label", "tier")], "shop-web-1 db"),
        ([("label", "tier=front")], "shop-web-1"),
        ([("label", "tier"), ("label", "stackpy.stack=shop")], "shop-web-1"),
        ([("health", "healthy")], "shop-web-1"),
        ([("health", "none")], "db job job2"),
        ([("network", "shop_back")], "shop-web-1"),
        ([("network", "0123456789")], "shop-web-1"),
        ([("network", "host")], "job2"),
        ([("volume", "data")], "db"),
        ([("volume", "/var/lib/db/")], "db"),
        ([("ancestor", "debian:bookworm")], "shop-web-1 db"),
        ([("ancestor", "shop/web")], "shop-web-1"),
        ([("ancestor", "sha256:cc33")], "job job2"),
        ([("ancestor", "nothing")], ""),
        ([("before", "job")], "shop-web-1 db"),
        ([("since", "db")], "job job2"),
        ([("publish", "8080")], "shop-web-1"),
        ([("publish", "8000-8100/tcp")], "shop-web-1"),
        ([("publish", "8080/udp")], ""),
        ([("expose", "80")], "shop-web-1"),
        ([("expose", "9000/tcp")], "shop-web-1"),
        ([("stack", "shop")], "shop-web-1"),
        ([("resource", "web")], "shop-web-1"),
        ([("resource", "container.web")], "shop-web-1"),
        ([("is-task", "true")], ""),
    ],
)
def test_containers(filters: list[tuple[str, str]], names: str) -> None:
    assert " ".join(each["name"] for each in container_filters.matching(AROUND, filters)) == names


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nmae", "x", "unknown filter `nmae`"),
        ("status", "up", "expected one of created"),
        ("health", "fine", "expected one of starting"),
        ("exited", "zero", "an exit code"),
        ("name", "[", "no regular expression"),
        ("before", "nobody", "no container is called"),
        ("publish", "web", "expected PORT"),
        ("is-task", "maybe", "true or false"),
    ],
)
def test_filters_that_mean_nothing(key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        container_filters.matching(AROUND, [(key, value)])


def event(kind: str, action: str, identity: str, **attributes: str) -> dict[str, Any]:
    return {"Type": kind, "Action": action, "Actor": {"ID": identity, "Attributes": attributes}, "scope": "local"}


EVENTS = [
    event("container", "start", "feed1", name="web", image="shop/web:latest", **{"stackpy.stack": "shop", "a": "b"}),
    event("container", "exec_create: sh -c true", "feed1", name="web", image="shop/web:latest"),
    event("container", "health_status: healthy", "feed1", name="web", image="shop/web:latest"),
    event("image", "tag", "sha256:1", name="shop/web:latest"),
    event("network", "connect", "77aa", name="shop_back", container="feed1"),
    event("volume", "create", "data", driver="local"),
]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        ([("type", "container")], [0, 1, 2]),
        ([("type", "image"), ("type", "volume")], [3, 5]),
        ([("event", "start")], [0]),
        ([("event", "exec_create")], [1]),
        ([("event", "health_status")], [2]),
        ([("event", "health_status: healthy")], [2]),
        ([("container", "web")], [0, 1, 2]),
        ([("container", "feed")], [0, 1, 2]),
        ([("image", "shop/web")], [0, 1, 2, 3]),
        ([("network", "shop_back")], [4]),
        ([("volume", "data")], [5]),
        ([("label", "a=b")], [0]),
        ([("label", "a"), ("label", "c")], []),
        ([("stack", "shop")], [0]),
        ([("type", "daemon")], []),
        ([("node", "x")], []),
        ([("scope", "local")], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_events(filters: list[tuple[str, str]], numbers: list[int]) -> None:
    accepts = event_filters.accepting(filters)
    assert [number for number, each in enumerate(EVENTS) if accepts(each)] == numbers


def test_event_filters_that_mean_nothing() -> None:
    for key, value, message in (("contaner", "x", "unknown filter"), ("type", "box", "expected one of container")):
        with pytest.raises(ValueError, match=message):
            event_filters.accepting([(key, value)])
