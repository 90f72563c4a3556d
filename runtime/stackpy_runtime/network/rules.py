"""The packet filter of one engine root, as text in nft's language. Pure.

Two tables. `ip stackpy-XXXXXXXX`: what may be forwarded, published ports, masquerade. `bridge stackpy-XXXXXXXX`: a
container sends with its own MAC and IPv4 address only. An accept here is no more than "not dropped by us": a drop in
any chain of the user's wins. A user's rule for published ports belongs into a chain of theirs of type filter at the
forward hook, any priority, where `meta l4proto tcp ct original proto-dst 8080` names the published port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.network.names import Names, publication

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANY = "0.0.0.0"


class Bridge(NamedTuple):
    """A network as the filter sees it."""

    link: str
    subnet: str
    internal: bool


class Port(NamedTuple):
    """A container's place on a bridge: the host's link and what may come out of it."""

    link: str
    mac: str
    address: str


class Key(NamedTuple):
    """A published port of the host."""

    host_ip: str
    protocol: str
    published: int


class Target(NamedTuple):
    """Where a published port leads."""

    address: str
    port: int


class Ruleset(NamedTuple):
    """All that the two tables must say."""

    names: Names
    bridges: list[Bridge]
    ports: list[Port]
    published: Mapping[Key, list[Target]]
    uplinks: list[str]  # links between which nothing was forwarded before the engine turned forwarding on


BASE_CHAINS = ("guard", "prerouting", "output", "postrouting", "input", "forward")


def reload(rules: Ruleset, chains: Iterable[str]) -> str:
    """Commands that make the tables say exactly this, whatever they said before, in one transaction.

    chains: those that the ip table has now; published ports' chains that are no longer wanted go.
    """
    name = rules.names.table
    wanted = {chain(key) for key in rules.published}
    stale = [entry for entry in sorted(chains) if entry not in BASE_CHAINS and entry not in wanted]
    lines = [*_declarations(name), *(f"flush chain ip {name} {entry}" for entry in BASE_CHAINS)]
    lines += [f"flush set ip {name} {entry}" for entry in ("within", "internal")]
    lines += [f"flush map ip {name} {entry}" for entry in ("published", "published_any")]
    lines += [f"flush chain ip {name} {entry}" for entry in stale] + [
        f"delete chain ip {name} {entry}" for entry in stale
    ]
    lines += [f"flush chain bridge {name} {entry}" for entry in ("prerouting", "port", "output")]
    lines.append(f"flush set bridge {name} ports")
    lines += _filter(rules) + _translation(rules) + _port_guard(rules.names)
    lines += _elements(f"ip {name} within", [f"{bridge.link} . {bridge.link}" for bridge in rules.bridges])
    lines += _elements(f"ip {name} internal", [bridge.link for bridge in rules.bridges if bridge.internal])
    lines += _elements(f"bridge {name} ports", [_port(port) for port in rules.ports])
    for key, targets in rules.published.items():
        lines += [f"add chain ip {name} {chain(key)}", f"flush chain ip {name} {chain(key)}"]
        lines += [_leads_to(name, key, targets), _element("add", name, key)]
    return "\n".join(lines) + "\n"


def remove(name: str, families: Iterable[str]) -> str:
    """Commands that delete the tables."""
    return "".join(f"delete table {family} {name}\n" for family in families)


def port_key(port: Port) -> bytes:
    """An element of the set of ports as the kernel keeps it: each part padded to four bytes.

    The one change that every start of a container makes: sent without the detour over text, it costs a third.
    """
    mac = bytes.fromhex(port.mac.replace(":", ""))
    address = bytes(int(part) for part in port.address.split("."))
    return port.link.encode().ljust(16, b"\0") + mac + b"\0\0" + address


def publish(name: str, key: Key, targets: list[Target], *, known: bool) -> str:
    """Leads a port to its targets; `known`: it leads somewhere already, and is swung over without a gap."""
    if known:
        return f"flush chain ip {name} {chain(key)}\n{_leads_to(name, key, targets)}\n"
    return f"add chain ip {name} {chain(key)}\n{_leads_to(name, key, targets)}\n{_element('add', name, key)}\n"


def unpublish(name: str, key: Key) -> str:
    """Takes a published port away."""
    label = chain(key)
    return f"{_element('delete', name, key)}\nflush chain ip {name} {label}\ndelete chain ip {name} {label}\n"


def chain(key: Key) -> str:
    """The chain of a published port."""
    return publication(key.protocol, key.host_ip, key.published)


def _declarations(name: str) -> list[str]:
    hooks = (
        # Before conntrack (-200), so that nothing that NAT turns into a loopback address is meant.
        ("guard", "filter hook prerouting priority -300"),
        ("prerouting", "nat hook prerouting priority -100"),
        ("output", "nat hook output priority -100"),
        ("postrouting", "nat hook postrouting priority 100"),
        ("input", "filter hook input priority 0"),
        ("forward", "filter hook forward priority 0"),
    )
    return [
        f"add set ip {name} within {{ type ifname . ifname; }}",
        f"add set ip {name} internal {{ type ifname; }}",
        f"add map ip {name} published {{ type ipv4_addr . inet_proto . inet_service : verdict; }}",
        f"add map ip {name} published_any {{ type inet_proto . inet_service : verdict; }}",
        *(f"add chain ip {name} {label} {{ type {hook}; policy accept; }}" for label, hook in hooks),
        f"add set bridge {name} ports {{ type ifname . ether_addr . ipv4_addr; }}",
        f"add chain bridge {name} prerouting {{ type filter hook prerouting priority -300; policy accept; }}",
        f"add chain bridge {name} port",
        f"add chain bridge {name} output {{ type filter hook output priority 0; policy accept; }}",
    ]


def _filter(rules: Ruleset) -> list[str]:
    ours = f'"{rules.names.bridge_prefix}*"'
    forward = [
        # Seen here only where br_netfilter is on, or when a container uses its own published port.
        "iifname . oifname @within accept",
        "iifname @internal drop",
        "oifname @internal drop",
        f"oifname {ours} ct state established,related accept",
        f"oifname {ours} ct status dnat accept",
        f"oifname {ours} drop",
    ]
    if len(rules.uplinks) > 1:
        # The host was no router before us, and does not become one between its own links.
        links = "{ " + ", ".join(f'"{link}"' for link in rules.uplinks) + " }"
        forward += [f"iifname {links} oifname {links} ct status dnat accept", f"iifname {links} oifname {links} drop"]
    name = rules.names.table
    return [
        # route_localnet on the bridges, which loopback publishing needs, would let neighbours in to 127.0.0.0/8.
        f'add rule ip {name} guard iifname != "lo" ip daddr 127.0.0.0/8 drop',
        f"add rule ip {name} input iifname @internal ct state != {{ established, related }} drop",
        *(f"add rule ip {name} forward {rule}" for rule in forward),
    ]


def _translation(rules: Ruleset) -> list[str]:
    name, ours = rules.names.table, f'"{rules.names.bridge_prefix}*"'
    lookups = (
        "ip daddr . meta l4proto . th dport vmap @published",
        "fib daddr type local meta l4proto . th dport vmap @published_any",
    )
    postrouting = [f"oifname {ours} ip saddr 127.0.0.0/8 masquerade"]
    for bridge in rules.bridges:
        # A container that uses a published port: the answer must come back through the host, not straight.
        # By subnet, as a bridged packet has no iifname at this hook.
        postrouting.append(f"ip saddr {bridge.subnet} oifname {ours} ct status dnat masquerade")
        if not bridge.internal:
            postrouting.append(f"ip saddr {bridge.subnet} oifname != {ours} masquerade")
    return [
        *(f"add rule ip {name} {label} {rule}" for label in ("prerouting", "output") for rule in lookups),
        *(f"add rule ip {name} postrouting {rule}" for rule in postrouting),
    ]


def _port_guard(names: Names) -> list[str]:
    senders = ("ether saddr", "arp saddr ether")
    port = (
        "ether type ip iifname . ether saddr . ip saddr @ports accept",
        f"ether type arp {' '.join(f'iifname . {mac} . arp saddr ip @ports' for mac in senders)} accept",
        "drop",
    )
    return [
        f'add rule bridge {names.table} prerouting iifname "{names.port_prefix}*" jump port',
        # A container that uses its neighbour's published port would be told a shorter way, which leads past the port.
        f'add rule bridge {names.table} output oifname "{names.port_prefix}*" icmp type redirect drop',
        *(f"add rule bridge {names.table} port {rule}" for rule in port),
    ]


def _elements(of: str, values: list[str]) -> list[str]:
    return [f"add element {of} {{ {', '.join(values)} }}"] if values else []


def _port(port: Port) -> str:
    return f"{port.link} . {port.mac} . {port.address}"


def _element(verb: str, name: str, key: Key) -> str:
    verdict = f" : goto {chain(key)}" if verb == "add" else ""
    if key.host_ip == ANY:
        return f"{verb} element ip {name} published_any {{ {key.protocol} . {key.published}{verdict} }}"
    return f"{verb} element ip {name} published {{ {key.host_ip} . {key.protocol} . {key.published}{verdict} }}"


def _leads_to(name: str, key: Key, targets: list[Target]) -> str:
    rule = f"add rule ip {name} {chain(key)} meta l4proto {key.protocol} dnat ip to "
    if len(targets) == 1:
        return f"{rule}{targets[0].address}:{targets[0].port}"
    spread = ", ".join(f"{index} : {target.address} . {target.port}" for index, target in enumerate(targets))
    return f"{rule}numgen inc mod {len(targets)} map {{ {spread} }}"
