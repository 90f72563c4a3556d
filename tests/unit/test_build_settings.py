"""How instructions change an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.build import settings
from tests.build_lab import step

BASE: Any = {
    "Env": ["PATH=/bin", "NAME", "=x", "MODE=dev"],
    "Cmd": ["bash"],
    "WorkingDir": "/srv",
    "Labels": {"a": "1", "stackpy.stack": "evil"},
    "ExposedPorts": {"80/tcp": {}},
}
INHERITED: Any = {**BASE, "Env": ["PATH=/bin", "MODE=dev"], "Labels": {"a": "1"}}

STEPS = {
    "nothing": ([], {}),
    "env": ([step("env", values={"MODE": "prod", "X": "a=b"})], {"Env": ["PATH=/bin", "MODE=prod", "X=a=b"]}),
    "label": ([step("label", values={"b": "2"})], {"Labels": {"a": "1", "b": "2"}}),
    "user": ([step("user", value="app")], {"User": "app"}),
    "workdir": ([step("workdir", target="app")], {"WorkingDir": "/srv/app"}),
    "absolute workdir": ([step("workdir", target="/x/../y/")], {"WorkingDir": "/y/"}),
    "expose": (
        [step("expose", ports=["53/udp", "80"])],
        {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}},
    ),
    "cmd": ([step("cmd", argv=["sh"])], {"Cmd": ["sh"]}),
    "an entrypoint resets the base's command": (
        [step("entrypoint", argv=["run"])],
        {"Entrypoint": ["run"], "Cmd": None},
    ),
    "volume": ([step("volume", targets=["/a", "/b"])], {"Volumes": {"/a": {}, "/b": {}}}),
    "healthcheck": (
        [step("healthcheck", healthcheck={"Test": ["CMD", "x"], "Retries": 2})],
        {"Healthcheck": {"Test": ["CMD", "x"], "Retries": 2}},
    ),
    "stop signal": ([step("stopsignal", value="SIGQUIT")], {"StopSignal": "SIGQUIT"}),
    "shell": ([step("shell", argv=["/bin/bash", "-c"])], {"Shell": ["/bin/bash", "-c"]}),
    "triggers": (
        [step("onbuild", value="RUN a"), step("onbuild", value="RUN b")],
        {"OnBuild": ["RUN a", "RUN b"]},
    ),
    "maintainer": ([step("maintainer", value="me")], {}),
    "and keeps the own": (
        [step("cmd", argv=["x"]), step("entrypoint", argv=["run"])],
        {"Entrypoint": ["run"], "Cmd": ["x"]},
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_configuration(name: str) -> None:
    steps, changed = STEPS[name]
    config, own = settings.inherited({**BASE, "OnBuild": ["RUN gone"]}), False
    for one in steps:
        config = settings.apply(config, one, own)
        own = own or one["instruction"] == "cmd"
    expected = {key: value for key, value in {**INHERITED, **changed}.items() if value is not None}
    assert config == expected


@pytest.mark.parametrize(
    ("working_dir", "target", "expected"),
    [
        ("", "x", "/x"),
        ("", ".", "/"),
        ("", "./", "/"),
        ("/app", ".", "/app/"),
        ("/app", "", "/app/"),
        ("/app", "x/", "/app/x/"),
        ("/app", "../../..", "/"),
        ("/app", "../x/.", "/x/"),
        ("/app", "//etc//x", "/etc/x"),
        ("/app", "/", "/"),
    ],
)
def test_targets(working_dir: str, target: str, expected: str) -> None:
    assert settings.absolute({"WorkingDir": working_dir}, target) == expected
