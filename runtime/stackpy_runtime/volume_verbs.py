"""The verbs of volumes; mixed into Engine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.model import Container, Volume, VolumeSnapshot
    from stackpy_runtime.store.store import Store


class VolumeVerbs:
    """Volumes of an engine root, and snapshots of them."""

    if TYPE_CHECKING:

        @property
        def client(self) -> Client:
            """The line to the supervisor."""

        @property
        def store(self) -> Store:
            """The store, for reading."""

        def container(self, reference: str) -> Container:
            """A container as it is now."""

        def _writable(self) -> Store:
            """The store, created when there is none."""

    def volumes(self) -> list[Volume]:
        """All volumes."""
        return self.store.volumes()

    def volume(self, name: str) -> Volume:
        """A volume by name; raises NotFound."""
        return self.store.volume(name)

    def create_volume(self, name: str, labels: dict[str, str]) -> Volume:
        """Makes a named volume."""
        volume: Volume = self.client.call("create_volume", {"name": name, "labels": labels})
        return volume

    def label_volume(self, name: str, labels: dict[str, str]) -> None:
        """Gives a volume other labels; raises NotFound."""
        self.store.update_volume({**self.store.volume(name), "labels": labels})

    def rename_volume(self, name: str, new: str) -> None:
        """Gives a volume another name; the containers that mount it go on."""
        self.client.call("rename_volume", {"name": name, "new": new})

    def restore_volume(self, name: str) -> None:
        """Makes the folder of a volume anew, where somebody has deleted it with all that was in it."""
        self.client.call("restore_volume", {"name": name})

    def remove_volume(self, name: str) -> None:
        """Removes a volume, with its data, that no container mounts."""
        self.client.call("remove_volume", {"name": name})

    def volume_data(self, name: str) -> tuple[int, float]:
        """Bytes on disk that a volume's files take, and when the newest was written (seconds since the epoch; 0: none).

        Raises NotFound.
        """
        from stackpy_runtime.store import usage

        path = self.store.volume(name)["mountpoint"]
        return usage.allocated(path), usage.newest(path)

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def volume_snapshots(self, name: str) -> list[VolumeSnapshot]:
        """The snapshots of a volume, oldest first; none where there is no such volume."""
        from stackpy_runtime import volume_snapshots

        return volume_snapshots.of_volume(self.store.root, name)

    def snapshot_volume(self, name: str, labels: dict[str, str], go_on: Callable[[], None]) -> VolumeSnapshot:
        """Keeps what a volume holds now; the containers that mount it stand still while it is copied.

        go_on: called again and again; what it raises ends it

        Whole or not at all. Raises NotFound, Conflict where something is mounted in it, EngineError on a full disk.
        """
        from stackpy_runtime import volume_snapshots
        from stackpy_runtime.host.stillness import all_still

        standing = all_still(self.client, self._running_users(name))
        return volume_snapshots.take(self._writable(), name, labels, standing, go_on)

    def remove_volume_snapshot(self, name: str, identity: str) -> None:
        """Removes a snapshot; nothing happens where it has gone already."""
        from stackpy_runtime import volume_snapshots

        volume_snapshots.remove(self._writable(), name, identity)

    def restore_volume_snapshot(
        self, name: str, identity: str, labels: dict[str, str], ready: Callable[[], None], go_on: Callable[[], None]
    ) -> VolumeSnapshot:
        """Makes what a snapshot holds the content of its volume, in one step; what was in it becomes a snapshot.

        labels: of that one
        ready: called when all is copied, to stop what uses the volume; nothing has been changed before
        go_on: as for `snapshot_volume`

        Raises NotFound, Conflict where a container that uses it runs, and EngineError on a full disk.
        """
        from stackpy_runtime import volume_snapshots
        from stackpy_runtime.errors import Conflict

        def stopped() -> None:
            ready()
            for user in self._running_users(name):
                raise Conflict(
                    f"container {user['name']} uses it and runs",
                    subject=f"volume {name}",
                    hint=f"`stackpy stop {user['name']}` first",
                )

        return volume_snapshots.restore(self._writable(), name, identity, labels, stopped, go_on)

    def _running_users(self, name: str) -> list[Container]:
        """The containers that mount a volume and run."""
        users = [self.container(user) for user in self.store.volume_users(name)]
        return [user for user in users if user["state"]["status"] not in ("created", "exited")]
