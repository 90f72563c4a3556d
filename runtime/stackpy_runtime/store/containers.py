"""Containers in the index."""

from __future__ import annotations

from stackpy_runtime import labels
from stackpy_runtime.errors import Conflict, InvalidConfig, NotFound
from stackpy_runtime.store.database import Database, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from typing import NoReturn

    from stackpy_runtime.model import Container, ContainerConfig, ContainerState, EndpointInfo, Volume
    from stackpy_runtime.store.database import Row

_SELECT = "SELECT id, name, created, image, config, state, networks FROM containers"
_HEXADECIMAL = frozenset("0123456789abcdef")


class ContainerTable(Database):
    """Reading and writing containers."""

    def containers(self, stack: str | None = None) -> list[Container]:
        """All containers, or those of one stack, oldest first. `state` is what was last recorded, not what is live."""
        if stack is None:
            rows = self.rows(_SELECT + " ORDER BY rowid")
        else:
            rows = self.rows(_SELECT + " WHERE stack = ? ORDER BY rowid", (stack,))
        return [_container(row) for row in rows]

    def container(self, reference: str) -> Container:
        """The container with this ID, name or beginning of an ID, in that order.

        Raises NotFound, or InvalidConfig where several IDs begin so.
        """
        rows = self.rows(_SELECT + " WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1", (reference,))
        if not rows and reference and _HEXADECIMAL.issuperset(reference):
            # A range instead of LIKE: the primary key's index serves it.
            rows = self.rows(_SELECT + " WHERE id > ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 2", (reference,))
        if not rows:
            self._no_container(reference)
        if len(rows) > 1:
            raise InvalidConfig(
                f"several containers' IDs begin with `{reference}`", hint="give more of the ID, or the name"
            )
        return _container(rows[0])

    def containers_named(self, names: Iterable[str]) -> list[Container]:
        """Those that have one of these names or whole IDs, as last recorded; what there is not is left out."""
        return [
            _container(row) for name in names for row in self.rows(_SELECT + " WHERE id = ?1 OR name = ?1", (name,))
        ]

    def insert_container(self, container: Container, volumes: Iterable[Volume] = ()) -> None:
        """Adds a container, and the volumes that are made for it; raises Conflict when its name is taken.

        A volume that is there already is left as it is: somebody else was faster.
        """
        config = container["config"]
        values = (
            container["id"],
            container["name"],
            config.get("labels", {}).get(labels.STACK, ""),
            container["image_id"],
            container["created"],
            encode(config),
            encode(container["state"]),
            encode(container["networks"]),
        )

        def work(connection: sqlite3.Connection) -> None:
            _free(connection, container["name"], container["id"])
            connection.execute(
                "INSERT INTO containers (id, name, stack, image, created, config, state, networks)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            for volume in volumes:
                connection.execute("INSERT OR IGNORE INTO volumes VALUES (?, ?)", (volume["name"], encode(volume)))

        self.transaction(work)

    def update_container(
        self,
        container_id: str,
        *,
        config: ContainerConfig | None = None,
        state: ContainerState | None = None,
        networks: dict[str, EndpointInfo] | None = None,
        name: str | None = None,
    ) -> None:
        """Replaces the given documents of the container with this whole ID.

        Raises NotFound, or Conflict when the new name is taken.
        """
        columns: dict[str, str] = {}
        if config is not None:
            columns["config"] = encode(config)
            columns["stack"] = config.get("labels", {}).get(labels.STACK, "")
        if state is not None:
            columns["state"] = encode(state)
        if networks is not None:
            columns["networks"] = encode(networks)
        if name is not None:
            columns["name"] = name
        if not columns:
            return

        def work(connection: sqlite3.Connection) -> int:
            if name is not None:
                _free(connection, name, container_id)
            assignments = ", ".join(f"{column} = ?" for column in columns)
            return connection.execute(
                f"UPDATE containers SET {assignments} WHERE id = ?",  # noqa: S608 - the names stand above
                (*columns.values(), container_id),
            ).rowcount

        if not self.transaction(work):
            self._no_container(container_id)

    def delete_container(self, container_id: str) -> None:
        """Removes the row and the container's addresses; nothing happens when it is gone already."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM addresses WHERE container = ?", (container_id,))
            connection.execute("DELETE FROM containers WHERE id = ?", (container_id,))

        self.transaction(work)

    def _no_container(self, reference: str) -> NoReturn:
        raise NotFound(
            f"no such container: `{reference}`", hint=self.meant(reference, "SELECT name FROM containers").strip()
        )


def _free(connection: sqlite3.Connection, name: str, own: str) -> None:
    taken = connection.execute("SELECT id FROM containers WHERE name = ? AND id <> ?", (name, own)).fetchone()
    if taken:
        raise Conflict(
            f"the container name `{name}` is in use by container {taken[0][:12]}",
            hint=f"remove it with `stackpy rm {name}`, or choose another name",
        )


def _container(row: Row) -> Container:
    return {
        "id": row[0],
        "name": row[1],
        "created": row[2],
        "image_id": row[3],
        "config": decode(row[4]),
        "state": decode(row[5]),
        "networks": decode(row[6]),
    }
