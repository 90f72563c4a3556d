"""The one table of fields: for each resource kind, how two values are compared and what a change of one does.

docs/fields.md is printed from it (`python -m stackpy.planning.field_table > docs/fields.md`), the planner decides by
it, and engines carry out by it what is changed in place or at a restart. What is added here is added everywhere.
"""

from __future__ import annotations

from stackpy.planning import forms
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy.dsl.specs import Fields
    from stackpy.planning.forms import Flat

# What a change of a field does to what exists: the words of plans, of their JSON and of the docs.
IN_PLACE, RESTART, REPLACE = "in place", "restart", "replace"


class Difference(NamedTuple):
    """One thing that differs: its path (`environment.MODE`), the live value and the desired one; None: not there.

    policy: what a change of it does
    """

    path: str
    old: Any
    new: Any
    policy: str


class Field(NamedTuple):
    """How a field is compared, and what a change of it does.

    policy: IN_PLACE, RESTART or REPLACE
    closed: keys that only the live side has count too; False where images and engines add keys of their own
    whole: that it comes or goes is one difference, not one for each key
    removed: the policy where a key is taken away, where that is another
    recorded: nothing of the engine's objects follows from it, so that it is compared with what was applied
    by_hand: `stackpy update` sets it, and no image does: that the live side alone has it counts too
    """

    flatten: Callable[[Any], Flat]
    policy: str = REPLACE
    closed: bool = False
    whole: bool = False
    removed: str = ""
    recorded: bool = False
    by_hand: bool = False


_SCALAR = Field(forms.scalar)
_OTHER = Field(forms.other)
_LABELS = Field(forms.labels, IN_PLACE)
_LIMIT = Field(forms.limit, IN_PLACE, by_hand=True)
_AT_START = Field(forms.scalar, RESTART)
_RECORDED_FIELDS: Mapping[str, Field] = {
    "protect": Field(forms.flag, IN_PLACE, recorded=True),
    "ignore_changes": Field(forms.names, IN_PLACE, recorded=True),
}

CONTAINER: Mapping[str, Field] = {
    "command": _SCALAR,
    "entrypoint": _SCALAR,
    "environment": Field(forms.strings),
    "labels": _LABELS,
    "working_dir": _SCALAR,
    "user": _SCALAR,
    "hostname": _SCALAR,
    "stop_signal": Field(forms.signal, IN_PLACE),
    "restart": Field(forms.restart, IN_PLACE, by_hand=True),
    "mem_limit": _LIMIT,
    "memswap_limit": _LIMIT,
    "mem_reservation": _LIMIT,
    "mem_swappiness": Field(forms.scalar, IN_PLACE),
    "oom_kill_disable": Field(forms.flag, IN_PLACE),
    "cpus": _LIMIT,
    "cpu_shares": _LIMIT,
    "cpu_period": _LIMIT,
    "cpu_quota": _LIMIT,
    "cpu_rt_period": _LIMIT,
    "cpu_rt_runtime": _LIMIT,
    "cpuset": Field(forms.scalar, IN_PLACE, by_hand=True),
    "pids_limit": _LIMIT,
    "blkio_config": Field(forms.blkio, IN_PLACE, by_hand=True),
    "shm_size": Field(forms.shared_memory, RESTART),
    "ulimits": Field(forms.ulimits, RESTART),
    "sysctls": Field(forms.strings, RESTART),
    "oom_score_adj": Field(forms.limit, RESTART),
    "init": Field(forms.flag, RESTART),
    "group_add": Field(forms.names, RESTART, closed=True),
    "domainname": _AT_START,
    "extra_hosts": Field(forms.hosts, RESTART, closed=True),
    "dns": _AT_START,
    "dns_search": _AT_START,
    "dns_opt": _AT_START,
    "annotations": Field(forms.strings, IN_PLACE),
    "cgroup_parent": _AT_START,
    "runtime": _SCALAR,
    "cgroup": Field(forms.cgroup),
    "storage_opt": Field(forms.other),
    "networks": Field(forms.networks, IN_PLACE, closed=True),
    "network_mode": _SCALAR,
    "ports": Field(forms.ports, IN_PLACE, closed=True),
    "volumes": Field(forms.volumes),
    "secrets": Field(forms.secrets, closed=True),
    "files": Field(forms.files, IN_PLACE, removed=REPLACE),
    "read_only": Field(forms.flag),
    "tty": Field(forms.flag),
    "stdin_open": Field(forms.flag),
    "cap_add": Field(forms.capabilities, RESTART, closed=True),
    "cap_drop": Field(forms.capabilities, RESTART, closed=True),
    "privileged": Field(forms.flag, RESTART),
    "security_opt": Field(forms.security, RESTART, closed=True),
    "devices": Field(forms.devices, RESTART, closed=True),
    "device_cgroup_rules": Field(lambda value: dict.fromkeys(value, True), RESTART, closed=True),
    "userns": Field(forms.unless("auto"), RESTART),
    "pid": _AT_START,
    "ipc": Field(forms.unless("private"), RESTART),
    "uts": _AT_START,
    "learn": Field(forms.flag, RESTART),
    "stop_grace_period": Field(forms.number, IN_PLACE),
    "healthcheck": Field(forms.healthcheck, IN_PLACE, whole=True),
    "on_unhealthy": Field(forms.unhealthy, IN_PLACE),
    "pre_start": Field(forms.hooks),
    "post_start": Field(forms.hooks),
    "pre_stop": Field(forms.hooks, IN_PLACE),
    "logging": Field(forms.other, IN_PLACE, whole=True),
    **_RECORDED_FIELDS,
}
NETWORK: Mapping[str, Field] = {
    "internal": Field(forms.flag),
    "subnet": _SCALAR,
    "labels": _LABELS,
    **_RECORDED_FIELDS,
}
VOLUME: Mapping[str, Field] = {
    "labels": _LABELS,
    "snapshot": Field(forms.flag, IN_PLACE, recorded=True),
    **_RECORDED_FIELDS,
}
SECRET: Mapping[str, Field] = dict(_RECORDED_FIELDS)

# Compared by what they stand for, not as values: what each is made of and what a change of that does.
APART: Mapping[str, Mapping[str, str]] = {
    "container": {
        "image": REPLACE,
        "replicas": "the missing are made, the last are removed",
        "depends_on": IN_PLACE,
        "pull_policy": "nothing: it says when the registry is asked",
        "update": "nothing: it says how a replica is replaced",
    },
    "job": {"any field": "it runs again"},
    "image": {"its steps": "build", "tags": "build", "publish": "push"},
    "secret": {"its value": "in place, and as `secrets` says in the containers that have it"},
}
_UNCOMPARED = frozenset(APART["container"])
_BY_HAND = frozenset(name for name, field in CONTAINER.items() if field.by_hand)


def with_policy(*policies: str) -> tuple[str, ...]:
    """The names of a container's fields that a change of which has one of these policies."""
    return tuple(name for name, field in CONTAINER.items() if field.policy in policies)


def means_the_same(name: str, one: Any, other: Any) -> bool:
    """Whether two values of a container's field are one, in two forms; None: it is not set."""
    flatten = CONTAINER[name].flatten
    return ({} if one is None else flatten(one)) == ({} if other is None else flatten(other))


def compare(policy: Mapping[str, Field], desired: Fields, live: Fields, applied: Fields) -> list[Difference]:
    """What differs in the fields that the user sets now, had set at the last apply, or has set by hand; the rest is not
    theirs.
    """
    differences: list[Difference] = []
    for name, value in desired.items():
        if name not in _UNCOMPARED and (name not in live or live[name] != value):
            field = policy.get(name, _OTHER)
            now = applied.get(name) if field.recorded else live.get(name)
            _compare_field(differences, name, field, value, now, applied.get(name))
    if applied != desired:
        for name, value in applied.items():
            if name not in desired and name not in _UNCOMPARED:
                field = policy.get(name, _OTHER)
                _compare_field(differences, name, field, None, value if field.recorded else live.get(name), value)
    for name, value in live.items():
        if name in _BY_HAND and name not in desired and name not in applied:
            _compare_field(differences, name, policy.get(name, _OTHER), None, value, None)
    return differences


def _compare_field(into: list[Difference], name: str, field: Field, desired: Any, live: Any, applied: Any) -> None:
    new, old, before = ({} if value is None else field.flatten(value) for value in (desired, live, applied))
    if field.whole and (not old) is not (not new):
        into.append(Difference(name, live or None, desired or None, field.policy))
        return
    keys = [*new, *(key for key in before if key not in new)]
    if field.by_hand and not new and not before:
        keys = list(old)
    if field.closed:
        # the engine gives containers aliases of its own
        keys += [key for key in old if key not in new and key not in before and ".aliases." not in key]
    for key in keys:
        if not _same(old.get(key), new.get(key), name):
            path = f"{name}.{key}" if key else name
            policy = field.removed if field.removed and key not in new else field.policy
            into.append(Difference(path, old.get(key), new.get(key), policy))


def _same(old: Any, new: Any, name: str) -> bool:
    if old == new:
        return True
    if name != "ports" or not old or not new or len(old) != len(new):
        return False
    wild = [binding[:-1] for binding in new if binding.endswith(":*")]
    left = sorted(binding for binding in old if binding not in new)
    if len(left) != len(wild):
        return False
    return all(binding.startswith(prefix) for binding, prefix in zip(left, sorted(wild), strict=True))
