"""Which addresses a name means to a container: what the DNS server asks.

A container hears only of the networks it is on; a name that several containers have means all of them.
"""

from __future__ import annotations

import threading


class Names:
    """Names of running containers by network, kept by the supervisor."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.networks: dict[str, dict[str, dict[str, str]]] = {}  # network → name → container → address
        self.members: dict[str, set[str]] = {}  # container → networks
        self.internal: set[str] = set()  # networks without a way out
        self.aside: set[str] = set()  # containers that names lead to only where they lead to no other

    def add(self, container: str, network: str, address: str, names: list[str], *, internal: bool) -> None:
        """Registers a container's names on one network."""
        with self.lock:
            self.members.setdefault(container, set()).add(network)
            if internal:
                self.internal.add(network)
            known = self.networks.setdefault(network, {})
            for name in names:
                known.setdefault(name.lower(), {})[container] = address

    def remove(self, container: str) -> None:
        """Forgets a container."""
        with self.lock:
            self.aside.discard(container)
            for network in self.members.pop(container, set()):
                known = self.networks.get(network, {})
                for name in [name for name, holders in known.items() if container in holders]:
                    del known[name][container]
                    if not known[name]:
                        del known[name]
                if not known:
                    self.networks.pop(network, None)

    def set_aside(self, container: str, aside: bool) -> None:
        """Has names that several containers have lead to the others, or to this one again."""
        with self.lock:
            if aside and container in self.members:
                self.aside.add(container)
            else:
                self.aside.discard(container)

    def lookup(self, container: str, name: str) -> list[str] | None:
        """The addresses of `name` for `container`; [] where it has none and may not ask outside; None: ask."""
        wanted = name.lower().rstrip(".")
        with self.lock:
            mine = self.members.get(container, set())
            found = [
                pair for network in sorted(mine) for pair in self.networks.get(network, {}).get(wanted, {}).items()
            ]
            if found:
                serving = [address for holder, address in found if holder not in self.aside]
                return serving or [address for _, address in found]
            return [] if mine and mine <= self.internal else None

    def reverse(self, container: str, address: str) -> str | None:
        """The name of the container at an address, for PTR."""
        with self.lock:
            for network in sorted(self.members.get(container, set())):
                for name, holders in self.networks.get(network, {}).items():
                    if address in holders.values():
                        return name
        return None
