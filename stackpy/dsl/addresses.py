"""What containers ask for on their networks: an address, in its subnet and nobody's but theirs; a link's name."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from stackpy.dsl.session import Place
from stackpy.dsl.specs import DEFAULT_NETWORK
from stackpy.dsl.values import wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy.dsl.session import Declaration
    from stackpy.dsl.uses import Use

    Declared = Mapping[tuple[str, str], Declaration]


def address(value: object) -> str:
    """An IPv4 address; raises Invalid."""
    try:
        return str(IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        raise wrong("an IPv4 address such as 10.5.0.10", value) from None


def link(value: object) -> str:
    """The name of a link, as the kernel takes it; raises Invalid."""
    if not isinstance(value, str) or not _LINK.fullmatch(value) or value in ("lo", ".", ".."):
        raise wrong("the name of a link, of at most 15 letters, such as eth7", value)
    return value


def number(value: object) -> int:
    """Any whole number; raises Invalid."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 31:
        raise wrong("a whole number", value)
    return value


# Those of a container's attachment to a network, besides its aliases.
PARSERS: dict[str, Callable[[object], Any]] = {
    "ipv4_address": address,
    "interface_name": link,
    "gw_priority": number,
    "priority": number,
}
_LINK = pattern(r"[^/:\s\x00]{1,15}")


def report(declared: Declared) -> None:
    """Reports addresses that no container of theirs can have."""
    holders: dict[tuple[str, str], str] = {}
    for declaration in declared.values():
        if declaration.kind not in ("container", "job"):
            continue
        uses: list[Use] = declaration.fields.get("networks") or []
        for use in uses:
            wanted = use.fields["attachment"].get("ipv4_address")
            if not wanted:
                continue
            place = use.place.item("ipv4_address")
            _check_subnet(place, wanted, use.name, declared)
            if declaration.fields.get("replicas", 1) > 1:
                what = f"{place.name} cannot be used with replicas: each would have the same address"
                place.report(what, "declare a container for each address")
            holder = holders.setdefault((use.name, wanted), f"{declaration.kind} `{declaration.name}`")
            if holder != f"{declaration.kind} `{declaration.name}`":
                place.report(f"{place.name}: {wanted} is the address of {holder} already", "choose another one")


def _check_subnet(place: Place, wanted: str, name: str, declared: Declared) -> None:
    network = declared.get(("network", name))
    if network is None and name != DEFAULT_NETWORK:
        return  # which is reported elsewhere
    subnet = network.fields.get("subnet") if network is not None else None
    if not subnet:
        hint = f'give it one: Network("{name}", subnet="{IPv4Network(f"{wanted}/24", strict=False)}")'
        place.report(f"{place.name} needs a network with a subnet, and `{name}` says none", hint)
        return
    whole, found = IPv4Network(subnet), IPv4Address(wanted)
    first, last = whole.network_address + 2, whole.broadcast_address - 1
    if found not in whole:
        place.report(f"{place.name}: {wanted} is not in {whole}, the subnet of `{name}`", f"from {first} to {last}")
    elif not first <= found <= last:
        what = {
            whole.network_address: "the network itself",
            whole.network_address + 1: "its gateway",
            whole.broadcast_address: "its broadcast",
        }[found]
        place.report(f"{place.name}: {wanted} is the address of {what}", f"from {first} to {last}")
