"""`init --from-running`: the stack file of what runs. Pure: the engine's documents in, Python out."""

from __future__ import annotations

from stackpy.dsl.specs import DEFAULT_NETWORK
from stackpy.dsl.values import meant
from stackpy.engines import labels
from stackpy.engines.adopting import is_anonymous
from stackpy.engines.translation import container_fields
from stackpy.errors import StackpyError
from stackpy.planning import fields as table
from stackpy.planning import forms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from stackpy.engines.facade import Facade

    Document = Mapping[str, Any]

BRIDGE = "bridge"  # the engine's network of containers that name none
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_SKIPPED = ("networks", "volumes", "secrets", "files", "ports", "image", "pid", "ipc")


class Written:
    """The text of a stack file, and what takes the running objects into it: (address, name on the engine)."""

    def __init__(self, text: str, adoptions: list[tuple[str, str]], left_out: list[str]) -> None:
        self.text, self.adoptions, self.left_out = text, adoptions, left_out


def of_engine(engine: Facade, stack: str, only: Sequence[str]) -> Written:
    """What `init --from-running` writes of the objects of an engine.

    only: names of containers, networks and volumes; () for all that are no stack's
    """

    def free(documents: Iterable[Document], own: Callable[[Document], Mapping[str, str]]) -> list[Document]:
        return [document for document in documents if not own(document).get(labels.STACK)]

    containers = free(engine.containers(), lambda each: each["config"].get("labels", {}))
    networks = free(engine.networks(), lambda each: each["labels"])
    volumes = free(engine.volumes(), lambda each: each["labels"])
    known = {each["name"] for each in (*containers, *networks, *volumes)}
    for name in only:
        if name not in known:
            raise StackpyError(
                f"nothing `{name}` that is no stack's", hint=meant(name, known, "`stackpy ps` lists containers")
            )
    if only:
        containers = [each for each in containers if each["name"] in only]
        wanted = {*only, *(name for each in containers for name in each["config"].get("networks", ()))}
        wanted |= {mount["source"] for each in containers for mount in each["config"].get("mounts", ())}
        networks = [each for each in networks if each["name"] in wanted]
        volumes = [each for each in volumes if each["name"] in wanted]
    if not containers and not networks and not volumes:
        raise StackpyError("nothing runs here that is no stack's", hint="`stackpy ps` lists what there is")
    references = {image["id"]: image["references"][0] for image in engine.images() if image["references"]}
    return written(stack, containers, networks, volumes, references)


def written(
    stack: str,
    containers: Iterable[Document],
    networks: Iterable[Document],
    volumes: Iterable[Document],
    references: Mapping[str, str],
) -> Written:
    """The stack file of these objects.

    references: a name of each image, by its ID; left_out says what has no place in a stack file
    """
    lines: list[str] = []
    adoptions: list[tuple[str, str]] = []
    left_out: list[str] = []
    used = {"Stack", "Container"}
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for network in networks:
        if network["name"] == BRIDGE:
            continue
        name = names["network", network["name"]] = _free(stack, network["name"], "_", taken)
        given = {key: network[key] for key in ("internal",) if network.get(key)}
        lines.append(_call("Network", name, {**given, "subnet": network["subnet"], **_labels(network["labels"])}))
        adoptions.append((f"network.{name}", network["name"]))
        used.add("Network")
    taken = set()
    for volume in volumes:
        if len(volume["name"]) == 64:
            continue  # without a name: made for one container
        name = names["volume", volume["name"]] = _free(stack, volume["name"], "_", taken)
        lines.append(_call("Volume", name, _labels(volume["labels"])))
        adoptions.append((f"volume.{name}", volume["name"]))
        used.add("Volume")
    taken = set()
    for container in containers:
        name = _free(stack, container["name"], "-", taken)
        values = _container(container, names, references, left_out)
        lines.append(_call("Container", name, values))
        adoptions.append((f"container.{name}", container["name"]))
    head = f"from stackpy import {', '.join(sorted(used))}\n\nStack({stack!r})\n".replace("'", '"')
    return Written(head + "".join(f"{line}\n" for line in lines), adoptions, left_out)


def _container(
    container: Document, names: Mapping[tuple[str, str], str], references: Mapping[str, str], left_out: list[str]
) -> dict[str, Any]:
    config = container["config"]
    live = container_fields("", config)
    values: dict[str, Any] = {"image": references.get(container["image_id"], config["image"])}
    for key, value in live.items():
        field = table.CONTAINER.get(key)
        if key in _SKIPPED or field is None or (not field.whole and not field.flatten(value)):
            continue
        values[key] = _plain(key, value)
    joined = config.get("networks")
    if joined:
        values["networks"] = {
            names.get(("network", name), DEFAULT_NETWORK if name == BRIDGE else name): (
                {key: entry for key, entry in attachment.items() if entry and key != "avoid"} or None
            )
            for name, attachment in joined.items()
        }
    if config.get("ports"):
        values["ports"] = [
            f"{port['host_ip']}:{port['published']}:{port['target']}"
            + ("" if port["protocol"] == "tcp" else f"/{port['protocol']}")
            for port in config["ports"]
        ]
    mounts = [_mount(mount, names) for mount in config.get("mounts", ())]
    if any(mounts):
        values["volumes"] = [mount for mount in mounts if mount]
    for key in ("pid", "ipc"):
        if config.get(key) and forms_of(key, config[key]):
            values[key] = config[key]
    left_out += [
        f"`{key}` of {container['name']}: declare them by hand" for key in ("secrets", "files") if config.get(key)
    ]
    return values


def forms_of(key: str, value: Any) -> bool:
    """Whether a value differs from what containers have anyway."""
    return bool(table.CONTAINER[key].flatten(value))


def _plain(key: str, value: Any) -> Any:
    if key == "labels":
        return forms.labels(value)
    if key == "ulimits":
        return {
            name: each["soft"] if each["soft"] == each["hard"] else {"soft": each["soft"], "hard": each["hard"]}
            for name, each in value.items()
        }
    if key == "logging":
        options = {name: entry for name, entry in value.items() if name != "driver"}
        return {**({"driver": value["driver"]} if "driver" in value else {}), **options}
    return value


def _mount(mount: Mapping[str, Any], names: Mapping[tuple[str, str], str]) -> Any:
    if any(key in mount for key in ("subpath", "recursive")) or mount.get("owner") == "plain":
        return _long(mount, names)
    options = [word for key, word in (("read_only", "ro"), ("nocopy", "nocopy")) if mount.get(key)]
    options += [mount["propagation"]] if "propagation" in mount else []
    mode = f":{','.join(options)}" if options else ""
    if mount["type"] == "volume":
        if is_anonymous(mount):
            return None
        return f"{names.get(('volume', mount['source']), mount['source'])}:{mount['target']}{mode}"
    if mount["type"] == "bind":
        return f"{mount['source']}:{mount['target']}{mode}"
    tmpfs = {key: mount[key] for key in ("size", "nr_inodes", "mode", "uid", "gid") if key in mount}
    if mount.get("executable"):
        tmpfs["exec"] = True
    return {"type": "tmpfs", "target": mount["target"], **({"tmpfs": tmpfs} if tmpfs else {})}


def _long(mount: Mapping[str, Any], names: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """A mount for which the short form has no words."""
    kind = mount["type"]
    given = {key: mount[key] for key in ("type", "source", "target", "read_only", "owner") if mount.get(key)}
    if kind == "volume":
        given["source"] = names.get(("volume", mount["source"]), mount["source"])
    keys = ("propagation", "recursive") if kind == "bind" else ("nocopy", "subpath")
    options = {key: mount[key] for key in keys if mount.get(key)}
    return {**given, kind: options} if options else given


def _labels(own: Mapping[str, str]) -> dict[str, Any]:
    users = forms.labels(own)
    return {"labels": users} if users else {}


def _free(stack: str, name: str, separator: str, taken: set[str]) -> str:
    """A resource's name: the engine's without the stack's prefix, in the letters that a name may have."""
    short = name.removeprefix(f"{stack}{separator}")
    if separator == "-" and short.rpartition("-")[2] == "1" and short != name:
        short = short.rpartition("-")[0]
    plain = "".join(letter if letter in _LETTERS else "-" for letter in short).strip("-_") or "x"
    found, number = plain, 2
    while found in taken:
        found, number = f"{plain}-{number}", number + 1
    taken.add(found)
    return found


def _call(what: str, name: str, values: Mapping[str, Any]) -> str:
    """A constructor's call: on one line where that is short."""
    given = [f"{key}={_literal(value)}" for key, value in values.items() if value is not None]
    line = f"{what}({_literal(name)}{''.join(f', {one}' for one in given)})"
    if len(line) <= 120:
        return line
    return "\n".join([f"{what}(", f"    {_literal(name)},", *(f"    {one}," for one in given), ")"])


def _literal(value: Any) -> str:
    import json  # Python's own words for text prefer the other quotes

    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(entry)}' for key, entry in value.items())}}}"
    return repr(value)
