"""The packet filter of one engine root: what it must say, and the transactions that make it so.

The desired state lives here, in memory. Every change is one nf_tables transaction; should somebody have flushed the
tables (possible before Linux 6.9 only, see linux/nftables.py), the same call writes all of them anew.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux.nfnetlink import NFPROTO_BRIDGE, NFPROTO_IPV4, NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM
from stackpy_runtime.linux.nftables import Nftables, tables
from stackpy_runtime.network import endpoints, forwarding, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stackpy_runtime.linux.netlink import Netlink
    from stackpy_runtime.network.names import Names
    from stackpy_runtime.network.rules import Bridge, Key, Port, Target

_ENOENT, _EEXIST = 2, 17
_FAMILIES = {"ip": NFPROTO_IPV4, "bridge": NFPROTO_BRIDGE}


class Publication(NamedTuple):
    """A container behind a published port.

    share: others with the same one may stand beside it; "" means none
    ready: it takes connections; one that does not gets some only where nobody else could have them
    leaving: it is about to be stopped, and gets none unless it is the last
    """

    container_id: str
    target: Target
    share: str
    ready: bool = True
    leaving: bool = False


def targets(entries: Iterable[Publication]) -> list[Target]:
    """Where new connections to a published port go. Pure."""
    known = list(entries)
    staying = [entry for entry in known if not entry.leaving]
    return [entry.target for entry in [entry for entry in staying if entry.ready] or staying or known]


class Firewall:
    """The two nf_tables tables of a root. `lock` may be held around several calls by whoever checks before changing.

    runs: whether a container does that another process has plugged; the link of one that has ended outlives it
    """

    def __init__(self, names: Names, channel: Netlink, runs: Callable[[str], bool] = lambda container_id: True) -> None:
        self._runs = runs
        self.lock = threading.RLock()
        self.published: dict[Key, list[Publication]] = {}
        self.protected = False  # others cannot delete or flush the tables
        self._names, self._channel = names, channel
        self._bridges: dict[str, Bridge] = {}
        self._ports: dict[str, list[Port]] = {}
        self._gone: set[str] = set()
        self._nft: Nftables | None = None

    def set_bridges(self, bridges: Iterable[Bridge]) -> None:
        """Says which networks there are; `load` makes it so."""
        with self.lock:
            self._bridges = {bridge.link: bridge for bridge in bridges}

    def load(self) -> None:
        """Makes the tables say what they must, in one transaction, whatever they said before."""
        with self.lock:
            self._adopt()
            nft = self._library()
            owned = [nft.claim(family, self._names.table) for family in _FAMILIES.values()]
            self.protected = all(owned)
            try:
                nft.run(self._whole(nft))
            except KernelError as error:
                if error.errno != _EEXIST:
                    raise
                # Made by another version, with other types of sets: then from scratch.
                self._delete()
                for family in _FAMILIES.values():
                    nft.claim(family, self._names.table)
                nft.run(self._whole(nft))

    def complete(self) -> bool:
        """Whether both tables are there with their chains."""
        with self.lock:
            nft = self._library()
            found = nft.chains(NFPROTO_IPV4, self._names.table)
            wanted = {*rules.BASE_CHAINS, *map(rules.chain, self.published)}
            return wanted <= found and "port" in nft.chains(NFPROTO_BRIDGE, self._names.table)

    def add_port(self, container_id: str, port: Port) -> None:
        """Lets frames of a container's port in, when they carry its MAC and its address."""
        with self.lock:
            self._ports.setdefault(container_id, []).append(port)
            self._change_ports(NFT_MSG_NEWSETELEM, [port])

    def remove_ports(self, container_id: str) -> list[str]:
        """Lets nothing in from a container's ports any more; their link names."""
        with self.lock:
            ports = self._ports.pop(container_id, [])
            self._gone.update(port.link for port in ports)
            if ports:
                self._change_ports(NFT_MSG_DELSETELEM, ports)
            return [port.link for port in ports]

    def remove_port(self, container_id: str, address: str) -> str:
        """The same for the one port that has an address; "" where there is none."""
        with self.lock:
            ports = self._ports.get(container_id, [])
            leaving = [port for port in ports if port.address == address]
            if not leaving:
                return ""
            self._ports[container_id] = [port for port in ports if port not in leaving]
            self._gone.update(port.link for port in leaving)
            self._change_ports(NFT_MSG_DELSETELEM, leaving)
            return leaving[0].link

    def publish(self, changes: Mapping[Key, list[Publication]]) -> None:
        """Sets who stands behind each of these ports, all at once; an empty list takes the port away."""
        if not changes:
            return
        with self.lock:
            before = dict(self.published)
            commands = ""
            for key, entries in changes.items():
                if entries:
                    leads = targets(entries)
                    if leads != targets(before.get(key, ())):
                        commands += rules.publish(self._names.table, key, leads, known=key in before)
                    self.published[key] = entries
                elif self.published.pop(key, None):
                    commands += rules.unpublish(self._names.table, key)
            try:
                self._apply(commands)
            except BaseException:
                self.published = before
                raise

    def delete(self) -> None:
        """Removes both tables."""
        with self.lock:
            self._bridges.clear()
            self._ports.clear()
            self._gone.clear()
            self.published.clear()
            self._delete()

    def close(self) -> None:
        """Gives the library's handle back; the tables stay."""
        with self.lock:
            if self._nft is not None:
                self._nft.close()
                self._nft = None

    def _library(self) -> Nftables:
        if self._nft is None:
            self._nft = Nftables()
        return self._nft

    def _change_ports(self, verb: int, ports: list[Port]) -> None:
        keys = [rules.port_key(port) for port in ports]
        try:
            self._library().change_set(verb, NFPROTO_BRIDGE, self._names.table, "ports", keys)
        except KernelError as error:
            if error.errno != _ENOENT:
                raise
            self.load()

    def _apply(self, commands: str) -> None:
        if not commands:
            return
        try:
            self._library().run(commands)
        except KernelError as error:
            if error.errno != _ENOENT:
                raise
            self.load()

    def _whole(self, nft: Nftables) -> str:
        wanted = rules.Ruleset(
            names=self._names,
            bridges=list(self._bridges.values()),
            ports=[port for ports in self._ports.values() for port in ports],
            published={key: targets(entries) for key, entries in self.published.items()},
            uplinks=forwarding.uplinks(),
        )
        return rules.reload(wanted, nft.chains(NFPROTO_IPV4, self._names.table))

    def _adopt(self) -> None:
        """Reads the ports back from the links themselves: so they survive us."""
        known = {port.link: container for container, ports in self._ports.items() for port in ports}
        links = {link.name: link for link in self._channel.links() if link.name.startswith(self._names.port_prefix)}
        self._gone &= links.keys()
        for link in links.values():
            found = endpoints.owner(link)
            if found is None or link.name in known or link.name in self._gone:
                continue
            if self._runs(found[0]):
                self._ports.setdefault(found[0], []).append(found[1])

    def _delete(self) -> None:
        found = [family for family, number in _FAMILIES.items() if self._names.table in tables(number)]
        if not found:
            return
        nft = self._library()
        for family in found:
            # An orphan's owner may have been somebody else; only an owner may delete.
            nft.claim(_FAMILIES[family], self._names.table)
        nft.run(rules.remove(self._names.table, found))
