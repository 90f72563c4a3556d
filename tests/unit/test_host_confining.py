"""What a container is called."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from stackpy_runtime.host.confining import hostname_of


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "0123456789ab"),
        ({"hostname": "box"}, "box"),
        ({"network_mode": "none"}, "0123456789ab"),
        ({"network_mode": "host"}, os.uname().nodename),  # as docker's: what looks its own name up finds it
        ({"network_mode": "host", "hostname": "box"}, "box"),
        ({"uts": "host"}, os.uname().nodename),
    ],
)
def test_host_names(config: dict[str, Any], expected: str) -> None:
    assert hostname_of(cast(Any, None), cast(Any, config), "0123456789abcdef") == expected
