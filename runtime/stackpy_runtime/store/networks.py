"""Networks and the addresses on them."""

from __future__ import annotations

from stackpy_runtime.errors import Conflict, InvalidConfig, NotFound
from stackpy_runtime.store.database import Database, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

    from stackpy_runtime.model import Network


class NetworkTable(Database):
    """Reading and writing networks, and handing out their addresses."""

    def networks(self) -> list[Network]:
        """All networks, oldest first."""
        return [decode(text) for (text,) in self.rows("SELECT document FROM networks ORDER BY rowid")]

    def network(self, reference: str) -> Network:
        """The network with this name or ID; raises NotFound."""
        row = self.row(
            "SELECT document FROM networks WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC LIMIT 1", (reference,)
        )
        if row is None:
            meant = self.meant(reference, "SELECT name FROM networks")
            raise NotFound(f"no such network: `{reference}`", hint=f"{meant}`stackpy network ls` lists them")
        network: Network = decode(row[0])
        return network

    def insert_network(self, network: Network) -> None:
        """Adds a network; raises Conflict when its name is taken."""

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM networks WHERE name = ?", (network["name"],)).fetchone():
                raise Conflict(f"the network name `{network['name']}` is in use", hint="choose another name")
            connection.execute(
                "INSERT INTO networks (id, name, document) VALUES (?, ?, ?)",
                (network["id"], network["name"], encode(network)),
            )

        self.transaction(work)

    def update_network(self, network: Network) -> None:
        """Replaces the document of the network with this ID; raises NotFound."""
        found = self.change("UPDATE networks SET document = ? WHERE id = ?", (encode(network), network["id"]))
        if not found:
            raise NotFound(f"no such network: `{network['name']}`")

    def delete_network(self, network_id: str) -> None:
        """Removes a network and its addresses; nothing happens when it is gone already."""
        self.change("DELETE FROM networks WHERE id = ?", (network_id,))

    def allocate_address(
        self, network_id: str, container_id: str, wanted: str | None = None, avoid: Sequence[str] = ()
    ) -> str:
        """An address of the network for the container: `wanted`, else the lowest free one.

        avoid: addresses that are free and somebody else's all the same

        The network's own address, its gateway and its broadcast address are never given. A container that has an
        address there keeps it, unless another one is wanted. Raises NotFound, InvalidConfig for a wanted address that
        is not the network's to give, Conflict when it is taken or none is left.
        """
        # 5 ms, and only the supervisor comes here.
        import ipaddress

        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT document FROM networks WHERE id = ?", (network_id,)).fetchone()
            if row is None:
                raise NotFound(f"no such network: `{network_id}`")
            network: Network = decode(row[0])
            subnet = ipaddress.IPv4Network(network["subnet"])
            first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address) - 1
            gateway = int(ipaddress.IPv4Address(network["gateway"]))
            taken: dict[int, str] = dict(
                connection.execute("SELECT address, container FROM addresses WHERE network = ?", (network_id,))
            )
            own = next((address for address, owner in taken.items() if owner == container_id), None)
            if wanted is None:
                if own is not None:
                    return own
                others = {gateway, *taken, *map(_number, avoid)}
                free = (number for number in range(first, last + 1) if number not in others)
                chosen = next(free, None)
                if chosen is None:
                    raise Conflict(
                        f"no free address is left in {network['subnet']}",
                        subject=f"network {network['name']}",
                        hint="remove containers, or give the network a larger subnet",
                    )
            else:
                chosen = _number(wanted)
                if not first <= chosen <= last or chosen == gateway:
                    raise InvalidConfig(
                        f"{wanted} is not an address for containers of {network['subnet']}",
                        subject=f"network {network['name']}",
                    )
                holder = taken.get(chosen, container_id)
                if holder != container_id:
                    row = connection.execute("SELECT name FROM containers WHERE id = ?", (holder,)).fetchone()
                    raise Conflict(
                        f"{wanted} is in use by container {row[0] if row else holder[:12]}",
                        subject=f"network {network['name']}",
                        hint="choose another address, or stop that container first",
                    )
                if own is not None:
                    connection.execute(
                        "DELETE FROM addresses WHERE network = ? AND container = ?", (network_id, container_id)
                    )
            connection.execute("INSERT INTO addresses VALUES (?, ?, ?)", (network_id, chosen, container_id))
            return chosen

        return _text(self.transaction(work))

    def addresses(self, network_id: str) -> dict[str, str]:
        """Container IDs by address, in the order of addresses."""
        rows = self.rows("SELECT address, container FROM addresses WHERE network = ? ORDER BY address", (network_id,))
        return {_text(address): container for address, container in rows}

    def rename_network(self, network_id: str, name: str) -> None:
        """Gives a network another name, in its containers' configurations too; Conflict where it is taken."""

        def work(connection: sqlite3.Connection) -> None:
            taken = connection.execute("SELECT 1 FROM networks WHERE name = ? AND id <> ?", (name, network_id))
            if taken.fetchone():
                raise Conflict(f"the network name `{name}` is in use", hint="choose another name")
            row = connection.execute("SELECT document FROM networks WHERE id = ?", (network_id,)).fetchone()
            if row is None:
                raise NotFound(f"no such network: `{network_id[:12]}`")
            network: Network = decode(row[0])
            old = network["name"]
            connection.execute(
                "UPDATE networks SET name = ?, document = ? WHERE id = ?",
                (name, encode({**network, "name": name}), network_id),
            )
            for identity, config, joined in connection.execute(
                "SELECT id, config, networks FROM containers"
            ).fetchall():
                documents = decode(config), decode(joined)
                if old in documents[0].get("networks", {}) or old in documents[1]:
                    documents[0]["networks"] = renamed(documents[0].get("networks", {}), old, name)
                    connection.execute(
                        "UPDATE containers SET config = ?, networks = ? WHERE id = ?",
                        (encode(documents[0]), encode(renamed(documents[1], old, name)), identity),
                    )

        self.transaction(work)

    def release_address(self, network_id: str, container_id: str) -> None:
        """Gives back a container's address on one network."""
        self.change("DELETE FROM addresses WHERE network = ? AND container = ?", (network_id, container_id))

    def release_addresses(self, container_id: str) -> None:
        """Gives back all addresses of a container."""
        self.change("DELETE FROM addresses WHERE container = ?", (container_id,))


def renamed(entries: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The mapping with another name for one of its keys, in its order."""
    return {new if key == old else key: entry for key, entry in entries.items()}


def _text(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def _number(address: str) -> int:
    import ipaddress

    try:
        return int(ipaddress.IPv4Address(address))
    except ValueError:
        raise InvalidConfig(f"`{address}` is not an IPv4 address") from None
