"""Networks of one engine root, and containers' places on them: the room's front.

What must be true outlives this object: networks and addresses are rows of the store, a port's owner is written on its
link, published ports come back with `restore`. Methods may be called from several threads.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound
from stackpy_runtime.linux import links, nfnetlink, sysctl
from stackpy_runtime.linux.netlink import Netlink
from stackpy_runtime.linux.nfnetlink import NFPROTO_IPV4
from stackpy_runtime.linux.nftables import tables
from stackpy_runtime.network import bridges, endpoints, forwarding, names, redirect, subnets
from stackpy_runtime.network.firewall import Firewall, Publication
from stackpy_runtime.network.publishing import Hold, Publisher, Release, Sockets, check
from stackpy_runtime.network.rules import Bridge, Key, Port, Target
from stackpy_runtime.store import event_log

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stackpy_runtime.linux.netlink import Link
    from stackpy_runtime.model import Attachment, EndpointInfo, Network, NetworkConfig, PortBinding
    from stackpy_runtime.store.store import Store

_ENODEV = 19


class Published(NamedTuple):
    """What `restore` needs to know of a running container with published ports."""

    container_id: str
    bindings: list[PortBinding]
    address: str
    share: str
    ready: bool = True


class Endpoint(NamedTuple):
    """A container's place on a network, as its default route needs it."""

    mac: str
    gateway: str


class NetworkManager:
    """Makes networks, attaches containers, publishes their ports.

    hold, release: keep a socket that holds a host port taken beyond this process, by name; without them they live here
    """

    def __init__(self, store: Store, hold: Hold | None = None, release: Release | None = None) -> None:
        self._store = store
        self._names = names.Names(store.root.path)
        self._channel = Netlink()
        self._running: Collection[str] | None = None  # when we took over; None: nobody has said
        self._firewall = Firewall(self._names, self._channel, self._ran_before)
        self._sockets = sockets = Sockets()
        self._publisher = Publisher(self._firewall, hold or sockets.hold, release or sockets.release, self._describe)
        # One lock for each network: nobody gets an address on it while it is being removed.
        self._locks: dict[str, threading.Lock] = {}
        self._before: dict[str, list[Link]] = {}  # network → the host's links before its bridge went

    def _ran_before(self, identity: str) -> bool:
        return self._running is None or identity in self._running

    # --- networks ---------------------------------------------------------------------------------------------------

    def create(self, config: NetworkConfig) -> Network:
        """Makes a network, with a free subnet unless one is given.

        Raises InvalidConfig, Conflict for a name in use, a subnet that overlaps (with what), or when none is free.
        """
        identity = os.urandom(32).hex()
        with forwarding.host_lock():
            host = bridges.look(self._channel)
            taken = bridges.taken(self._channel, host) + self._own_subnets()
            subnet = subnets.accept(config["subnet"], taken) if config.get("subnet") else subnets.choose(taken)
            network: Network = {
                "id": identity,
                "name": config["name"],
                "driver": "bridge",
                "bridge": self._names.bridge(identity),
                "subnet": subnet,
                "gateway": subnets.gateway(subnet),
                "internal": config.get("internal", False),
                "labels": config.get("labels", {}),
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            # The row first: a bridge without a row would be nobody's, a row without a bridge is mended by `ensure`.
            self._store.insert_network(network)
            try:
                bridges.ensure(self._channel, network, host)
            except BaseException:
                # It may be half made; where it cannot be removed the row stays, so that somebody can.
                with contextlib.suppress(EngineError, OSError):
                    bridges.remove(self._channel, network["bridge"])
                    self._store.delete_network(identity)
                raise
        try:
            self._settle(host.links)
            self._beside_others(network)
        except BaseException:
            self.remove(network)
            raise
        event_log.record(self._store.root, event_log.of_network(network, "create"))
        return network

    def ensure(self, network: Network) -> None:
        """Sees to it that a network's bridge, filter and settings are there, after a reboot or a flush of rules."""
        self._ensure([network])

    def ensure_all(self) -> None:
        """The same for all networks of the root."""
        self._ensure(self._store.networks())

    def remove(self, network: Network) -> None:
        """Removes a network and all that belongs to it on the host. Conflict while containers have addresses on it."""
        with self._lock(network):
            used = self._store.addresses(network["id"])
            if used:
                holder = self._describe(next(iter(used.values())))
                subject = f"network {network['name']}"
                raise Conflict(f"it is in use by {holder}", subject=subject, hint="stop that first")
            self._remove_bridge(network)
            # The row last: a removal that was cut short is finished by the next.
            self._store.delete_network(network["id"])
        self._locks.pop(network["id"], None)
        from stackpy_runtime.network import coexistence

        event_log.record(self._store.root, event_log.of_network(network, "destroy"))
        coexistence.leave_zone(network["bridge"])
        self._settle(self._before.pop(network["id"], None))

    def empty(self, network: Network, lost: Collection[str]) -> bool:
        """Takes the bridge of a network away that will be removed, unless a container has an address on it.

        lost: containers that do not count, since nothing of them runs on. Should another want to have an address after
        all, `attach` makes the bridge anew.
        """
        with self._lock(network):
            if not set(lost).issuperset(self._store.addresses(network["id"]).values()):
                return False
            self._remove_bridge(network)
            return True

    def _remove_bridge(self, network: Network) -> None:
        if network["id"] in self._before:
            return  # it has gone before its network
        # Read before: for 20 ms after a removal the kernel lets nobody read them.
        known = self._channel.links(but=forwarding.OURS)
        bridges.remove(self._channel, network["bridge"])
        self._before[network["id"]] = known

    def _ensure(self, networks: list[Network]) -> None:
        for network in networks:
            self._before.pop(network["id"], None)
            if bridges.ensure(self._channel, network):
                self._beside_others(network)
        # Also without networks: the last one's removal may have been cut short.
        self._settle()

    def _own_subnets(self) -> list[subnets.Occupied]:
        """The subnets of our networks, also those whose bridges are not up yet."""
        found = []
        for network in self._store.networks():
            number = int.from_bytes(socket.inet_aton(network["gateway"]), "big")
            length = subnets.prefix_length(network["subnet"])
            found.append(subnets.occupied(number, length, f"network {network['name']} ({network['subnet']})"))
        return [entry for entry in found if entry is not None]

    def _settle(self, known: list[Link] | None = None) -> None:
        """Brings filter and forwarding in line with the networks that there are.

        known: the host's links, where they have been read already
        """
        known = self._channel.links(but=forwarding.OURS) if known is None else known
        # Under the lock from the reading on: else an older list could be written over a newer one.
        with self._firewall.lock:
            networks = self._store.networks()
            if not networks:
                self._vanish(known)
                return
            self._firewall.set_bridges(
                Bridge(network["bridge"], network["subnet"], network["internal"]) for network in networks
            )
            if all(network["internal"] for network in networks):
                self._firewall.load()
                forwarding.release(self._names, known, tables(NFPROTO_IPV4))
            else:
                forwarding.acquire(self._names, known, self._firewall.load)

    def _beside_others(self, network: Network) -> None:
        # Starts programs where other firewalls run: only when a bridge is new.
        from stackpy_runtime.network import coexistence

        coexistence.join_zone(network["bridge"])
        if not network["internal"]:
            coexistence.open_forward(self._names)

    def _vanish(self, known: list[Link]) -> None:
        present = tables(NFPROTO_IPV4)
        if self._names.table in present:
            # Programs are started only where there was something, and before the table, which says so, is gone.
            from stackpy_runtime.network import coexistence

            coexistence.close_forward(self._names)
        self._firewall.delete()
        # Not read anew: the kernel answers only once it has torn ours down, which takes 10 ms.
        forwarding.release(self._names, known, present - {self._names.table})

    # --- containers -------------------------------------------------------------------------------------------------

    def attach(
        self, container_id: str, netns_fd: int, network: Network, attachment: Attachment, link: str
    ) -> EndpointInfo:
        """Gives a container its place on a network: link, address and, on the first with a way out, default route.

        netns_fd: the container's network namespace; link: the name inside, e.g. eth0. Raises Conflict when the wanted
        address is taken or none is left; after any failure `detach` gives back what was taken.
        """
        with self._lock(network):
            address = self._store.allocate_address(
                network["id"], container_id, attachment.get("ipv4_address"), attachment.get("avoid", ())
            )
        mtu = self._channel.mtu(network["bridge"])
        if not mtu:
            self.ensure(network)
            mtu = self._channel.mtu(network["bridge"])
        port = Port(self._names.port(endpoints.nonce()), names.mac(address), address)
        self._firewall.add_port(container_id, port)
        endpoints.plug(
            self._channel,
            netns_fd,
            port=port,
            bridge=network["bridge"],
            mtu=mtu,
            container_id=container_id,
            link=link,
            subnet=network["subnet"],
            gateway="" if network["internal"] else network["gateway"],
            # br_netfilter translates a container's packet to its own published port while it is still on the bridge.
            hairpin=sysctl.read("net/bridge/bridge-nf-call-iptables") == "1",
        )
        return {
            "ip_address": address,
            "prefix_length": subnets.prefix_length(network["subnet"]),
            "mac_address": port.mac,
            "gateway": network["gateway"],
            "aliases": attachment["aliases"],
        }

    def detach(self, container_id: str, *, unplug: bool = False, addresses: bool = True) -> None:
        """Gives a container's addresses and ports back.

        addresses: give them back; otherwise somebody else does
        unplug: delete its links too, for a container that goes on running (16 ms, the kernel waits for RCU). Without
        it they go with the container's namespace, or with the network.
        """
        self._publisher.unpublish(container_id)
        plugged = self._firewall.remove_ports(container_id)
        if unplug and plugged:
            self._channel.send(*(links.delete_link(link) for link in plugged), ignore=(_ENODEV,))
        if addresses:
            self._store.release_addresses(container_id)

    def move(self, container_id: str, network: Network, address: str, wanted: str) -> None:
        """Gives a container another address on a network, and takes its link at the old one away; `attach` follows.

        Raises as `attach`; then it has its old address and link.
        """
        with self._lock(network):
            self._store.allocate_address(network["id"], container_id, wanted)
        self._unplug(container_id, address)

    def _unplug(self, container_id: str, address: str) -> None:
        link = self._firewall.remove_port(container_id, address)
        if link:
            self._channel.send(links.delete_link(link), ignore=(_ENODEV,))

    def leave(self, container_id: str, netns_fd: int, network: Network, address: str, way_out: Endpoint | None) -> None:
        """Takes a container that goes on running off one network.

        way_out: its place on the network that its default route shall lead through now; None where there is none
        """
        self._unplug(container_id, address)
        self._store.release_address(network["id"], container_id)
        if way_out is not None:
            endpoints.lead_out(netns_fd, way_out.mac, way_out.gateway)

    def lead_out(self, netns_fd: int, way_out: Endpoint) -> None:
        """Leads a container's default route through this place, wherever it has led before."""
        endpoints.lead_out(netns_fd, way_out.mac, way_out.gateway, anew=True)

    def free_link(self, pid: int) -> str:
        """A name for one more link of a container, by its first process."""
        return endpoints.free_name(pid)

    def loopback(self, netns_fd: int) -> None:
        """Brings `lo` up in the namespace of a container without a network."""
        endpoints.loopback_up(netns_fd)

    def prepare_dns(self, netns_fd: int, *, again: bool = False) -> tuple[socket.socket, socket.socket]:
        """UDP and TCP (listening) sockets of a namespace that get what is sent to 127.0.0.11:53 there.

        Port 53 itself stays free. `lo` must be up (`attach` or `loopback`). again: in place of sockets that were lost.
        """
        return redirect.prepare(netns_fd, again=again)

    def publish(
        self, container_id: str, bindings: list[PortBinding], address: str, share: str, ready: bool = True
    ) -> list[PortBinding]:
        """Leads host ports to a container's address; a published port of 0 becomes a free one. All or none.

        share: containers with the same one may stand behind one port, and connections are balanced over them
        ready: it takes connections already; until `mark` says so, the others behind the port have them all

        Returns the bindings as they are now. Raises InvalidConfig, Conflict naming who has a port.
        """
        return self._publisher.publish(container_id, bindings, address, share, ready)

    def mark(self, container_id: str, *, ready: bool, leaving: bool) -> None:
        """Says whether new connections to its ports go to a container; one that is the last gets them in any case."""
        self._publisher.mark(container_id, ready=ready, leaving=leaving)

    def is_shared(self, container_id: str, bindings: list[PortBinding]) -> bool:
        """Whether another container stands behind one of these ports already."""
        return self._publisher.is_shared(container_id, bindings)

    def republish(self, container_id: str, bindings: list[PortBinding], address: str, share: str) -> list[PortBinding]:
        """Publishes exactly these ports of a container, whatever it has published before; as `publish`."""
        return self._publisher.change(container_id, bindings, address, share)

    def unpublish(self, container_id: str) -> None:
        """Takes a container from behind all its published ports."""
        self._publisher.unpublish(container_id)

    def restore(
        self, published: Iterable[Published], held: Iterable[str] = (), running: Collection[str] | None = None
    ) -> list[EngineError]:
        """Takes over after another process, or a flush of rules: exactly these ports are published, in one transaction.

        A new process calls it before anything else. held: names of the sockets that are kept already; running: IDs of
        the containers whose links are let through, None for all that have one. Returns what went wrong without stopping
        the rest, e.g. a port that another program took meanwhile.
        """
        self._running = running
        problems: list[EngineError] = []
        wanted: dict[Key, list[Publication]] = {}
        for entry in published:
            try:
                bindings = check(entry.bindings)
            except InvalidConfig as error:
                problems.append(error)
                continue
            for binding in bindings:
                key = Key(binding["host_ip"], binding["protocol"], binding["published"])
                target = Target(entry.address, binding["target"])
                wanted.setdefault(key, []).append(Publication(entry.container_id, target, entry.share, entry.ready))
        problems += self._publisher.adopt(wanted, held)
        self.ensure_all()
        if any(not network["internal"] for network in self._store.networks()):
            # Docker or ufw may have come since.
            from stackpy_runtime.network import coexistence

            coexistence.open_forward(self._names)
        return problems

    @property
    def protected(self) -> bool:
        """Whether nobody else can delete or flush the filter (Linux 6.9); where they can, `intact` must be asked."""
        return self._firewall.protected

    def changes(self) -> socket.socket | None:
        """A socket that is readable when the filter may have been changed by another program: then call `mend`.

        None where nobody else can. The caller closes it.
        """
        return None if self.protected else nfnetlink.watch()

    def mend(self, changes: socket.socket) -> bool:
        """Reads what `changes` says, and writes the filter anew where somebody flushed or deleted it; True when so."""
        if not nfnetlink.changed_by_others(changes) or self.intact():
            return False
        self.ensure_all()
        return True

    def intact(self) -> bool:
        """Whether the filter still stands; when not, `ensure_all` mends it."""
        return not self._store.networks() or self._firewall.complete()

    def close(self) -> None:
        """Closes what is open here; what is on the host stays, but for sockets that nobody else holds."""
        self._sockets.close()
        self._firewall.close()
        self._channel.close()

    def _lock(self, network: Network) -> threading.Lock:
        return self._locks.setdefault(network["id"], threading.Lock())

    def _describe(self, container_id: str) -> str:
        try:
            return f"container {self._store.container(container_id)['name']}"
        except NotFound:
            return f"container {container_id[:12]}"
