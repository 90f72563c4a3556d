from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpy.dsl.specs import DEFAULT_PROBE, Dependency, Spec
from tests.unit.stack_files import complaints, container, load_text, resources, write

PROBE = dict(DEFAULT_PROBE)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("command='run --name \"a b\"'", {"command": ["run", "--name", "a b"]}),
        ("command=['a', 'b c']", {"command": ["a", "b c"]}),
        ("command=[]", {"command": []}),
        ("command=''", {"command": []}),
        ("entrypoint='/bin/x -v'", {"entrypoint": ["/bin/x", "-v"]}),
        ("environment={'A': 1, 'B': True, 'C': 1.5, 'D': 'x', 'E': ''}",
         {"environment": {"A": "1", "B": "true", "C": "1.5", "D": "x", "E": ""}}),
        ("environment=['A=1', 'B=x=y', 'C=']", {"environment": {"A": "1", "B": "x=y", "C": ""}}),
        ("labels=['a=1', 'b']", {"labels": {"a": "1", "b": ""}}),
        ("labels={'a': 1, 'b': None}", {"labels": {"a": "1", "b": ""}}),
        ("working_dir='/srv//app/.'", {"working_dir": "/srv/app"}),
        ("user=1000", {"user": "1000"}),
        ("user='www-data:33'", {"user": "www-data:33"}),
        ("hostname='db.local'", {"hostname": "db.local"}),
        ("stop_signal='term'", {"stop_signal": "SIGTERM"}),
        ("stop_signal='SIGRTMIN+3'", {"stop_signal": "SIGRTMIN+3"}),
        ("stop_signal=9", {"stop_signal": "9"}),
        ("stop_grace_period='1m30s'", {"stop_grace_period": 90.0}),
        ("restart='on-failure:3'", {"restart": "on-failure:3"}),
        ("restart='no'", {"restart": "no"}),
        ("mem_limit='1.5gb', cpus='0.5', pids_limit=100",
         {"mem_limit": 3 * 2**29, "cpus": 0.5, "pids_limit": 100}),
        ("mem_limit=0, cpus=0, pids_limit=-1", {}),
        ("mem_limit=None, restart=None, ports=None, networks=None, image='app'", {}),
        ("read_only=True, tty=False, stdin_open=True", {"read_only": True, "tty": False, "stdin_open": True}),
        ("cap_add=['CAP_NET_ADMIN', 'sys_time', 'NET_ADMIN'], cap_drop=['all']",
         {"cap_add": ["NET_ADMIN", "SYS_TIME"], "cap_drop": ["ALL"]}),
        ("logging={'max_size': '10m', 'max_file': 3}", {"logging": {"max_size": 10 * 2**20, "max_file": 3}}),
        ("logging={'driver': 'json-file', 'options': {'max-size': '1m', 'max-file': '2'}}",
         {"logging": {"max_size": 2**20, "max_file": 2}}),
        ("replicas=3", {"replicas": 3}),
        ("ports=['8080:80', '0.0.0.0:53:53/udp', '90']",
         {"ports": [
             {"host_ip": "127.0.0.1", "published": 0, "target": 90, "protocol": "tcp"},
             {"host_ip": "0.0.0.0", "published": 53, "target": 53, "protocol": "udp"},
             {"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}]}),
        ("healthcheck=HealthCheck(['ok'], interval='5s', retries=1)",
         {"healthcheck": {**PROBE, "test": ["ok"], "interval": 5.0, "retries": 1}}),
        ("healthcheck=HealthCheck('ok || exit 1')",
         {"healthcheck": {**PROBE, "test": ["/bin/sh", "-c", "ok || exit 1"]}}),
        ("healthcheck=HealthCheck(http='http://localhost:8000/up', status=204)",
         {"healthcheck": {**PROBE, "http": "http://localhost:8000/up", "status": 204}}),
        ("healthcheck=HealthCheck(tcp=5432, start_period=10)",
         {"healthcheck": {**PROBE, "tcp": 5432, "start_period": 10.0}}),
        ("healthcheck={'test': ['CMD', 'a', 'b'], 'timeout': '3s'}",
         {"healthcheck": {**PROBE, "test": ["a", "b"], "timeout": 3.0}}),
        ("healthcheck={'test': ['CMD-SHELL', 'a | b']}",
         {"healthcheck": {**PROBE, "test": ["/bin/sh", "-c", "a | b"]}}),
        ("healthcheck={'test': 'a | b'}", {"healthcheck": {**PROBE, "test": ["/bin/sh", "-c", "a | b"]}}),
        ("healthcheck={'test': ['NONE']}", {"healthcheck": {"test": ["NONE"]}}),
        ("healthcheck={'test': 'x', 'disable': True}", {"healthcheck": {"test": ["NONE"]}}),
        ("files={'/a': 'x', '/b': b'y', '/c': File(content='z', mode='0600')}",
         {"files": {"/a": {"content": "eA==", "mode": 0o644}, "/b": {"content": "eQ==", "mode": 0o644},
                    "/c": {"content": "eg==", "mode": 0o600}}}),
        ("tmpfs=['/run:size=1m,mode=700', '/a']",
         {"volumes": [
             {"type": "tmpfs", "source": "", "target": "/a", "read_only": False},
             {"type": "tmpfs", "source": "", "target": "/run", "read_only": False, "size": 2**20, "mode": 0o700}]}),
    ],
)  # fmt: skip
def test_fields(tmp_path: Path, argument: str, expected: dict[str, Any]) -> None:
    text = f"Container(**{{'name': 'web', **dict(image='app'), **dict({argument})}})"
    spec = resources(tmp_path, text)["container.web"]
    assert dict(spec.fields) == {"image": "image.web", "networks": {"default": {"aliases": []}}, **expected}


BACKEND = "backend, front, data, key = Network('backend'), Network('front'), Volume('data'), Secret('key', env='K')"


@pytest.mark.parametrize(
    ("argument", "fields", "addresses"),
    [
        ("networks=[backend, 'default']", {"networks": {"backend": {"aliases": []}, "default": {"aliases": []}}},
         ["network.default", "network.backend"]),
        ("networks={'backend': {'aliases': ['a', 'b', 'a']}, front: None}",
         {"networks": {"backend": {"aliases": ["a", "b"]}, "front": {"aliases": []}}},
         ["network.backend", "network.front"]),
        ("network_mode='none'", {"network_mode": "none"}, []),
        ("network_mode='none', volumes={data: '/d'}",
         {"network_mode": "none",
          "volumes": [{"type": "volume", "source": "data", "target": "/d", "read_only": False}]}, ["volume.data"]),
        ("network_mode='none', volumes=['data:/d:ro']",
         {"network_mode": "none",
          "volumes": [{"type": "volume", "source": "data", "target": "/d", "read_only": True}]}, ["volume.data"]),
        ("network_mode='none', volumes=['/var/cache']",
         {"network_mode": "none",
          "volumes": [{"type": "volume", "source": "web-var-cache", "target": "/var/cache", "read_only": False}]},
         ["volume.web-var-cache"]),
        ("network_mode='host', secrets=[key]",
         {"network_mode": "host", "secrets": [{"secret": "key", "target": "key"}]}, ["secret.key"]),
        ("network_mode='host', secrets=['key', {'source': key, 'target': 'other'}]",
         {"network_mode": "host",
          "secrets": [{"secret": "key", "target": "key"}, {"secret": "key", "target": "other"}]}, ["secret.key"]),
    ],
)  # fmt: skip
def test_uses_are_dependencies(tmp_path: Path, argument: str, fields: dict[str, Any], addresses: list[str]) -> None:
    spec = container(tmp_path, argument, BACKEND)
    expected = tuple(Dependency(address, "started") for address in ("image.web", *addresses))
    assert (dict(spec.fields), spec.dependencies) == ({"image": "image.web", **fields}, expected)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("[db]", [("container.db", "started")]),
        ("db", [("container.db", "started")]),
        ("['db', 'migrate']", [("container.db", "started"), ("job.migrate", "started")]),
        ("[db.healthy, migrate.completed]", [("container.db", "healthy"), ("job.migrate", "completed")]),
        ("[db.started, db.completed]", [("container.db", "started"), ("container.db", "completed")]),
        ("{'db': {'condition': 'service_healthy'}, migrate: {'condition': 'service_completed_successfully'}}",
         [("container.db", "healthy"), ("job.migrate", "completed")]),
        ("['later']", [("container.later", "started")]),
    ],
)  # fmt: skip
def test_depends_on(tmp_path: Path, argument: str, expected: list[tuple[str, str]]) -> None:
    text = f"""
db, migrate = Container("db", image="x", network_mode="none"), Job("migrate", image="x", network_mode="none")
Container("web", image="x", network_mode="none", depends_on={argument})
Container("later", image="x", network_mode="none")
"""
    spec = resources(tmp_path, text)["container.web"]
    assert spec.dependencies == (
        Dependency("image.db", "started"),
        *(Dependency(address, condition) for address, condition in expected),  # type: ignore[arg-type]
    )


def test_a_job_has_the_fields_of_a_container_that_ends(tmp_path: Path) -> None:
    spec = resources(tmp_path, 'Job("migrate", image="app", command=["x"], cpus=1, network_mode="none")')["job.migrate"]
    expected = {"image": "image.migrate", "command": ["x"], "cpus": 1.0, "network_mode": "none"}
    assert (spec.kind, dict(spec.fields)) == ("job", expected)


def test_default_network_exists_when_it_is_used(tmp_path: Path) -> None:
    used = resources(tmp_path, 'Container("a", image="x")')
    unused = resources(tmp_path, 'Container("a", image="x", networks=[Network("n")])')
    declared = resources(tmp_path, 'Network("default", internal=True)\nContainer("a", image="x")')
    assert (list(used), list(unused)) == (
        ["image.a", "network.default", "container.a"],
        ["image.a", "network.n", "container.a"],
    )
    assert dict(declared["network.default"].fields) == {"internal": True}


def test_environment_comes_from_files_the_host_and_the_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "host")
    files = {"a.env": "A=a\nB=a\nFROM_HOST\n", "conf/b.env": "B='$b'\nC=b\n"}
    loaded = load_text(
        tmp_path,
        'Container("web", image="x", env_file=["a.env", {"path": "conf/b.env"}], environment={"C": 1, "HOME": None})',
        files,
    )
    home = loaded.stack.resources["container.web"].fields["environment"].pop("HOME")
    assert (home, loaded.stack.resources["container.web"].fields["environment"]) == (
        __import__("os").environ["HOME"],
        {"A": "a", "B": "$b", "FROM_HOST": "host", "C": "1"},
    )
    assert loaded.inputs.variables == ("FROM_HOST", "HOME")
    assert [path.removeprefix(f"{tmp_path}/") for path in loaded.inputs.files] == [
        "stack.py", "a.env", "conf/b.env", "stackpy.lock", "stackpy.toml",
    ]  # fmt: skip


def test_relative_paths_are_relative_to_the_file_that_says_them(tmp_path: Path) -> None:
    parts = "from stackpy import *\nmounts, note = ['./here:/x'], File('note.txt')\n"
    parts += "def make(): return Container('b', image='x', volumes=['./here:/x'], files={'/n': File('note.txt')})\n"
    files = {"parts/web.py": parts, "parts/here/x": "", "here/x": "", "parts/note.txt": "in parts"}
    text = "from parts import web\nweb.make()\nContainer('a', image='x', volumes=web.mounts, files={'/n': web.note})"
    found = resources(tmp_path, text, files)
    sources = {name: found[f"container.{name}"].fields["volumes"][0]["source"] for name in ("a", "b")}
    contents = {name: found[f"container.{name}"].fields["files"]["/n"]["content"] for name in ("a", "b")}
    assert sources == {"a": str(tmp_path / "here"), "b": str(tmp_path / "parts/here")}
    assert contents == {"a": "aW4gcGFydHM=", "b": "aW4gcGFydHM="}


def test_a_local_file_keeps_that_it_may_be_executed(tmp_path: Path) -> None:
    write(tmp_path, {"run.sh": "x"})
    (tmp_path / "run.sh").chmod(0o700)
    spec = container(tmp_path, "files={'/a': File('run.sh'), '/b': File('run.sh', mode=0o600)}")
    assert {target: file["mode"] for target, file in spec.fields["files"].items()} == {"/a": 0o755, "/b": 0o600}


def test_templates_are_rendered_with_what_surrounds_them(tmp_path: Path) -> None:
    files = {"conf/a.j2": "{% include 'conf/part.j2' %}<{{ n }}>\n", "conf/part.j2": "{{ xs | join(', ') }}"}
    text = "Container('web', image='x', files={'/a': template('conf/a.j2', n=1, xs=[1, 2]), "
    text += "'/b': File(template('conf/a.j2', n='&', xs=[]), mode=0o600)})"
    loaded = load_text(tmp_path, text, files)
    assert loaded.stack.resources["container.web"].fields["files"] == {
        "/a": {"content": "MSwgMjwxPgo=", "mode": 0o644},
        "/b": {"content": "PCY+Cg==", "mode": 0o600},
    }
    assert str(tmp_path / "conf/part.j2") in loaded.inputs.files


def test_loops_and_functions_are_the_module_system(tmp_path: Path) -> None:
    text = "for n in range(3): Container(f'w{n}', image='x', depends_on=[f'w{n-1}'] if n else None)"
    found = resources(tmp_path, text)
    assert [str(one.address) for one in found.values()] == [
        "image.w0", "network.default", "container.w0", "container.w1", "container.w2",
    ]  # fmt: skip
    assert found["container.w2"].dependencies[-1] == Dependency("container.w1", "started")


@pytest.mark.parametrize("field", ["ports", "replicas", "restart", "healthcheck"])
def test_a_job_has_no_fields_of_what_runs_for_long(tmp_path: Path, field: str) -> None:
    shown = complaints(tmp_path, f"Job('a', image='x', {field}=1)")
    assert shown.splitlines()[0] == f"error: unknown field `{field}` of job `a`"


def test_outside_a_stack_file_the_first_problem_is_raised() -> None:
    from stackpy import Container
    from stackpy.errors import StackFileError

    with pytest.raises(StackFileError) as caught:
        Container("web", image="x", mem_limit="lots")
    assert caught.value.problems[0].location
    assert caught.value.problems[0].location.file == __file__


def test_objects_are_frozen_and_know_their_address() -> None:
    from stackpy import Container, Secret, Volume

    volume, secret = Volume("data"), Secret("key", env="K")
    with pytest.raises(AttributeError):
        volume.name = "other"
    assert (volume.address, secret.path, repr(volume)) == ("volume.data", "/run/secrets/key", 'Volume("data")')
    assert repr(Container("db", image="x").healthy) == "db.healthy"


def test_specs_carry_their_place(tmp_path: Path) -> None:
    spec: Spec = resources(tmp_path, "\n\nVolume('data')")["volume.data"]
    assert (spec.location.file, spec.location.line) == (str(tmp_path / "stack.py"), 4)
