"""What a spec becomes on the engine must be read back as the same fields, or the planner sees changes no one made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl.specs import Dependency, Spec
from stackpy.engines import labels, translation
from stackpy.problems import Location
from stackpy_runtime import labels as engine_labels
from stackpy_runtime import model

HERE = Location("stack.py", 1)
WORDS = st.text("abcXYZ0189._-/ =", min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,10}", fullmatch=True)
PATHS = st.from_regex(r"/[a-z0-9/]{1,10}", fullmatch=True)
PROBE = {
    "interval": st.floats(0.1, 60),
    "timeout": st.floats(0.1, 60),
    "retries": st.integers(1, 9),
    "start_period": st.floats(0, 60),
    "start_interval": st.floats(0.1, 60),
}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "command": st.lists(WORDS),
    "entrypoint": st.lists(WORDS),
    "environment": st.dictionaries(NAMES, WORDS),
    "labels": st.dictionaries(NAMES.filter(lambda name: not name.startswith("stackpy.")), WORDS, min_size=1),
    "working_dir": PATHS,
    "user": NAMES,
    "hostname": NAMES,
    "stop_signal": st.sampled_from(["SIGTERM", "SIGINT", "9"]),
    "restart": st.sampled_from(["no", "always", "on-failure:3", "unless-stopped"]),
    "mem_limit": st.integers(1, 2**40),
    "memswap_limit": st.integers(-1, 2**40),
    "mem_reservation": st.integers(1, 2**40),
    "mem_swappiness": st.integers(0, 100),
    "oom_kill_disable": st.booleans(),
    "cpus": st.floats(0.01, 64),
    **dict.fromkeys(
        ("cpu_shares", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime"), st.integers(1, 10**6)
    ),
    "cpuset": st.sampled_from(["0", "0-2,4"]),
    "pids_limit": st.integers(-1, 10000),
    "blkio_config": st.fixed_dictionaries(
        {"weight": st.integers(10, 1000)},
        optional={"device_read_bps": st.just([{"path": "/dev/sda", "rate": 5}])},
    ),
    "shm_size": st.integers(4096, 2**40),
    "ulimits": st.dictionaries(st.sampled_from(["core", "nofile"]), st.just({"soft": 1, "hard": 2}), min_size=1),
    "sysctls": st.dictionaries(NAMES, WORDS, min_size=1),
    "oom_score_adj": st.integers(-1000, 1000),
    "init": st.booleans(),
    "group_add": st.lists(NAMES, min_size=1),
    "domainname": NAMES,
    "extra_hosts": st.dictionaries(NAMES, st.lists(st.sampled_from(["::1", "1.2.3.4"]), min_size=1), min_size=1),
    **dict.fromkeys(("dns", "dns_search", "dns_opt"), st.lists(NAMES, min_size=1)),
    "annotations": st.dictionaries(NAMES, WORDS, min_size=1),
    "cgroup_parent": PATHS,
    "runtime": NAMES,
    "cgroup": st.sampled_from(["host", "private"]),
    "storage_opt": st.fixed_dictionaries({"size": st.integers(1 << 20, 2**40)}),
    "networks": st.dictionaries(NAMES, st.fixed_dictionaries({"aliases": st.lists(NAMES)}), min_size=1),
    "ports": st.lists(
        st.fixed_dictionaries(
            {
                "host_ip": st.sampled_from(["127.0.0.1", "0.0.0.0"]),
                "published": st.integers(1, 65535),
                "target": st.integers(1, 65535),
                "protocol": st.sampled_from(["tcp", "udp"]),
            }
        )
    ),
    "volumes": st.lists(
        st.one_of(
            st.fixed_dictionaries(
                {"type": st.just("volume"), "source": NAMES, "target": PATHS, "read_only": st.booleans()}
            ),
            st.fixed_dictionaries(
                {"type": st.just("bind"), "source": PATHS, "target": PATHS, "read_only": st.booleans()},
                optional={"owner": st.sampled_from(["container", "plain"])},
            ),
            st.fixed_dictionaries(
                {"type": st.just("tmpfs"), "source": st.just(""), "target": PATHS, "read_only": st.booleans()},
                optional={
                    "size": st.integers(1, 2**30),
                    "mode": st.integers(0, 0o7777),
                    "uid": st.integers(0, 65535),
                    "executable": st.just(True),
                },
            ),
        )
    ),
    "secrets": st.lists(st.fixed_dictionaries({"secret": NAMES, "target": NAMES})),
    "files": st.dictionaries(
        PATHS, st.fixed_dictionaries({"content": st.just("aGk="), "mode": st.integers(0, 0o7777)}), min_size=1
    ),
    "read_only": st.booleans(),
    "tty": st.booleans(),
    "stdin_open": st.booleans(),
    "cap_add": st.lists(st.sampled_from(["NET_ADMIN", "SYS_PTRACE"])),
    "cap_drop": st.lists(st.sampled_from(["ALL", "CHOWN"])),
    "privileged": st.booleans(),
    "security_opt": st.lists(
        st.sampled_from(["no-new-privileges", "seccomp=unconfined", "label=disable"]), unique=True
    ),
    "devices": st.lists(st.sampled_from(["/dev/a:/dev/a:rwm", "/dev/b:/dev/c:r"]), unique=True),
    "device_cgroup_rules": st.lists(st.sampled_from(["c 1:3 r", "a 7:* rwm"]), unique=True),
    "userns": st.sampled_from(["auto", "host"]),
    "pid": st.sampled_from(["host", "container:other", "service:db"]),
    "ipc": st.sampled_from(["private", "shareable", "none", "host"]),
    "uts": st.just("host"),
    "learn": st.booleans(),
    "stop_grace_period": st.floats(0, 600),
    "healthcheck": st.one_of(
        st.fixed_dictionaries({"test": st.lists(WORDS, min_size=1), **PROBE}),
        st.fixed_dictionaries({"http": st.just("http://localhost/"), **PROBE}, optional={"status": st.just(204)}),
        st.fixed_dictionaries({"tcp": st.integers(1, 65535), **PROBE}),
    ),
    "logging": st.fixed_dictionaries({"max_size": st.integers(1, 2**30)}, optional={"max_file": st.integers(1, 9)}),
}
ALL = st.fixed_dictionaries({"image": st.just("image.web")}, optional=FIELDS)


def configured(stack: str, fields: dict[str, Any], **given: Any) -> dict[str, Any]:
    spec = Spec("container", "web", fields, given.pop("dependencies", ()), HERE)
    options = {"image": "sha256:1", "recipe": "r1", "generation": 4, "fingerprints": {}} | given
    return translation.container_config(stack, spec, 2, **options)


@given(NAMES, ALL)
def test_fields_are_read_back_as_they_were_said(stack: str, fields: dict[str, Any]) -> None:
    config = configured(stack, fields)
    # through JSON, as the engine stores it
    live = translation.container_fields(stack, json.loads(json.dumps(config)))
    assert {key: live.get(key) for key in fields} == fields
    assert set(live) - set(fields) <= {"networks"}, "nothing that was not said, but the default network"
    assert set(config) <= set(model.ContainerConfig.__annotations__), "only what the engine knows"


def test_the_engine_and_the_adapter_mean_the_same_labels() -> None:
    assert (labels.STACK, labels.RESOURCE, labels.REPLICA, labels.GENERATION, labels.SPEC, labels.PREFIX) == (
        engine_labels.STACK,
        engine_labels.RESOURCE,
        engine_labels.REPLICA,
        engine_labels.GENERATION,
        engine_labels.SPEC,
        engine_labels.RESERVED_PREFIX,
    )


def test_a_whole_configuration() -> None:
    fields = {
        "image": "image.web",
        "environment": {"MODE": "fast"},
        "networks": {"back": {"aliases": ["api"]}, "default": {"aliases": []}},
        "ports": [{"host_ip": "", "published": 8080, "target": 80, "protocol": "tcp"}],
        "volumes": [{"type": "volume", "source": "data", "target": "/data", "read_only": False}],
        "secrets": [{"secret": "password", "target": "pw"}],
        "files": {"/etc/app": {"content": "aGk=", "mode": 0o644}},
        "logging": {"max_file": 2},
        "labels": {"tier": "front"},
    }
    config = configured(
        "shop",
        fields,
        fingerprints={"secret.password": "f1", "secret.other": "f2"},
        dependencies=(Dependency("container.db", "healthy"),),
    )
    own = config.pop("labels")
    assert config == {
        "name": "shop-web-2",
        "image": "sha256:1",
        "environment": {"MODE": "fast"},
        "networks": {
            "shop_back": {"aliases": ["web", "shop-web-2", "api"]},
            "shop_default": {"aliases": ["web", "shop-web-2"]},
        },
        "ports": [{"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}],
        "mounts": [{"type": "volume", "source": "shop_data", "target": "/data", "read_only": False}],
        "secrets": [{"secret": "shop_password", "target": "pw"}],
        "files": [{"target": "/etc/app", "content": "aGk=", "mode": 0o644}],
        "log_max_file": 2,
    }
    assert {**own, labels.SPEC: json.loads(own[labels.SPEC])} == {
        "tier": "front",
        labels.STACK: "shop",
        labels.RESOURCE: "container.web",
        labels.REPLICA: "2",
        labels.GENERATION: "4",
        labels.RECIPE: "r1",
        labels.SPEC: fields,
        labels.SCHEMA: "1",
        labels.SECRETS: '{"password":"f1"}',
        labels.DEPENDENCIES: '[["container.db","healthy"]]',
    }
    live = translation.container_fields("shop", {**config, "labels": own})
    assert live["secrets"] == [{"secret": "password", "target": "pw", "fingerprint": "f1"}]
    assert labels.dependencies(own) == (Dependency("container.db", "healthy"),)


@pytest.mark.parametrize("mode", ["none", "host"])
def test_a_network_mode_leaves_no_network(mode: str) -> None:
    assert "networks" not in configured("shop", {"image": "image.web", "network_mode": mode})


@pytest.mark.parametrize("text", ["", "no json", "[]", "null"])
def test_labels_that_somebody_else_wrote_are_empty(text: str) -> None:
    assert labels.load({labels.SPEC: text}, labels.SPEC, {}) == {}
