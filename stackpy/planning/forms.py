"""Normal forms of fields: what two spellings of one value have in common.

Each value is flattened into {key: comparable value}: a scalar has the one key "", a mapping a key per entry, a list a
key per thing that it describes (a port's target, a mount's path). A value that equals the engine's default flattens to
nothing, like an absent one, so that writing a default down changes nothing.
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.specs import DEFAULT_PROBE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Flat = dict[str, Any]


def plain(value: Any) -> Any:
    """A list for a tuple."""
    return list(value) if isinstance(value, tuple) else value


def scalar(value: Any) -> Flat:
    """One value."""
    return {"": plain(value)}


def number(value: Any) -> Flat:
    """A number of six digits after the point."""
    return {"": round(float(value), 6)}


def limit(value: Any) -> Flat:
    """Limits: 0 means none. Six digits are more than any kernel interface keeps."""
    return {"": round(value, 6)} if value else {}


def flag(value: Any) -> Flat:
    """True, or nothing."""
    return {"": True} if value else {}


def restart(value: Any) -> Flat:
    """ "no" is nothing."""
    return {} if value in ("no", "") else {"": value}


def signal(value: Any) -> Flat:
    """`SIGTERM` for `term`, `TERM` and 15."""
    name = str(value).upper()
    if name.isdigit():
        from stackpy.dsl.kernel_names import SIGNALS  # few say it by its number

        number = int(name)
        return {"": f"SIG{SIGNALS[number - 1]}" if 1 <= number <= len(SIGNALS) else name}
    return {"": name if name.startswith("SIG") else f"SIG{name}"}


def strings(value: Any) -> Flat:
    """Text by name."""
    return {str(key): str(entry) for key, entry in value.items()}


def labels(value: Any) -> Flat:
    """The labels that are not ours."""
    return {key: str(entry) for key, entry in value.items() if not key.startswith("stackpy.")}


def capabilities(value: Any) -> Flat:
    """Without `CAP_`."""
    return {str(name).upper().removeprefix("CAP_"): True for name in value}


def networks(value: Any) -> Flat:
    """A key per network, per alias and per address that was asked for."""
    flat: Flat = {}
    for name, attachment in value.items():
        flat[name] = True
        for key in ("ipv4_address", "interface_name", "gw_priority"):
            if asked := (attachment or {}).get(key):
                flat[f"{name}.{key}"] = asked
        for alias in (attachment or {}).get("aliases", ()):
            flat[f"{name}.aliases.{alias}"] = True
    return flat


def ports(value: Any) -> Flat:
    """The host's addresses by the container's port."""
    flat: dict[str, list[str]] = {}
    for port in value:
        key = f"{port['target']}/{port.get('protocol') or 'tcp'}"
        # a published port of 0 is chosen by the engine
        flat.setdefault(key, []).append(f"{port.get('host_ip') or '127.0.0.1'}:{port.get('published') or '*'}")
    return {key: sorted(bindings) for key, bindings in flat.items()}


def volumes(value: Any) -> Flat:
    """A key per path in the container."""
    flat: Flat = {}
    for mount in value:
        kind = mount["type"]
        entry = {"type": kind, "source": "" if kind == "tmpfs" else mount.get("source", "")}
        entry["read_only"] = bool(mount.get("read_only"))
        if kind == "bind":
            entry["owner"] = mount.get("owner") or "container"
            if mount.get("propagation", "rprivate") != "rprivate":
                entry["propagation"] = mount["propagation"]
        for key in ("size", "nr_inodes", "mode", "uid", "gid", "executable", "recursive", "nocopy", "subpath"):
            if mount.get(key):
                entry[key] = mount[key]
        flat[mount["target"]] = entry
    return flat


def secrets(value: Any) -> Flat:
    """By the name of the file."""
    return {mount.get("target") or mount["secret"]: mount["secret"] for mount in value}


def files(value: Any) -> Flat:
    """Content and mode by path."""
    flat: Flat = {}
    for target, file in value.items():
        flat[target] = file["content"]
        if file.get("mode", 0o644) != 0o644:
            flat[f"{target}.mode"] = file["mode"]
    return flat


def healthcheck(value: Any) -> Flat:
    """With the defaults of what was left out."""
    if not value:
        return {}
    flat: Flat = {**DEFAULT_PROBE, **{key: plain(entry) for key, entry in value.items() if entry is not None}}
    return {key: float(entry) if isinstance(entry, int) and key != "tcp" else entry for key, entry in flat.items()}


def security(value: Any) -> Flat:
    """By option; no_new_privs is what containers have anyway."""
    flat: Flat = {}
    for option in value:
        key, _, given = option.partition("=")
        if key == "label":
            flat[f"label.{given.partition(':')[0]}"] = given
        elif option not in ("no-new-privileges", "seccomp=builtin"):
            flat[key] = given
    return flat


def devices(value: Any) -> Flat:
    """By path in the container."""
    flat: Flat = {}
    for device in value:
        source, target, access = device.split(":")
        flat[target] = source if access == "rwm" else f"{source} ({access})"
    return flat


def unless(usual: str) -> Callable[[Any], Flat]:
    """A value, but for the usual one."""
    return lambda value: {} if value == usual else {"": value}


def unhealthy(value: Any) -> Flat:
    """ "none" is nothing."""
    return {} if value == "none" else {"": value}


def hooks(value: Any) -> Flat:
    """In their order."""
    return {f"[{index}]": dict(hook) for index, hook in enumerate(value)}


def blkio(value: Any) -> Flat:
    """A key per device."""
    flat: Flat = {}
    for key, entry in value.items():
        if isinstance(entry, (list, tuple)):
            flat.update({f"{key}[{one['path']}]": one.get("rate", one.get("weight")) for one in entry})
        else:
            flat[key] = entry
    return flat


def ulimits(value: Any) -> Flat:
    """`SOFT:HARD` by name."""
    return {
        name: str(ulimit["soft"]) if ulimit["soft"] == ulimit["hard"] else f"{ulimit['soft']}:{ulimit['hard']}"
        for name, ulimit in value.items()
    }


def shared_memory(value: Any) -> Flat:
    """64 MiB is nothing."""
    return {} if value == 64 << 20 else {"": value}


def names(value: Any) -> Flat:
    """A key per name."""
    return {str(name): True for name in value}


def hosts(value: Any) -> Flat:
    """Addresses by name."""
    return {name: list(addresses) for name, addresses in value.items()}


def cgroup(value: Any) -> Flat:
    """ "private" is nothing."""
    return {} if value == "private" else {"": value}


def other(value: Any) -> Flat:
    """A key per entry of a mapping."""
    return dict(value) if isinstance(value, Mapping) else scalar(value)
