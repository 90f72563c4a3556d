"""Which health check a container has."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.host.checks import effective

OWN: Any = {
    "test": ["own"], "interval": 1.0, "timeout": 2.0, "retries": 4, "start_period": 5.0, "start_interval": 6.0,
}  # fmt: skip
DEFAULTS = {"interval": 30.0, "timeout": 30.0, "retries": 3, "start_period": 0.0, "start_interval": 5.0}

CASES: dict[str, tuple[Any, Any, Any]] = {
    "neither has one": ({}, {}, None),
    "its own wins": ({"healthcheck": OWN}, {"Healthcheck": {"Test": ["CMD", "image"]}}, OWN),
    "its own NONE wins": ({"healthcheck": {"test": ["NONE"]}}, {"Healthcheck": {"Test": ["CMD", "image"]}}, None),
    "the image's NONE": ({}, {"Healthcheck": {"Test": ["NONE"]}}, None),
    "an image that says nothing with it": ({}, {"Healthcheck": {"Test": []}}, None),
    "a program": ({}, {"Healthcheck": {"Test": ["CMD", "a", "b"]}}, {"test": ["a", "b"], **DEFAULTS}),
    "a line": (
        {},
        {"Healthcheck": {"Test": ["CMD-SHELL", "a | b"]}},
        {"test": ["/bin/sh", "-c", "a | b"], **DEFAULTS},
    ),
    "a line for the image's shell": (
        {},
        {"Shell": ["/bin/bash", "-ec"], "Healthcheck": {"Test": ["CMD-SHELL", "a"]}},
        {"test": ["/bin/bash", "-ec", "a"], **DEFAULTS},
    ),
    "with everything": (
        {},
        {
            "Healthcheck": {
                "Test": ["CMD", "a"],
                "Interval": 1_500_000_000,
                "Timeout": 2_000_000_000,
                "Retries": 5,
                "StartPeriod": 10_000_000_000,
                "StartInterval": 250_000_000,
            }
        },
        {
            "test": ["a"], "interval": 1.5, "timeout": 2.0, "retries": 5, "start_period": 10.0, "start_interval": 0.25,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_health_check(name: str) -> None:
    config, image, expected = CASES[name]
    assert effective(config, image) == expected
