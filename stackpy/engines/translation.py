"""A spec's fields → the engine's configuration, and back. Pure.

What goes out must come back the same, or the planner would see differences that no one made; so names of the stack's
networks, volumes and secrets get the stack's prefix on the way out and lose it on the way back, and aliases that the
adapter adds stand first, in a known number.
"""

from __future__ import annotations

from stackpy.dsl.specs import (
    DEFAULT_NETWORK,
    DEFAULT_PROBE,
    ISOLATION,
    LIMITS,
    SURROUNDINGS,
    addresses,
    engine_name,
    partners,
)
from stackpy.engines import labels, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from stackpy.dsl.specs import Fields, Spec

    Config = dict[str, Any]


# The same name and form on both sides.
SAME = (
    "command", "entrypoint", "environment", "working_dir", "user", "hostname",
    "network_mode", "read_only", "tty", "stdin_open", "cap_add", "cap_drop", "stop_signal", "stop_grace_period",
    "restart", "healthcheck", "on_unhealthy", "pre_start", "post_start", "pre_stop", *LIMITS, *SURROUNDINGS, *ISOLATION,
)  # fmt: skip
LOGGING = {
    "driver": "log_driver", "max_size": "log_max_size", "max_file": "log_max_file", "tag": "log_tag",
    "labels": "log_labels",
}  # fmt: skip
OWN_ALIASES = 2  # the resource's name and the container's
LOOPBACK = "127.0.0.1"  # where a port is published that names no address (DESIGN §5)


def container_config(
    stack: str,
    spec: Spec,
    replica: int,
    *,
    image: str,
    recipe: str,
    generation: int,
    fingerprints: Mapping[str, str],
) -> Config:
    """The engine's configuration of one replica of a container or job.

    image: the image's ID in the engine; recipe: what the planner knows it by
    fingerprints: of the secrets' values, by secret address
    """
    fields = spec.fields
    name = engine_name(stack, spec.kind, spec.name, replica)
    config: Config = {"name": name, "image": image}
    for key in SAME:
        if key in fields:
            config[key] = _plain(fields[key])
    for key, partner in partners(fields):
        config[key] = f"container:{engine_name(stack, 'container', partner, replica)}"
    if {"test", "http", "tcp"} & set(fields.get("healthcheck", ())):
        config["healthcheck"] = {**DEFAULT_PROBE, **fields["healthcheck"]}
    if "network_mode" not in fields:
        config["networks"] = {
            f"{stack}_{network}": {
                **(attachment or {}),
                "aliases": [spec.name, name, *(attachment or {}).get("aliases", ())],
            }
            for network, attachment in (fields.get("networks") or {DEFAULT_NETWORK: {}}).items()
        }
    if "ports" in fields:
        config["ports"] = [{**port, "host_ip": port.get("host_ip") or LOOPBACK} for port in fields["ports"]]
    if "volumes" in fields:
        config["mounts"] = [_mount(stack, volume) for volume in fields["volumes"]]
    if "secrets" in fields:
        config["secrets"] = [
            {"secret": f"{stack}_{secret['secret']}", "target": secret["target"]} for secret in fields["secrets"]
        ]
    if "files" in fields:
        config["files"] = [
            {"target": target, "content": file["content"], "mode": file.get("mode", 0o644)}
            for target, file in fields["files"].items()
        ]
    for key, option in LOGGING.items():
        if key in fields.get("logging", {}):
            config[option] = fields["logging"][key]
    config["labels"] = container_labels(
        stack, spec, replica, recipe=recipe, generation=generation, fingerprints=fingerprints
    )
    return config


def avoid(config: Config, stack: str, specs: Iterable[Spec]) -> None:
    """Has a container leave alone on its networks the addresses that others of the stack ask for.

    Whichever of them starts first, each gets its own.
    """
    attachments: dict[str, dict[str, Any]] = config.get("networks", {})
    asked: dict[str, set[str]] = {}
    for spec in specs:
        for network, address in addresses(spec.fields):
            asked.setdefault(f"{stack}_{network}", set()).add(address)
    for network, others in asked.items():
        if network in attachments and "ipv4_address" not in attachments[network]:
            attachments[network]["avoid"] = sorted(others)


def one_off_config(stack: str, spec: Spec, *, image: str, recipe: str) -> Config:
    """The configuration of a container like a resource's that is none of its replicas: nobody finds it by its name."""
    config = container_config(stack, spec, 1, image=image, recipe=recipe, generation=0, fingerprints={})
    for key in ("ports", "restart", "healthcheck", "on_unhealthy", "post_start", "pre_stop"):
        config.pop(key, None)
    for attachment in config.get("networks", {}).values():
        attachment["aliases"] = []
        attachment.pop("ipv4_address", None)
    return {**config, "name": "", "labels": dict(spec.fields.get("labels", {}))}


def container_labels(
    stack: str, spec: Spec, replica: int, *, recipe: str, generation: int, fingerprints: Mapping[str, str]
) -> dict[str, str]:
    """The user's labels and ours of one replica."""
    result = resource_labels(stack, spec, generation)
    result[labels.REPLICA] = str(replica)
    result[labels.RECIPE] = recipe
    given = {
        secret["secret"]: fingerprints[f"secret.{secret['secret']}"]
        for secret in spec.fields.get("secrets", ())
        if f"secret.{secret['secret']}" in fingerprints
    }
    if given:
        result[labels.SECRETS] = labels.dump(given)
    return result


def resource_labels(stack: str, spec: Spec, generation: int) -> dict[str, str]:
    """The user's labels of any resource, and those of ours that every resource has."""
    result = dict(spec.fields.get("labels", {}))
    result[labels.STACK] = stack
    result[labels.RESOURCE] = spec.address
    result[labels.GENERATION] = str(generation)
    result[labels.SPEC] = labels.dump(spec.fields)
    result[labels.SCHEMA] = str(schema.VERSION)
    if spec.dependencies:
        result[labels.DEPENDENCIES] = labels.dump_dependencies(spec.dependencies)
    return result


def container_fields(stack: str, config: Mapping[str, Any]) -> Fields:
    """The fields of a replica as the engine holds them, in the spec's vocabulary; `image` is what was applied."""
    own = config.get("labels", {})
    fields: dict[str, Any] = {key: config[key] for key in SAME if key in config}
    if "networks" in config:
        fields["networks"] = {
            _unprefixed(stack, network): {
                **{key: value for key, value in attachment.items() if key != "avoid"},
                "aliases": list(attachment.get("aliases", ()))[OWN_ALIASES:],
            }
            for network, attachment in config["networks"].items()
        }
    if "ports" in config:
        fields["ports"] = [dict(port) for port in config["ports"]]
    if "mounts" in config:
        fields["volumes"] = [_volume(stack, mount) for mount in config["mounts"]]
    if "secrets" in config:
        made_with = labels.load(own, labels.SECRETS, {})
        fields["secrets"] = [_secret(stack, secret, made_with) for secret in config["secrets"]]
    if "files" in config:
        fields["files"] = {
            file["target"]: {key: value for key, value in file.items() if key != "target"} for file in config["files"]
        }
    logging = {key: config[option] for key, option in LOGGING.items() if option in config}
    if logging:
        fields["logging"] = logging
    if users := labels.users(own):
        fields["labels"] = users
    applied = labels.applied(own)
    if image := applied.get("image"):
        fields["image"] = image
    for key, partner in partners(applied):
        if fields.get(key) == f"container:{engine_name(stack, 'container', partner, _replica(own))}":
            fields[key] = f"service:{partner}"
    return fields


def in_place(config: Mapping[str, Any], wanted: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """What `wanted` changes of `config` among `keys`; None for a key that it no longer has."""
    return {key: wanted.get(key) for key in keys if config.get(key) != wanted.get(key)}


def with_chosen(wanted: list[Any] | None, present: list[Any] | None) -> list[Any] | None:
    """Published ports with those that the engine has chosen where the choice is its own; None for none."""
    free = [port for port in present or () if port not in (wanted or ())]
    result = []
    for port in wanted or ():
        known = None if port["published"] else next((one for one in free if {**one, "published": 0} == port), None)
        if known is not None:
            free.remove(known)
        result.append(known or port)
    return result or None


def config_keys(fields: Iterable[str]) -> tuple[str, ...]:
    """The keys of the engine's configuration in which fields stand; labels, which hold our own too, are left out."""
    places = {"volumes": ("mounts",), "logging": tuple(LOGGING.values())}
    known = (*SAME, "networks", "ports", "secrets", "files")
    return tuple(key for field in fields for key in places.get(field, (field,) if field in known else ()))


def _replica(own: Mapping[str, str]) -> int:
    number = own.get(labels.REPLICA, "")
    return int(number) if number.isascii() and number.isdigit() else 1


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _mount(stack: str, volume: Mapping[str, Any]) -> dict[str, Any]:
    mount = {"source": "", "read_only": False, **volume}
    if mount["type"] == "volume" and mount["source"]:
        mount["source"] = f"{stack}_{mount['source']}"
    return mount


def _volume(stack: str, mount: Mapping[str, Any]) -> dict[str, Any]:
    volume = dict(mount)
    if volume["type"] == "volume":
        volume["source"] = _unprefixed(stack, volume["source"])
    return volume


def _secret(stack: str, mount: Mapping[str, Any], made_with: Mapping[str, str]) -> dict[str, Any]:
    name = _unprefixed(stack, mount["secret"])
    secret = {"secret": name, "target": mount["target"]}
    if name in made_with:
        secret["fingerprint"] = made_with[name]
    return secret


def _unprefixed(stack: str, name: str) -> str:
    """The stack's own name of an engine object; one of another stack keeps its whole name."""
    return name.removeprefix(f"{stack}_")
