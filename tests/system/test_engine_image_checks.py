"""Containers take over the health check of their image, unless they say otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.errors import ProcessFailed
from tests.engine_lab import Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

SECOND = 10**9
PROBE: Any = {"interval": 0.1, "timeout": 5.0, "retries": 1, "start_period": 0.0, "start_interval": 0.1}


def check(line: str) -> Any:
    return {"Healthcheck": {"Test": ["CMD-SHELL", line], "Interval": SECOND // 10, "Retries": 1, "Timeout": SECOND}}


def test_a_container_has_the_health_of_its_image_s_check(lab: Lab) -> None:
    image = lab.image(check("test -e /tmp/ready"))
    name = lab.up(["sh", "-c", "sleep 0.2; touch /tmp/ready; sleep 60"], image=image)
    assert lab.state(name)["health"] in ("starting", "healthy", "unhealthy")
    wait_for(lambda: lab.state(name)["health"] == "healthy", "its health")
    lab.engine.stop(name, 0)
    lab.engine.start(name)
    assert lab.engine.await_state(name, "healthy", 60)["state"]["health"] == "healthy"
    lab.engine.remove(name, force=True)


def test_who_waits_is_told_that_the_image_s_check_fails(lab: Lab) -> None:
    name = lab.up(["sleep", "60"], image=lab.image(check("echo no; exit 1")))
    with pytest.raises(ProcessFailed) as failed:
        lab.engine.await_state(name, "healthy", 60)
    assert failed.value.message.startswith("it is unhealthy")
    lab.engine.remove(name, force=True)


def test_its_own_check_wins_and_none_turns_both_off(lab: Lab) -> None:
    image = lab.image(check("exit 1"))
    own = lab.up(["sleep", "60"], image=image, healthcheck={"test": ["true"], **PROBE})
    none = lab.up(["sleep", "60"], image=image, healthcheck={"test": ["NONE"], **PROBE})
    assert lab.engine.await_state(own, "healthy", 60)["state"]["health"] == "healthy"
    assert lab.engine.await_state(none, "healthy", 60)["state"]["health"] == ""
    for name in (own, none):
        lab.engine.remove(name, force=True)
