"""The flags of `run` and `create` about networks, as docker's: --network in both forms, --network-alias, --ip."""

from __future__ import annotations

from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# docker's keys that there are not → the fields of the stack file of which the same is to be said
_REFUSED = {
    "ip6": "ipv6_address",
    "mac-address": "mac_address",
    "link-local-ip": "link_local_ips",
    "driver-opt": "driver_opts",
}
_KEYS = {"ip": "ipv4_address", "gw-priority": "gw_priority", "interface-name": "interface_name"}


def add(document: dict[str, Any], arguments: Any) -> None:
    """Adds what the flags say; raises UsageError naming the flag whose value is wrong."""
    given = [_network(text) for text in arguments.network]
    mode = next((name for name, _ in given if name in ("none", "host") or name.startswith("container:")), "")
    if mode:
        if len(given) > 1 or given[0][1] or arguments.network_alias or arguments.ip or arguments.publish:
            raise UsageError(
                f"`--network {mode}` goes with no other network, alias, address or published port",
                hint="leave one of them away",
            )
        if mode.startswith("container:"):
            from stackpy.cli.run_config import parsed
            from stackpy.dsl.isolation_fields import network_mode

            parsed("--network", network_mode, mode)
            if arguments.hostname is not None:
                raise UsageError(f"`--network {mode}` goes with no host name", hint="it has that of the container")
        document["network_mode"] = mode
        return
    if (arguments.network_alias or arguments.ip) and not given:
        flag = "--network-alias" if arguments.network_alias else "--ip"
        raise UsageError(f"`{flag}` needs a network", hint="add `--network NETWORK`")
    if arguments.ip and len(given) > 1:
        raise UsageError("`--ip` goes with one network", hint="`--network name=NETWORK,ip=ADDRESS` says it of each")
    if arguments.ip and "ipv4_address" in given[0][1]:
        raise UsageError("an address is given twice, by `--ip` and by `--network`", hint="leave one of them away")
    asked = {"ipv4_address": _parsed("--ip", "ipv4_address", arguments.ip, arguments.ip)} if arguments.ip else {}
    networks = document["networks"] = {}
    for name, attachment in given:
        if name in networks:
            raise UsageError(f"`--network {name}` is given twice", hint="leave one of them away")
        aliases = list(dict.fromkeys([*attachment.pop("aliases", ()), *arguments.network_alias]))
        networks[name] = {"aliases": aliases, **attachment, **asked}


def attachment(arguments: Any) -> dict[str, Any]:
    """What `network connect` says of a place: --alias, --ip, --gw-priority."""
    result: dict[str, Any] = {"aliases": list(dict.fromkeys(arguments.alias))}
    for flag, key in (("--ip", "ipv4_address"), ("--gw-priority", "gw_priority")):
        value = getattr(arguments, flag.lstrip("-").replace("-", "_"))
        if value is not None:
            result[key] = _parsed(flag, key, value, value)
    return result


def _network(text: str) -> tuple[str, dict[str, Any]]:
    """`NETWORK`, or docker's long form: `name=NETWORK,alias=NAME,ip=ADDRESS,gw-priority=NUMBER`."""
    if "=" not in text:
        return text, {}
    name = ""
    attachment: dict[str, Any] = {}
    flag = f"--network {text}"
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if key in _REFUSED:
            from stackpy.dsl import field_hints

            raise UsageError(f"`{flag}`: there is no `{key}`", hint=field_hints.of_network(_REFUSED[key]))
        if not equals or not value:
            raise UsageError(f"`{flag}`: `{part}` must be KEY=VALUE", hint="name=NETWORK,alias=NAME,ip=ADDRESS")
        if key == "name":
            name = value
        elif key == "alias":
            attachment.setdefault("aliases", []).append(value)
        elif key in _KEYS:
            attachment[_KEYS[key]] = _parsed(flag, _KEYS[key], value, text)
        else:
            hint = f"the keys are {', '.join(['name', 'alias', *_KEYS])}"
            raise UsageError(f"`{flag}`: unknown key `{key}`", hint=hint)
    if not name:
        raise UsageError(f"`{flag}`: no network is named", hint="add name=NETWORK")
    return name, attachment


def _parsed(flag: str, key: str, value: str, text: str) -> Any:
    from stackpy.dsl.addresses import PARSERS
    from stackpy.dsl.values import Invalid

    given: Any = value
    if key == "gw_priority" and value.removeprefix("-").isdigit():
        given = int(value)
    try:
        return PARSERS[key](given)
    except Invalid as invalid:
        shown = flag if text in flag else f"{flag} {text}"
        raise UsageError(f"`{shown}`: {invalid.message}", hint=invalid.hint) from invalid
