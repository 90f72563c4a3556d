"""What `init --from-running` writes of mounts and networks is what the stack file reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpy.dsl import mounts
from stackpy.engines.from_running import written
from tests.unit.stack_files import resources


def running(**config: Any) -> dict[str, Any]:
    return {"name": "web", "image_id": "sha256:1", "config": {"name": "web", "image": "app", **config}}


@pytest.mark.parametrize(
    "mount",
    [
        "/tmp:/a",
        "/tmp:/a:ro,rslave",
        "v:/a:nocopy",
        "v:/a:ro",
        {"type": "volume", "source": "v", "target": "/a", "volume": {"subpath": "b/c", "nocopy": True}},
        {"type": "bind", "source": "/tmp", "target": "/a", "owner": "plain", "bind": {"propagation": "shared"}},
        {"type": "bind", "source": "/tmp", "target": "/a", "read_only": True, "bind": {"recursive": "writable"}},
        {"type": "tmpfs", "target": "/a", "tmpfs": {"size": "1m", "mode": 0o700, "exec": True}},
    ],
)
def test_mounts(tmp_path: Path, mount: Any) -> None:
    asked = mounts.entry(mount)
    volume = {"name": "v", "labels": {}}
    text = written("shop", [running(mounts=[asked])], [], [volume], {"sha256:1": "app"}).text
    found = resources(tmp_path, text)["container.web"].fields["volumes"]
    assert [{**one, "read_only": one.get("read_only", False)} for one in found] == [asked]


def test_places_on_networks(tmp_path: Path) -> None:
    place = {"aliases": ["db"], "ipv4_address": "10.5.0.9", "gw_priority": 2, "interface_name": "lan"}
    network = {"name": "back", "subnet": "10.5.0.0/24", "labels": {}}
    container = running(networks={"back": {**place, "avoid": ["10.5.0.7"]}})
    text = written("shop", [container], [network], [], {"sha256:1": "app"}).text
    assert resources(tmp_path, text)["container.web"].fields["networks"] == {"back": place}
