"""Published ports: who may have which, and the sockets that keep them taken on the host.

A packet for a published port is translated before any socket could see it, so a socket bound to the same port only
makes sure that no other program believes it has the port. It does not listen: were the translation gone, a client
would be refused instead of left hanging.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from stackpy_runtime.errors import Conflict, InvalidConfig
from stackpy_runtime.network.firewall import Firewall, Publication
from stackpy_runtime.network.names import publication
from stackpy_runtime.network.rules import ANY, Key, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import PortBinding

Hold = Callable[[str, socket.socket], None]  # takes the socket over
Release = Callable[[str], None]

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_EACCES, _EADDRINUSE, _EADDRNOTAVAIL = 13, 98, 99


class Sockets:
    """Where held sockets live when nobody outside this process keeps them."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def hold(self, name: str, held: socket.socket) -> None:
        """Keeps a socket under a name."""
        self._held[name] = held

    def release(self, name: str) -> None:
        """Closes it; nothing happens when there is none."""
        held = self._held.pop(name, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Closes all."""
        for name in list(self._held):
            self.release(name)


class Publisher:
    """Publishes containers' ports.

    describe: a container's name for messages, by its ID
    """

    def __init__(self, firewall: Firewall, hold: Hold, release: Release, describe: Callable[[str], str]) -> None:
        self._firewall, self._hold, self._release, self._describe = firewall, hold, release, describe
        self._held: set[str] = set()

    def publish(
        self, container_id: str, bindings: Iterable[PortBinding], address: str, share: str, ready: bool = True
    ) -> list[PortBinding]:
        """Leads the bindings' host ports to a container, all or none; a published port of 0 becomes a free one.

        ready: it takes connections already
        Returns the bindings as they are now. Raises InvalidConfig, Conflict naming who has the port.
        """
        wanted = check(bindings)
        with self._firewall.lock:
            changes: dict[Key, list[Publication]] = {}
            bound: list[tuple[str, socket.socket]] = []
            result: list[PortBinding] = []
            try:
                for binding in wanted:
                    key = _key(binding)
                    others = self._beside(container_id, key, share, changes)
                    if _name(key) not in self._held or not key.published:
                        held, port = bind(key)
                        key = key._replace(published=port)
                        bound.append((_name(key), held))
                    entry = Publication(container_id, Target(address, binding["target"]), share, ready)
                    changes[key] = [*others, entry]
                    result.append({**binding, "published": key.published})
                self._firewall.publish(changes)
            except BaseException:
                for _, held in bound:
                    held.close()
                raise
            for name, held in bound:
                self._held.add(name)
                self._hold(name, held)
        _forget_udp(changes)
        return result

    def change(self, container_id: str, bindings: Iterable[PortBinding], address: str, share: str) -> list[PortBinding]:
        """The same for a container that publishes already: what it no longer names is free again, all at once.

        A port that stays on another address of the host is closed for a moment: nobody can have both.
        """
        wanted = check(bindings)
        with self._firewall.lock:
            keys = {_key(binding) for binding in wanted}
            held = {
                key: entries
                for key, entries in self._firewall.published.items()
                if any(entry.container_id == container_id for entry in entries)
            }
            leaving = {key: entries for key, entries in held.items() if key not in keys}
            if not any(_overlap(one, other) for one in leaving for other in keys):
                result = self.publish(container_id, wanted, address, share)
                self._leave(container_id, leaving)
                return result
            self._leave(container_id, leaving)
            try:
                return self.publish(container_id, wanted, address, share)
            except BaseException:
                before = [
                    {
                        "host_ip": key.host_ip,
                        "published": key.published,
                        "target": entry.target.port,
                        "protocol": key.protocol,
                    }
                    for key, entries in held.items()
                    for entry in entries
                    if entry.container_id == container_id
                ]
                self.publish(container_id, before, address, share)  # type: ignore[arg-type]
                raise

    def _leave(self, container_id: str, keys: dict[Key, list[Publication]]) -> None:
        """Takes a container from behind some ports."""
        changes = {
            key: [entry for entry in entries if entry.container_id != container_id] for key, entries in keys.items()
        }
        self._firewall.publish(changes)
        for key, entries in changes.items():
            if not entries:
                self._drop(_name(key))
        _forget_udp(changes)

    def unpublish(self, container_id: str) -> None:
        """Takes a container from behind all its ports; ports with nobody left behind are free again."""
        with self._firewall.lock:
            changes = {
                key: [entry for entry in entries if entry.container_id != container_id]
                for key, entries in self._firewall.published.items()
                if any(entry.container_id == container_id for entry in entries)
            }
            self._firewall.publish(changes)
            for key, entries in changes.items():
                if not entries:
                    self._drop(_name(key))
        _forget_udp(changes)

    def mark(self, container_id: str, *, ready: bool, leaving: bool) -> None:
        """Says whether a container takes new connections; see Publication."""
        with self._firewall.lock:
            changes = {
                key: [
                    entry._replace(ready=ready, leaving=leaving) if entry.container_id == container_id else entry
                    for entry in entries
                ]
                for key, entries in self._firewall.published.items()
                if any(entry.container_id == container_id for entry in entries)
            }
            self._firewall.publish(changes)

    def is_shared(self, container_id: str, bindings: Iterable[PortBinding]) -> bool:
        """Whether another container stands behind one of these ports already."""
        with self._firewall.lock:
            return any(
                entry.container_id != container_id
                for binding in bindings
                for entry in self._firewall.published.get(_key(binding), ())
            )

    def adopt(self, published: dict[Key, list[Publication]], held: Iterable[str]) -> list[Conflict | InvalidConfig]:
        """Takes over what was published before this process; the filter itself is loaded by the caller.

        held: names of sockets that somebody keeps already. Returns what could not be held, which is published anyway:
        the containers ran before whoever has the port now.
        """
        problems: list[Conflict | InvalidConfig] = []
        with self._firewall.lock:
            self._firewall.published = dict(published)
            self._held = set(held)
            for key in published:
                if _name(key) in self._held:
                    continue
                try:
                    held_socket, _ = bind(key)
                except (Conflict, InvalidConfig) as error:
                    problems.append(error)
                    continue
                self._held.add(_name(key))
                self._hold(_name(key), held_socket)
            for name in self._held - {_name(key) for key in published}:
                self._drop(name)
        return problems

    def _drop(self, name: str) -> None:
        self._held.discard(name)
        self._release(name)

    def _beside(
        self, container_id: str, key: Key, share: str, changes: dict[Key, list[Publication]]
    ) -> list[Publication]:
        """Those who stay behind the port beside this container; Conflict when there is no room."""
        if not key.published:
            return []
        for other, entries in self._firewall.published.items():
            if other == key or not _overlap(other, key):
                continue
            raise _taken(key, f"{_text(other)} is published by {self._describe(entries[0].container_id)}")
        for other in changes:
            if other != key and _overlap(other, key):
                raise InvalidConfig(
                    f"port {_text(key)} is published twice by one container", hint=f"see {_text(other)}"
                )
        others = [entry for entry in self._firewall.published.get(key, []) if entry.container_id != container_id]
        for entry in others:
            if not share or entry.share != share:
                raise _taken(key, f"it is published by {self._describe(entry.container_id)}")
        return others


def check(bindings: Iterable[PortBinding]) -> list[PortBinding]:
    """The bindings, if each makes sense by itself. Pure. Raises InvalidConfig."""
    result: list[PortBinding] = []
    seen: set[Key] = set()
    for binding in bindings:
        key = _key(binding)
        parts = key.host_ip.split(".")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
            raise InvalidConfig(
                f"`{key.host_ip}` is not an IPv4 address to publish on",
                hint="use 127.0.0.1, 0.0.0.0 or an address of this host",
            )
        if key.protocol not in _KINDS:
            raise InvalidConfig(f"cannot publish protocol `{key.protocol}`", hint="tcp or udp")
        for what, port, lowest in (("host", key.published, 0), ("container", binding["target"], 1)):
            if not lowest <= port <= 65535:
                raise InvalidConfig(f"{port} is not a {what} port", hint="ports go from 1 to 65535")
        if key in seen and key.published:
            raise InvalidConfig(f"port {_text(key)} is published twice by one container")
        seen.add(key)
        result.append(binding)
    return result


def bind(key: Key) -> tuple[socket.socket, int]:
    """A bound, idle socket that keeps a host port taken, and its port. Conflict naming who has it, InvalidConfig."""
    held = socket.socket(socket.AF_INET, _KINDS[key.protocol] | socket.SOCK_CLOEXEC)
    try:
        try:
            held.bind((key.host_ip, key.published))
        except OSError as error:
            if error.errno != _EADDRINUSE or not _only_waiting(key):
                raise
            # Without SO_REUSEADDR first: with it on both sides a server could bind beside us.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((key.host_ip, key.published))
        return held, int(held.getsockname()[1])
    except OSError as error:
        held.close()
        if error.errno == _EADDRNOTAVAIL:
            raise InvalidConfig(
                f"cannot publish on {key.host_ip}: it is not an address of this host",
                hint="`ip address` lists them; 0.0.0.0 means all",
            ) from None
        if error.errno != _EADDRINUSE:
            raise
        from stackpy_runtime.network.listeners import holder

        by = holder(key.protocol, key.host_ip, key.published)
        raise _taken(key, f"in use by {by}" if by else "in use") from None


def _only_waiting(key: Key) -> bool:
    from stackpy_runtime.network.listeners import only_waiting

    return only_waiting(key.protocol, key.published)


def _taken(key: Key, why: str) -> Conflict:
    joined = f"port {_text(key)} is {why}" if why.startswith("in use") else f"port {_text(key)} is taken: {why}"
    return Conflict(joined, hint="publish on another port, or stop what uses it")


def _forget_udp(changes: dict[Key, list[Publication]]) -> None:
    """Ends the flows that would keep going to the old place: UDP has no end that conntrack could see."""
    ports = {key.published for key in changes if key.protocol == "udp"}
    if ports:
        from stackpy_runtime.linux import conntrack

        conntrack.forget_udp(ports)


def _key(binding: PortBinding) -> Key:
    return Key(binding["host_ip"], binding["protocol"], binding["published"])


def _overlap(one: Key, other: Key) -> bool:
    same = one.protocol == other.protocol and one.published == other.published
    return same and (one.host_ip == other.host_ip or ANY in (one.host_ip, other.host_ip))


def _text(key: Key) -> str:
    return f"{key.host_ip}:{key.published}" + ("/udp" if key.protocol == "udp" else "")


def _name(key: Key) -> str:
    return publication(key.protocol, key.host_ip, key.published)
