"""The fields about privileges, devices, security options and shared namespaces, as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stackpy.dsl.specs import Dependency, StackSpec, implied_users
from stackpy.engines.translation import container_config, container_fields
from stackpy.errors import StackFileError
from stackpy.planning import fields as planned
from tests.unit.stack_files import load_text

PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
COMPACT = json.dumps(PROFILE, separators=(",", ":"), sort_keys=True)


def _stack(folder: Path, text: str) -> StackSpec:
    (folder / "profile.json").write_text(json.dumps(PROFILE, indent=2))
    return load_text(folder, text).stack


def _web(folder: Path, arguments: str) -> dict[str, Any]:
    stack = _stack(folder, f'Container("web", image="a", network_mode="none", {arguments})')
    return dict(stack.resources["container.web"].fields)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("privileged=True", {"privileged": True}),
        ("devices=['/dev/fuse']", {"devices": ["/dev/fuse:/dev/fuse:rwm"]}),
        ("devices=['/dev/b:/dev/y:mr', '/dev/a:r']", {"devices": ["/dev/a:/dev/a:r", "/dev/b:/dev/y:rm"]}),
        (
            "devices=[{'source': '/dev/a', 'target': '/dev/b', 'permissions': 'r'}, {'source': '/dev/c'}]",
            {"devices": ["/dev/a:/dev/b:r", "/dev/c:/dev/c:rwm"]},
        ),
        ("device_cgroup_rules=['c 189:* rwm', 'a 7:* m']", {"device_cgroup_rules": ["c 189:* rwm", "a 7:* m"]}),
        ("userns='host'", {"userns": "host"}),
        ("pid='host', uts='host', ipc='host'", {"pid": "host", "uts": "host", "ipc": "host"}),
        ("ipc='shareable', pid='container:other'", {"ipc": "shareable", "pid": "container:other"}),
        (
            "security_opt=['seccomp:unconfined', 'no-new-privileges:true', 'label:disable', 'apparmor=x']",
            {"security_opt": ["apparmor=x", "label=disable", "no-new-privileges", "seccomp=unconfined"]},
        ),
        ("security_opt=['seccomp=profile.json']", {"security_opt": [f"seccomp={COMPACT}"]}),
        ("security_opt=['no-new-privileges=false']", {"security_opt": ["no-new-privileges=false"]}),
        ("security_opt=['systempaths=unconfined']", {"security_opt": ["systempaths=unconfined"]}),
    ],
)
def test_accepted_forms_are_normal_and_come_back_from_the_engine(
    tmp_path: Path, arguments: str, expected: dict[str, Any]
) -> None:
    stack = _stack(tmp_path, f'Container("web", image="a", network_mode="none", {arguments})')
    spec = stack.resources["container.web"]
    assert {key: spec.fields[key] for key in expected} == expected
    config = container_config("s", spec, 1, image="i", recipe="r", generation=1, fingerprints={})
    live = container_fields("s", config)
    assert planned.compare(planned.CONTAINER, spec.fields, live, spec.fields) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("privileged=1", "True or False"),
        ("devices='/dev/a'", "a list of devices"),
        ("devices=['dev/a']", "must be a device"),
        ("devices=['/dev/a:/dev/b:x']", "r, w and m"),
        ("devices=['/dev/a:/../b']", "must be a device"),
        ("devices=['vendor.com/class=gpu0']", "CDI device"),
        ("devices=['/dev/a:/x', '/dev/b:/x']", "another device"),
        ("devices=[{'source': '/dev/a', 'path': '/x'}]", "unknown key `path`"),
        ("device_cgroup_rules=['c 1:3']", "must be a rule"),
        ("device_cgroup_rules=['c 1:3 rwx']", "must be a rule"),
        ("userns='private'", "`auto` or `host`"),
        ("userns_mode='host'", "did you mean `userns`"),
        ("userns='auto', privileged=True", "privileged needs the host's user namespace"),
        ("userns='auto', pid='host'", "needs the host's user namespace"),
        ("pid='private'", "`host`, `service:NAME` or `container:NAME`"),
        ("ipc='sharable'", "did you mean `shareable`"),
        ("uts='private'", "`host`"),
        ("uts='host', hostname='x'", "cannot be used with uts"),
        ("pid='service:nobody'", "no container `nobody`"),
        ("pid='service:web'", "names the container itself"),
        ("security_opt=['seccomp']", "`seccomp=VALUE`"),
        ("security_opt=['seccomp=missing.json']", "missing.json"),
        ("security_opt=['seccomp=stack.py']", "no seccomp profile"),
        ("security_opt=['secomp=unconfined']", "did you mean `seccomp`"),
        ("security_opt=['label=color:red']", "label=disable"),
        ("security_opt=['no-new-privileges:maybe']", "no-new-privileges"),
    ],
)
def test_refused_forms(tmp_path: Path, arguments: str, message: str) -> None:
    with pytest.raises(StackFileError) as caught:
        _web(tmp_path, arguments)
    text = "\n".join(f"{problem.message} {problem.hint}" for problem in caught.value.problems)
    assert message in text


def test_a_shared_namespace_is_a_dependency(tmp_path: Path) -> None:
    stack = _stack(
        tmp_path,
        'db = Container("db", image="a", ipc="shareable", replicas=2)\n'
        'Container("web", image="a", network_mode=db, ipc="service:db", depends_on=[db.healthy], replicas=2)\n'
        'Container("top", image="a", pid="service:db")\n',
    )
    web, top = (stack.resources[f"container.{name}"] for name in ("web", "top"))
    assert (web.fields["network_mode"], web.fields["ipc"]) == ("service:db", "service:db")
    assert [one for one in web.dependencies if one.address == "container.db"] == [
        Dependency("container.db", "healthy", restart=True)
    ]
    assert Dependency("container.db", "started", restart=True) in top.dependencies
    for replica in (1, 2):
        config = container_config("s", web, replica, image="i", recipe="r", generation=1, fingerprints={})
        assert (config["network_mode"], config["ipc"]) == (f"container:s-db-{replica}", f"container:s-db-{replica}")
        live = container_fields("s", config)
        assert planned.compare(planned.CONTAINER, web.fields, live, web.fields) == []


TWO = """
Container("web", image="a", network_mode="service:two")
Container("two", image="a", network_mode="service:web")
"""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('Container("web", image="a", ipc="service:db")', "does not share its memory"),
        ('Container("web", image="a", pid="service:db", replicas=2)', "has fewer replicas"),
        ('Container("web", image="a", network_mode="service:once")', "job `once` ends"),
        ('Container("web", image="a", network_mode="service:db", ports=["80:80"])', "cannot be used with network_mode"),
        ('Container("web", image="a", network_mode="service:db", hostname="x")', "whose name it has"),
        (TWO, "each other"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(StackFileError) as caught:
        _stack(tmp_path, f'Container("db", image="a")\nJob("once", image="a")\n{lines}')
    text = "\n".join(problem.message for problem in caught.value.problems)
    assert message in text or "cycle" in text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"userns": "host"}, ""),
        ({"privileged": True}, "privileged"),
        ({"pid": "host"}, 'pid="host"'),
        ({"ipc": "host"}, 'ipc="host"'),
        ({"pid": "service:db"}, ""),
        ({"device_cgroup_rules": ["c 1:3 r"]}, "device_cgroup_rules"),
        ({"network_mode": "host"}, ""),
        ({"network_mode": "host", "cap_add": ["NET_ADMIN"]}, 'network_mode="host" with NET_ADMIN'),
        ({"cap_add": ["NET_ADMIN"]}, ""),
    ],
)
def test_what_implies_the_hosts_user_namespace(fields: dict[str, Any], expected: str) -> None:
    assert implied_users(fields) == expected
