"""What the build of a stack's image is given besides its source."""

from __future__ import annotations

from typing import Any, cast

import pytest

from stackpy.engines import building


class Values:
    def __init__(self, values: dict[str, bytes]) -> None:
        self.values, self.asked = values, list[str]()

    def get(self, name: str) -> bytes | None:
        self.asked.append(name)
        return self.values.get(name)


class Stack:
    resources = dict.fromkeys(("image.web", "secret.token", "secret.other", "secret.gone"))


def options(values: Values, *steps: dict[str, Any], base: str = "image", **stages: Any) -> dict[str, Any]:
    source = {"base": {"kind": base}, "steps": list(steps), "stages": stages}
    return building.options(source, cast("Any", Stack()), values)


def mounted(*mounts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"instruction": "run", "mounts": list(mounts), **fields}


def test_a_step_is_given_what_it_names_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    values = Values({"token": b"1", "other": b"2", "undeclared": b"3"})
    assert options(values, mounted(), {"instruction": "env", "values": {}}) == {}
    secrets = [{"type": "secret", "id": name} for name in ("token", "token", "gone", "undeclared")]
    assert options(values, mounted(*secrets)) == {"secrets": {"token": b"1"}}
    assert values.asked == ["token", "gone"]
    stage = {"base": {"kind": "scratch"}, "steps": [mounted({"type": "ssh", "id": "default"})]}
    assert options(values, stage=stage) == {"ssh": {"default": "/agent"}}
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert options(values, stage=stage) == {}


def test_a_dockerfile_may_ask_for_each_secret_and_not_for_the_host_s_network() -> None:
    values = Values({"token": b"1", "other": b"2"})
    found = options(values, mounted(network="host"), base="dockerfile")
    assert found["secrets"] == {"token": b"1", "other": b"2"}
    assert "allow" not in found
    assert options(values, mounted(network="host")) == {"allow": ["network.host"]}
    assert options(values, mounted(security="insecure")) == {"allow": ["security.insecure"]}
    allowed = {"base": {"kind": "dockerfile", "allow": ["security.insecure"]}, "steps": []}
    assert options(Values({}), stage=allowed) == {"allow": ["security.insecure"]}
