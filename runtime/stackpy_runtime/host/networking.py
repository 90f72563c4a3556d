"""A container on its networks: addresses, names, published ports, and the files under /etc that tell of them."""

from __future__ import annotations

import os
import socket
import threading
from functools import partial

from stackpy_runtime import labels
from stackpy_runtime.errors import NotFound
from stackpy_runtime.host.creation import BRIDGE, bridge_config
from stackpy_runtime.host.leaving import Leaving
from stackpy_runtime.host.names import Names
from stackpy_runtime.host.serving import Serving
from stackpy_runtime.network.manager import Endpoint, NetworkManager, Published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.host.keeper_link import KeeperLink
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.model import Attachment, ContainerConfig, EndpointInfo, Network
    from stackpy_runtime.store.store import Store

RESOLVER = "127.0.0.11"


class Networking:
    """What Lifecycle asks of the network room, for one container at a time."""

    def __init__(self, store: Store, keeper: KeeperLink, serve_dns: Callable[[str, Any, Any, list[str]], None]) -> None:
        self.store, self.keeper, self.names = store, keeper, Names()
        self.manager = NetworkManager(store, hold=self._hold, release=self._release)
        self.serving = Serving(self.manager, self.names)
        self.serve_dns = serve_dns
        self.stop_dns: Callable[[str], None] = lambda container: None
        self.lock = threading.Lock()
        self.leaving = Leaving(store, self.manager)

    def _hold(self, name: str, held: socket.socket) -> None:
        self.keeper.hold(f"port/{name}", [held.fileno()])
        held.close()

    def _release(self, name: str) -> None:
        self.keeper.release(f"port/{name}")

    def attachments(self, live: Live, config: ContainerConfig | None = None) -> list[tuple[Network, Attachment]]:
        """The networks of a container; the bridge, made on demand, when it names none.

        config: another configuration than the one that it has
        """
        config = live.config if config is None else config
        if config.get("network_mode"):
            return []
        wanted = config.get("networks") or {BRIDGE: {"aliases": []}}
        result = []
        for name, attachment in wanted.items():
            try:
                network = self.store.network(name)
            except NotFound:
                if name != BRIDGE:
                    raise
                network = self._make_bridge()
            result.append((network, attachment))
        # The way out leads through the first network that has one.
        return sorted(result, key=lambda pair: (pair[0]["internal"], -pair[1].get("gw_priority", 0)))

    def _make_bridge(self) -> Network:
        with self.lock:
            try:
                return self.store.network(BRIDGE)
            except NotFound:
                return self.manager.create(bridge_config())

    def attach(self, live: Live, namespace: int) -> None:
        """Connects a container's network namespace, and answers its DNS questions."""
        endpoints: dict[str, EndpointInfo] = {}
        pairs = self.attachments(live)
        if not pairs:
            self.manager.loopback(namespace)
            return
        links = link_names([attachment for _, attachment in pairs])
        for (network, attachment), link in zip(pairs, links, strict=True):
            self.leaving.stay(network["name"])
            network, info = self._attach_one(live, namespace, network, attachment, link)
            endpoints[network["name"]] = info
            live.attached = {**live.attached, network["name"]: network["id"]}
            self._register(live, network, attachment, info)
        self.names.set_aside(live.id, live.probe is not None)
        datagrams, stream = self.manager.prepare_dns(namespace)
        self.keeper.hold(f"dns/{live.id}", [datagrams.fileno(), stream.fileno()])
        self.serve_dns(live.id, datagrams, stream, live.config.get("dns", []))
        live.container["networks"] = endpoints
        self._write_hosts(live, endpoints)
        if live.container["image_id"]:
            # A build step has no row.
            self.store.update_container(live.id, networks=endpoints)

    def _register(self, live: Live, network: Network, attachment: Attachment, info: EndpointInfo) -> None:
        names = [live.name, live.id[:12], *attachment["aliases"]]
        self.names.add(live.id, network["id"], info["ip_address"], names, internal=network["internal"])

    def join(self, live: Live, config: ContainerConfig) -> None:
        """Connects a container that runs with the networks of another configuration, and disconnects it from others."""
        present = dict(live.container["networks"])
        before: dict[str, Attachment] = live.config.get("networks", {})
        old_ways = [network["name"] for network, _ in self.attachments(live) if not network["internal"]]
        wanted = {network["name"]: (network, attachment) for network, attachment in self.attachments(live, config)}
        namespace = os.open(f"/proc/{live.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for name, (network, attachment) in wanted.items():
                if name not in present:
                    self.leaving.stay(name)
                    _, info = self._attach_one(live, namespace, network, attachment, self._link(live, attachment))
                    present[name] = info
                    live.attached = {**live.attached, name: network["id"]}
                elif _is_another(attachment, before.get(name), present[name]):
                    address = attachment.get("ipv4_address") or present[name]["ip_address"]
                    self.manager.move(live.id, network, present[name]["ip_address"], address)
                    link = self._link(live, attachment)
                    _, present[name] = self._attach_one(live, namespace, network, attachment, link)
            left = [name for name in present if name not in wanted]
            # The way out leads through the first network that has one.
            ways = [name for name, (network, _) in wanted.items() if not network["internal"]]
            outward = present[ways[0]] if ways else None
            way_out = Endpoint(outward["mac_address"], outward["gateway"]) if outward else None
            if way_out and ways[0] != next(iter(old_ways), ""):
                self.manager.lead_out(namespace, way_out)
            for name in left:
                network = self.store.network(name)
                self.manager.leave(live.id, namespace, network, present[name]["ip_address"], way_out)
        finally:
            os.close(namespace)
        endpoints: dict[str, EndpointInfo] = {
            name: {**present[name], "aliases": attachment["aliases"]} for name, (_, attachment) in wanted.items()
        }
        live.attached = {name: identity for name, identity in live.attached.items() if name in wanted}
        live.container["networks"] = endpoints
        self._write_hosts(live, endpoints)
        self.store.update_container(live.id, networks=endpoints)

    def republish(self, live: Live, config: ContainerConfig) -> None:
        """Publishes the ports of another configuration of a container that runs; free ones are written into it."""
        wanted = self.publication(live, {**config, "ports": config.get("ports", [])})
        if wanted is None:
            return
        bound = self.manager.republish(*wanted[:4])
        if bound:
            config["ports"] = bound

    def rename(self, live: Live) -> None:
        """Has a container that runs be found under the name that it has now, and no longer under the old one."""
        endpoints = live.container["networks"]
        if endpoints:
            aside = live.id in self.names.aside
            self.names.remove(live.id)
            for network, attachment in self.attachments(live):
                if info := endpoints.get(network["name"]):
                    self._register(live, network, attachment, info)
            self.names.set_aside(live.id, aside)

    def _link(self, live: Live, attachment: Attachment) -> str:
        """The name of one more link of a container that runs."""
        return attachment.get("interface_name") or self.manager.free_link(live.pid)

    def _attach_one(
        self, live: Live, namespace: int, network: Network, attachment: Attachment, link: str
    ) -> tuple[Network, EndpointInfo]:
        try:
            return network, self.manager.attach(live.id, namespace, network, attachment, link)
        except NotFound:
            if network["name"] != BRIDGE:
                raise
            # Its last container has ended in this moment, and it was taken away.
            network = self._make_bridge()
            return network, self.manager.attach(live.id, namespace, network, attachment, link)

    def publication(self, live: Live, config: ContainerConfig | None = None) -> Published | None:
        """What a container publishes; replicas of one resource share their ports.

        config: another configuration than the one that it has, which may publish nothing
        """
        ports = live.config.get("ports") if config is None else config.get("ports")
        if (not ports and config is None) or not live.container["networks"]:
            return None
        address = next(iter(live.container["networks"].values()))["ip_address"]
        given = (live.config if config is None else config).get("labels", {})
        stack, resource = given.get(labels.STACK, ""), given.get(labels.RESOURCE, "")
        ready = live.probe is None or live.state["health"] == "healthy"
        return Published(live.id, ports or [], address, f"{stack}/{resource}" if stack else "", ready)

    def publish(self, live: Live) -> None:
        """Opens a container's ports, once it is about to run."""
        ready = self.serving.begin(live)
        wanted = self.publication(live)
        if wanted:
            bound = self.manager.publish(*wanted[:4], ready=ready)
            if not ready and live.probe is None:
                self.serving.await_listening(live)
            if bound != wanted.bindings:
                # A published port of 0 has become a free one.
                live.config["ports"] = bound
                self.store.update_container(live.id, config=live.config)

    def give_up(self, live: Live) -> None:
        """Counts a container out that is to be removed and was killed: its networks need not wait until it is gone."""
        self.leaving.lose(live.id, live.attached)

    def detach(self, live: Live) -> None:
        """Undoes `attach` and `publish`."""
        attached, live.attached = live.attached, {}
        had_names, live.container["networks"] = bool(live.container["networks"]), {}
        if had_names:
            self.names.remove(live.id)
        # The addresses of one that is removed go with its row.
        self.manager.detach(live.id, addresses=not live.removed)
        # The resolver's sockets keep the network namespace alive until its networks are removed: the kernel would else
        # be busy with its links, and with the lock that the removal needs, for as long again.
        self.leaving.end(live.id, attached, partial(self._stop_dns, live.id, had_names))

    def _stop_dns(self, container: str, had_names: bool) -> None:
        if had_names:
            self.stop_dns(container)
            self.keeper.release(f"dns/{container}")

    def remove(self, network: Network) -> None:
        """Removes a network that no container is on."""
        try:
            self.manager.remove(network)
        finally:
            self.leaving.stay(network["name"])

    def adopt(self, live: Live, held: list[int]) -> None:
        """Takes up a container that has gone on running without us; `held`: its DNS sockets, from the keeper."""
        endpoints = live.container["networks"]
        for network, attachment in self.attachments(live):
            info = endpoints.get(network["name"])
            if info:
                live.attached = {**live.attached, network["name"]: network["id"]}
                self._register(live, network, attachment, info)
        if live.probe is not None and live.state["health"] != "healthy":
            self.names.set_aside(live.id, True)
        if len(held) == 2:
            datagrams, stream = (socket.socket(fileno=descriptor) for descriptor in held)
            self.serve_dns(live.id, datagrams, stream, live.config.get("dns", []))
        elif endpoints:
            # The keeper has died, and its descriptors with it.
            namespace = os.open(f"/proc/{live.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                datagrams, stream = self.manager.prepare_dns(namespace, again=True)
            finally:
                os.close(namespace)
            self.keeper.hold(f"dns/{live.id}", [datagrams.fileno(), stream.fileno()])
            self.serve_dns(live.id, datagrams, stream, live.config.get("dns", []))

    def write_etc(self, live: Live, hostname: str) -> dict[str, str]:
        """Writes hosts, hostname and resolv.conf of a container; returns target → file."""
        folder = f"{live.folder}/etc"
        contents = {
            "hostname": f"{hostname}\n",
            "hosts": self._hosts(live, {}, hostname),
            "resolv.conf": self._resolver(live),
        }
        for name, text in contents.items():
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
        return {name: f"{folder}/{name}" for name in contents}

    def _resolver(self, live: Live) -> str:
        mode, config = live.config.get("network_mode"), live.config
        given = config.get("dns", [])
        if mode == "host":
            try:
                with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
                    text = file.read()
            except OSError:
                text = ""
        else:
            text = "" if mode == "none" else f"nameserver {RESOLVER}\noptions ndots:0\n"
            # The server in between asks those given; without one they are asked by the container.
            given = given if mode == "none" else []
        return resolver(text, given, config.get("dns_search", []), config.get("dns_opt", []))

    def _hosts(self, live: Live, endpoints: dict[str, EndpointInfo], hostname: str) -> str:
        config = live.config
        if domain := config.get("domainname"):
            hostname = f"{hostname}.{domain}\t{hostname}"
        addresses = [info["ip_address"] for info in endpoints.values()]
        extra = []
        for name, given in config.get("extra_hosts", {}).items():
            for address in given:
                if address == "host-gateway":
                    address = self._gateway(live, endpoints)
                if address:
                    extra.append(f"{address}\t{name}")
        return hosts(hostname, addresses, extra)

    def _gateway(self, live: Live, endpoints: dict[str, EndpointInfo]) -> str:
        """The host's address as a container sees it; "" while it is on no network yet."""
        if live.config.get("network_mode") == "host":
            return "127.0.0.1"
        return next((info["gateway"] for info in endpoints.values()), "")

    def _write_hosts(self, live: Live, endpoints: dict[str, EndpointInfo]) -> None:
        text = self._hosts(live, endpoints, live.config.get("hostname") or live.id[:12])
        # In place: the file is a bind mount inside.
        with open(f"{live.folder}/etc/hosts", "w", encoding="utf-8") as file:
            file.write(text)

    def tidy(self) -> None:
        """Removes the bridge that was made on demand when no container is on it."""
        with self.lock:
            try:
                network = self.store.network(BRIDGE)
            except NotFound:
                return
            if not network["labels"] and not self.store.addresses(network["id"]):
                self.manager.remove(network)


def link_names(attachments: list[Attachment]) -> list[str]:
    """The names of a container's links inside: those that are asked for, and eth0, eth1, … for the others."""
    asked = [attachment.get("interface_name", "") for attachment in attachments]
    free = (name for number in range(len(asked) * 2) if (name := f"eth{number}") not in asked)
    return [name or next(free) for name in asked]


def _is_another(attachment: Attachment, before: Attachment | None, present: EndpointInfo) -> bool:
    """Whether a place on a network is not the one that a container has there: its address, or the name of its link."""
    if attachment.get("ipv4_address", present["ip_address"]) != present["ip_address"]:
        return True
    return before is not None and attachment.get("interface_name") != before.get("interface_name")


def hosts(hostname: str, addresses: list[str], extra: list[str]) -> str:
    """The text of /etc/hosts. extra: further lines"""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{hostname}" for address in addresses] or [f"127.0.1.1\t{hostname}"]
    return "\n".join([*lines, *extra]) + "\n"


def resolver(text: str, servers: list[str], search: list[str], options: list[str]) -> str:
    """A resolv.conf with other servers, search domains and options, where any are given (resolv.conf(5)).

    search: `.` alone is none
    """
    if not (servers or search or options):
        return text
    kept = []
    for line in text.splitlines():
        word = (line.split() or [""])[0]
        if not ((word == "nameserver" and servers) or (word in ("search", "domain") and search)):
            kept.append(line)
    kept += [f"nameserver {server}" for server in servers]
    if search and search != ["."]:
        kept.append(f"search {' '.join(search)}")
    if options:
        kept.append(f"options {' '.join(options)}")
    return "\n".join(kept) + "\n"
