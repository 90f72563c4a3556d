"""Fields about the life of a container: hooks, logs, files of variables, what it depends on, its health."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpy.dsl import pulling
from stackpy.dsl.environment import EnvLine, parse_raw
from stackpy.dsl.specs import Dependency
from stackpy.engines import labels, translation
from tests.unit.stack_files import complaints, container, resources


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ('pre_start=["./migrate.sh --all"]', {"pre_start": [{"command": ["./migrate.sh", "--all"]}]}),
        ('post_start=[["a", "b c"], {"command": "x y", "user": 0, "privileged": True}]',
         {"post_start": [{"command": ["a", "b c"]}, {"command": ["x", "y"], "user": "0", "privileged": True}]}),
        ('pre_stop=[{"command": ["x"], "working_dir": "/a/", "environment": ["A=1", "B=$C"], "privileged": False}]',
         {"pre_stop": [{"command": ["x"], "working_dir": "/a", "environment": {"A": "1", "B": "$C"}}]}),
        ('pre_stop=[{"command": "x", "environment": {"A": 1}, "user": None}]',
         {"pre_stop": [{"command": ["x"], "environment": {"A": "1"}}]}),
        ("pre_stop=[]", {"pre_stop": []}),
        ('on_unhealthy="restart"', {"on_unhealthy": "restart"}),
        ('logging={"max_size": "1m"}', {"logging": {"max_size": 1 << 20}}),
        ('logging={"driver": "json-file", "options": {"max-size": "1m", "max-file": "2"}}',
         {"logging": {"max_size": 1 << 20, "max_file": 2}}),
        ('logging={"driver": "none"}', {"logging": {"driver": "none"}}),
        ('logging={"driver": "journald", "options": {"tag": "{{.Name}}/{{ .ID }}", "labels": "a, b"}}',
         {"logging": {"driver": "journald", "tag": "{{.Name}}/{{ .ID }}", "labels": ["a", "b"]}}),
        ('healthcheck={"interval": "5s"}', {"healthcheck": {"interval": 5.0}}),
        ("healthcheck=HealthCheck(retries=5, start_period=1)", {"healthcheck": {"retries": 5, "start_period": 1.0}}),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, arguments: str, fields: dict[str, Any]) -> None:
    spec = container(tmp_path, f'network_mode="none", {arguments}')
    assert dict(spec.fields) == {"image": "image.web", "network_mode": "none", **fields}
    config = translation.container_config("shop", spec, 1, image="sha256:1", recipe="r", generation=1, fingerprints={})
    live = translation.container_fields("shop", config)
    assert {key: live[key] for key in fields} == fields, "what goes out must come back the same"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('pre_start="./x"', "`pre_start` of container `web` must be a list of hooks"),
        ('post_start=[{"user": "root"}]', "`post_start[0]` of container `web` has no `command`"),
        ('post_start=[{"comand": "x"}]', "did you mean `command`?"),
        ('pre_stop=[{"command": "x", "environment": ["A"]}]', "gives `A` no value"),
        ('pre_stop=[{"command": 5}]', "`pre_stop[0].command` of container `web` must be a command"),
        ('on_unhealthy="reboot"', "must be `none`, `restart` or `stop`"),
        ('logging={"driver": "syslog"}', 'must be `local`, `none` or `journald`, not "syslog"'),
        ('logging={"driver": "jornald"}', "did you mean `journald`?"),
        ('logging={"driver": "none", "options": {"max-size": "1m"}}', "the driver `none` keeps nothing"),
        ('logging={"tag": "{{.Nmae}}"}', "has an unknown placeholder `{{.Nmae}}`"),
        ("healthcheck=HealthCheck(status=200)", "asks nothing"),
        ("healthcheck={}", "asks nothing"),
        ('env_file={"path": "a", "formt": "raw"}', "did you mean `format`?"),
        ('env_file={"path": "a", "required": False, "format": "json"}', "must be `raw`"),
        ('env_file="gone.env"', "no such file or folder: `gone.env`"),
        ('label_file="bad.labels"', "`stackpy.` is reserved"),
        ('pull_policy="sometimes"', "must be `always`, `never`"),
        ('pull_policy="every_x"', "must be a time after `every_`"),
        ('pull_policy="build"', "there is nothing to build"),
        ('platform="windows/amd64"', 'must be a platform such as "linux/arm64"'),
        ('depends_on={"web2": {"condition": "service_started", "required": True}}', "no container or job `web2`"),
        ('depends_on={"web2": {"condition": "service_started", "restrt": True}}', "did you mean `restart`?"),
    ],
)
def test_refusals(tmp_path: Path, arguments: str, message: str) -> None:
    files = {"bad.labels": "stackpy.stack=x\n"}
    assert message in complaints(tmp_path, f'Container("web", image="app", {arguments})', files)


def test_pull_policy_and_platform(tmp_path: Path) -> None:
    text = 'Container("web", image="app", platform="arm64", pull_policy="if_not_present", network_mode="none")'
    found = resources(tmp_path, text)
    assert found["image.web"].fields["source"]["base"] == {
        "kind": "image", "reference": "app", "platform": "linux/arm64"
    }  # fmt: skip
    assert found["container.web"].fields["pull_policy"] == "missing"
    for given, message in (
        ('Image("app", platform="linux/amd64"), platform="linux/arm64"', "its image is for linux/amd64"),
        ('Image("app").run("x"), pull_policy="always"', "its image is built"),
        ('Image("app").run("x"), platform="arm64"', "give it to the base"),
    ):
        assert message in complaints(tmp_path, f'Container("web", image={given})')
    assert not complaints(tmp_path, 'Container("web", image=Image("app").run("x"), pull_policy="build")')


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [("always", 0), ("daily", 86400), ("weekly", 604800), ("every_12h", 43200), ("every_1w2d3h", 788400),
     ("missing", None), ("never", None), ("build", None)],
)  # fmt: skip
def test_periods(policy: str, seconds: float | None) -> None:
    assert pulling.period(policy) == seconds


def test_files_of_variables_and_labels(tmp_path: Path) -> None:
    files = {
        "a.env": 'A="x $y"\nB=1\n',
        "raw.env": '# comment\nB="q"\nC= spaced \n',
        "l1": "one=1\ntwo=2\n",
        "l2": 'two="b b"\n',
    }
    spec = container(
        tmp_path,
        'env_file=["a.env", {"path": "raw.env", "format": "raw"}, {"path": "gone.env", "required": False}], '
        'environment={"C": "mine"}, label_file=["l1", "l2"], labels={"one": "mine"}',
        files=files,
    )
    assert spec.fields["environment"] == {"A": "x $y", "B": '"q"', "C": "mine"}
    assert spec.fields["labels"] == {"one": "mine", "two": "b b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=\"x\"\r\nB='y' # z\n", {"A": '"x"', "B": "'y' # z"}),
        ("\ufeff  A=b=c\n\n#x\nEMPTY=\nALONE", {"A": "b=c", "EMPTY": "", "ALONE": None}),
        ("A=$B", {"A": "$B"}),
    ],
)
def test_raw_files(text: str, expected: dict[str, str | None]) -> None:
    assert parse_raw(text) == expected


def test_raw_files_refused() -> None:
    for text, line in (("A=1\nB C=2", 2), ("=x", 1), ("A=\0", 1)):
        with pytest.raises(EnvLine) as caught:
            parse_raw(text)
        assert caught.value.line == line


def test_what_depends_on_says(tmp_path: Path) -> None:
    text = """
db = Container("db", image="x", network_mode="none")
Container("web", image="x", network_mode="none", depends_on={
    db: {"condition": "service_healthy", "restart": True},
    "ghost": {"condition": "service_started", "required": False},
    "late": {"condition": "service_started", "required": False},
})
Container("late", image="x", network_mode="none")
"""
    spec = resources(tmp_path, text)["container.web"]
    expected = (
        Dependency("image.db", "started"),
        Dependency("container.db", "healthy", True),
        Dependency("container.late", "started", False, False),
    )
    assert spec.dependencies == expected
    written = labels.dump_dependencies(expected)
    assert written == (
        '[["image.db","started"],["container.db","healthy",true,true],["container.late","started",false,false]]'
    )
    assert labels.dependencies({labels.DEPENDENCIES: written}) == expected
