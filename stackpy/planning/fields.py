"""Which fields there are, how two values of one are compared, and whether a change of it can be made in place.

Each field's value is flattened into {key: comparable value} after normalisation: a scalar has the one key "", a mapping
a key per entry, a list a key per thing that it describes (a port's target, a mount's path). A value that equals the
engine's default flattens to nothing, like an absent one, so that writing a default down changes nothing.
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.specs import DEFAULT_PROBE
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy.dsl.specs import Fields

    Flat = dict[str, Any]


class Difference(NamedTuple):
    """One thing that differs: its path (`environment.MODE`), the live value and the desired one; None: not there.

    in_place, at_start: as of its field
    """

    path: str
    old: Any
    new: Any
    in_place: bool
    at_start: bool = False


class Field(NamedTuple):
    """How a field is compared.

    in_place: a change needs no new container
    at_start: it needs none either, but a restart
    closed: keys that only the live side has count too; False where images and engines add keys of their own
    whole: that it comes or goes is one difference, not one for each key
    """

    flatten: Callable[[Any], Flat]
    in_place: bool = False
    closed: bool = False
    whole: bool = False
    at_start: bool = False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _scalar(value: Any) -> Flat:
    return {"": _plain(value)}


def _number(value: Any) -> Flat:
    return {"": round(float(value), 6)}


def _limit(value: Any) -> Flat:
    """Limits: 0 means none. Six digits are more than any kernel interface keeps."""
    return {"": round(value, 6)} if value else {}


def _flag(value: Any) -> Flat:
    return {"": True} if value else {}


def _restart(value: Any) -> Flat:
    return {} if value in ("no", "") else {"": value}


def _signal(value: Any) -> Flat:
    name = str(value).upper()
    return {"": name if name.startswith("SIG") or name.isdigit() else f"SIG{name}"}


def _strings(value: Any) -> Flat:
    return {str(key): str(entry) for key, entry in value.items()}


def _labels(value: Any) -> Flat:
    return {key: str(entry) for key, entry in value.items() if not key.startswith("stackpy.")}


def _capabilities(value: Any) -> Flat:
    return {str(name).upper().removeprefix("CAP_"): True for name in value}


def _networks(value: Any) -> Flat:
    flat: Flat = {}
    for name, attachment in value.items():
        flat[name] = True
        for alias in (attachment or {}).get("aliases", ()):
            flat[f"{name}.aliases.{alias}"] = True
    return flat


def _ports(value: Any) -> Flat:
    flat: dict[str, list[str]] = {}
    for port in value:
        key = f"{port['target']}/{port.get('protocol') or 'tcp'}"
        # a published port of 0 is chosen by the engine
        flat.setdefault(key, []).append(f"{port.get('host_ip') or '127.0.0.1'}:{port.get('published') or '*'}")
    return {key: sorted(bindings) for key, bindings in flat.items()}


def _volumes(value: Any) -> Flat:
    flat: Flat = {}
    for mount in value:
        kind = mount["type"]
        entry = {"type": kind, "source": "" if kind == "tmpfs" else mount.get("source", "")}
        entry["read_only"] = bool(mount.get("read_only"))
        if kind == "bind":
            entry["owner"] = mount.get("owner") or "container"
        for key in ("size", "mode", "uid", "gid", "executable"):
            if mount.get(key):
                entry[key] = mount[key]
        flat[mount["target"]] = entry
    return flat


def _secrets(value: Any) -> Flat:
    return {mount.get("target") or mount["secret"]: mount["secret"] for mount in value}


def _files(value: Any) -> Flat:
    flat: Flat = {}
    for target, file in value.items():
        flat[target] = file["content"]
        if file.get("mode", 0o644) != 0o644:
            flat[f"{target}.mode"] = file["mode"]
    return flat


def _healthcheck(value: Any) -> Flat:
    if not value:
        return {}
    flat: Flat = {**DEFAULT_PROBE, **{key: _plain(entry) for key, entry in value.items() if entry is not None}}
    return {key: float(entry) if isinstance(entry, int) and key != "tcp" else entry for key, entry in flat.items()}


def _security(value: Any) -> Flat:
    """By option; no_new_privs is what containers have anyway."""
    flat: Flat = {}
    for option in value:
        key, _, given = option.partition("=")
        if key == "label":
            flat[f"label.{given.partition(':')[0]}"] = given
        elif option not in ("no-new-privileges", "seccomp=builtin"):
            flat[key] = given
    return flat


def _devices(value: Any) -> Flat:
    flat: Flat = {}
    for device in value:
        source, target, access = device.split(":")
        flat[target] = source if access == "rwm" else f"{source} ({access})"
    return flat


def _unless(usual: str) -> Callable[[Any], Flat]:
    return lambda value: {} if value == usual else {"": value}


def _unhealthy(value: Any) -> Flat:
    return {} if value == "none" else {"": value}


def _hooks(value: Any) -> Flat:
    return {f"[{index}]": dict(hook) for index, hook in enumerate(value)}


def _blkio(value: Any) -> Flat:
    flat: Flat = {}
    for key, entry in value.items():
        if isinstance(entry, (list, tuple)):
            flat.update({f"{key}[{one['path']}]": one.get("rate", one.get("weight")) for one in entry})
        else:
            flat[key] = entry
    return flat


def _ulimits(value: Any) -> Flat:
    return {
        name: str(ulimit["soft"]) if ulimit["soft"] == ulimit["hard"] else f"{ulimit['soft']}:{ulimit['hard']}"
        for name, ulimit in value.items()
    }


def _shared_memory(value: Any) -> Flat:
    return {} if value == 64 << 20 else {"": value}


def _names(value: Any) -> Flat:
    return {str(name): True for name in value}


def _hosts(value: Any) -> Flat:
    return {name: list(addresses) for name, addresses in value.items()}


def _cgroup(value: Any) -> Flat:
    return {} if value == "private" else {"": value}


def _other(value: Any) -> Flat:
    return dict(value) if isinstance(value, Mapping) else _scalar(value)


_SCALAR = Field(_scalar)
_OTHER = Field(_other)
_LABELS = Field(_labels, in_place=True)
_LIMIT = Field(_limit, in_place=True)
_AT_START = Field(_scalar, at_start=True)

CONTAINER: Mapping[str, Field] = {
    "command": _SCALAR,
    "entrypoint": _SCALAR,
    "environment": Field(_strings),
    "labels": _LABELS,
    "working_dir": _SCALAR,
    "user": _SCALAR,
    "hostname": _SCALAR,
    "stop_signal": Field(_signal, in_place=True),
    "restart": Field(_restart, in_place=True),
    "mem_limit": _LIMIT,
    "memswap_limit": _LIMIT,
    "mem_reservation": _LIMIT,
    "mem_swappiness": Field(_scalar, in_place=True),
    "oom_kill_disable": Field(_flag, in_place=True),
    "cpus": _LIMIT,
    "cpu_shares": _LIMIT,
    "cpu_period": _LIMIT,
    "cpu_quota": _LIMIT,
    "cpu_rt_period": _LIMIT,
    "cpu_rt_runtime": _LIMIT,
    "cpuset": Field(_scalar, in_place=True),
    "pids_limit": _LIMIT,
    "blkio_config": Field(_blkio, in_place=True),
    "shm_size": Field(_shared_memory, at_start=True),
    "ulimits": Field(_ulimits, at_start=True),
    "sysctls": Field(_strings, at_start=True),
    "oom_score_adj": Field(_limit, at_start=True),
    "init": Field(_flag, at_start=True),
    "group_add": Field(_names, closed=True, at_start=True),
    "domainname": _AT_START,
    "extra_hosts": Field(_hosts, closed=True, at_start=True),
    "dns": _AT_START,
    "dns_search": _AT_START,
    "dns_opt": _AT_START,
    "annotations": Field(_strings, in_place=True),
    "cgroup_parent": _AT_START,
    "runtime": _SCALAR,
    "cgroup": Field(_cgroup),
    "storage_opt": Field(_other),
    "networks": Field(_networks, closed=True),
    "network_mode": _SCALAR,
    "ports": Field(_ports, closed=True),
    "volumes": Field(_volumes),
    "secrets": Field(_secrets, closed=True),
    "files": Field(_files),
    "read_only": Field(_flag),
    "tty": Field(_flag),
    "stdin_open": Field(_flag),
    "cap_add": Field(_capabilities, closed=True, at_start=True),
    "cap_drop": Field(_capabilities, closed=True, at_start=True),
    "privileged": Field(_flag, at_start=True),
    "security_opt": Field(_security, closed=True, at_start=True),
    "devices": Field(_devices, closed=True, at_start=True),
    "device_cgroup_rules": Field(lambda value: dict.fromkeys(value, True), closed=True, at_start=True),
    "userns": Field(_unless("auto"), at_start=True),
    "pid": _AT_START,
    "ipc": Field(_unless("private"), at_start=True),
    "uts": _AT_START,
    "learn": Field(_flag, at_start=True),
    "stop_grace_period": Field(_number, in_place=True),
    "healthcheck": Field(_healthcheck, whole=True),
    "on_unhealthy": Field(_unhealthy, in_place=True),
    "pre_start": Field(_hooks),
    "post_start": Field(_hooks),
    "pre_stop": Field(_hooks, in_place=True),
    "logging": Field(_other, whole=True),
}
NETWORK: Mapping[str, Field] = {"internal": Field(_flag), "subnet": _SCALAR, "labels": _LABELS}
VOLUME: Mapping[str, Field] = {"labels": _LABELS}

# compared by what they stand for, not as values: recipe IDs, the replicas that exist, what a registry says
_APART = frozenset({"image", "replicas", "pull_policy"})


def compare(policy: Mapping[str, Field], desired: Fields, live: Fields, applied: Fields) -> list[Difference]:
    """What differs in the fields that the user sets now or had set at the last apply; the rest is not theirs."""
    differences: list[Difference] = []
    for name, value in desired.items():
        if name not in _APART and (name not in live or live[name] != value):
            _compare_field(differences, name, policy.get(name, _OTHER), value, live.get(name), applied.get(name))
    if applied != desired:
        for name, value in applied.items():
            if name not in desired and name not in _APART:
                _compare_field(differences, name, policy.get(name, _OTHER), None, live.get(name), value)
    return differences


def _compare_field(into: list[Difference], name: str, field: Field, desired: Any, live: Any, applied: Any) -> None:
    new, old, before = ({} if value is None else field.flatten(value) for value in (desired, live, applied))
    if field.whole and (not old) is not (not new):
        into.append(Difference(name, live or None, desired or None, field.in_place, field.at_start))
        return
    keys = [*new, *(key for key in before if key not in new)]
    if field.closed:
        # the engine gives containers aliases of its own
        keys += [key for key in old if key not in new and key not in before and ".aliases." not in key]
    for key in keys:
        if not _same(old.get(key), new.get(key), name):
            path = f"{name}.{key}" if key else name
            into.append(Difference(path, old.get(key), new.get(key), field.in_place, field.at_start))


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
