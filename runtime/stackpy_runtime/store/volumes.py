"""Named volumes, and what is known of secrets, in the index."""

from __future__ import annotations

from stackpy_runtime.errors import Conflict, NotFound
from stackpy_runtime.store.database import Database, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from stackpy_runtime.model import Mount, Secret, Volume

_USERS_OF_VOLUME = """
SELECT name FROM containers WHERE EXISTS (
    SELECT 1 FROM json_each(containers.config, '$.mounts') AS mount
    WHERE json_extract(mount.value, '$.type') = 'volume' AND json_extract(mount.value, '$.source') = ?
) ORDER BY rowid
"""
_MOUNTING_CONTAINERS = """
SELECT name FROM containers WHERE EXISTS (
    SELECT 1 FROM json_each(containers.config, '$.secrets') AS mount
    WHERE json_extract(mount.value, '$.secret') = ?
) ORDER BY rowid
"""


class VolumeTable(Database):
    """Reading and writing volumes; their files are volume.py's business."""

    def volumes(self) -> list[Volume]:
        """All volumes, oldest first."""
        return [decode(text) for (text,) in self.rows("SELECT document FROM volumes ORDER BY rowid")]

    def volume(self, name: str) -> Volume:
        """The volume with this name; raises NotFound."""
        row = self.row("SELECT document FROM volumes WHERE name = ?", (name,))
        if row is None:
            meant = self.meant(name, "SELECT name FROM volumes")
            raise NotFound(f"no such volume: `{name}`", hint=f"{meant}`stackpy volume ls` lists them")
        volume: Volume = decode(row[0])
        return volume

    def volume_users(self, name: str) -> list[str]:
        """Names of the containers, running or not, that mount the volume."""
        return [user for (user,) in self.rows(_USERS_OF_VOLUME, (name,))]

    def insert_volume(self, volume: Volume) -> None:
        """Adds a volume; raises Conflict when its name is taken."""

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM volumes WHERE name = ?", (volume["name"],)).fetchone():
                raise Conflict(f"the volume name `{volume['name']}` is in use", hint="choose another name")
            connection.execute("INSERT INTO volumes VALUES (?, ?)", (volume["name"], encode(volume)))

        self.transaction(work)

    def update_volume(self, volume: Volume) -> None:
        """Replaces the document of the volume with this name; raises NotFound."""
        if not self.change("UPDATE volumes SET document = ? WHERE name = ?", (encode(volume), volume["name"])):
            raise NotFound(f"no such volume: `{volume['name']}`")

    def rename_volume(self, name: str, volume: Volume, moved: Callable[[], None]) -> None:
        """Gives a volume the name and place of `volume`, in the configurations of the containers that mount it too.

        moved: runs before, while nothing else changes. Raises NotFound, Conflict where the new name is taken.
        """

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM volumes WHERE name = ?", (volume["name"],)).fetchone():
                raise Conflict(f"the volume name `{volume['name']}` is in use", hint="choose another name")
            moved()
            found = connection.execute(
                "UPDATE volumes SET name = ?, document = ? WHERE name = ?", (volume["name"], encode(volume), name)
            )
            if not found.rowcount:
                raise NotFound(f"no such volume: `{name}`")
            for identity, text in connection.execute("SELECT id, config FROM containers").fetchall():
                config = decode(text)
                if any(mount["type"] == "volume" and mount["source"] == name for mount in config.get("mounts", [])):
                    connection.execute(
                        "UPDATE containers SET config = ? WHERE id = ?",
                        (encode({**config, "mounts": remounted(config["mounts"], name, volume["name"])}), identity),
                    )

        self.transaction(work)

    def delete_volume(self, name: str, moved_away: Callable[[], None] | None = None, *, of: str = "") -> None:
        """Removes the row; `moved_away` runs before, while no container can be added that uses the volume.

        of: the name of a container whose use of it does not count

        Raises NotFound, or Conflict when a container uses the volume, running or not.
        """

        def work(connection: sqlite3.Connection) -> None:
            users = [user for (user,) in connection.execute(_USERS_OF_VOLUME, (name,)) if user != of]
            if users:
                raise Conflict(
                    f"container {', '.join(users)} uses it" if len(users) == 1 else f"in use by {', '.join(users)}",
                    subject=f"volume {name}",
                    hint=f"remove it first: `stackpy rm {' '.join(users)}`",
                )
            if not connection.execute("DELETE FROM volumes WHERE name = ?", (name,)).rowcount:
                raise NotFound(f"no such volume: `{name}`", hint="`stackpy volume ls` lists them")
            if moved_away is not None:
                moved_away()

        self.transaction(work)


def remounted(mounts: list[Mount], old: str, new: str) -> list[Mount]:
    """The mounts with another name for a volume."""
    return [
        {**mount, "source": new} if mount["type"] == "volume" and mount["source"] == old else mount for mount in mounts
    ]


class SecretTable(Database):
    """Reading and writing secrets: name, fingerprint and labels, never a value."""

    def secrets(self) -> list[Secret]:
        """All secrets, oldest first; `available` is what was recorded, the holder of the values knows better."""
        return [decode(text) for (text,) in self.rows("SELECT document FROM secrets ORDER BY rowid")]

    def secret(self, name: str) -> Secret:
        """The secret with this name; raises NotFound."""
        row = self.row("SELECT document FROM secrets WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"no such secret: `{name}`")
        secret: Secret = decode(row[0])
        return secret

    def secret_users(self, name: str) -> list[str]:
        """Names of the containers, running or not, that mount the secret."""
        return [user for (user,) in self.rows(_MOUNTING_CONTAINERS, (name,))]

    def insert_secret(self, secret: Secret) -> None:
        """Adds a secret, or replaces the one with its name."""
        self.change(
            "INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document",
            (secret["name"], encode(secret)),
        )

    def delete_secret(self, name: str) -> None:
        """Removes a secret's row; nothing happens when it is gone already."""
        self.change("DELETE FROM secrets WHERE name = ?", (name,))
