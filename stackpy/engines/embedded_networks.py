"""The network and volume verbs of our own engine behind the port; mixed into EmbeddedEngine."""

from __future__ import annotations

from stackpy.engines.facade import Missing
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.engine import Engine

    Document = dict[str, Any]
    Label = tuple[str, str | None, bool]

_BRIDGE = "bridge"  # the engine's network of containers that name none


class EmbeddedNetworks:
    """Implements the part of ContainerEngine that is about networks and volumes."""

    if TYPE_CHECKING:

        @property
        def _engine(self) -> Engine:
            """The engine, its errors turned into ours."""

    # --- networks -------------------------------------------------------------------------------------------------

    def networks(self) -> list[Document]:
        """See ContainerEngine."""
        from stackpy.engines import listings

        return listings.networks(self._engine.networks())

    def network_inspect(self, name: str) -> Document:
        """See ContainerEngine."""
        from stackpy.engines import documents

        return documents.network(self._engine.network(name), self._engine.containers())

    def network_create(self, config: Document) -> str:
        """See ContainerEngine."""
        asked: Any = config
        return str(self._engine.create_network(asked)["id"])

    def network_remove(self, name: str, force: bool) -> None:
        """See ContainerEngine."""
        try:
            self._engine.remove_network(self._engine.network(name)["name"])
        except Missing:
            if not force:
                raise

    def network_connect(self, network: str, container: str, attachment: Document) -> None:
        """See ContainerEngine."""
        name = self._engine.network(network)["name"]
        found = self._engine.container(container)
        present = _networks_of(found)
        if name in present:
            raise StackpyError(f"container `{found['name']}` is on network `{name}` already")
        self._engine.update(found["id"], {"networks": {**present, name: {"aliases": [], **attachment}}})

    def network_disconnect(self, network: str, container: str, force: bool) -> None:
        """See ContainerEngine."""
        try:
            name = self._engine.network(network)["name"]
            found = self._engine.container(container)
        except Missing:
            if force:
                return
            raise
        present = _networks_of(found)
        if name not in present:
            raise StackpyError(f"container `{found['name']}` is not on network `{name}`")
        if len(present) == 1:
            hint = "connect it to another one first; `--network none` of `run` is for one that needs none"
            raise StackpyError(f"container `{found['name']}` is on no other network", hint=hint)
        self._engine.update(found["id"], {"networks": {key: one for key, one in present.items() if key != name}})

    def networks_prune(self, until: str, labels: list[Label]) -> list[str]:
        """See ContainerEngine."""
        from stackpy.engines import pruning

        return pruning.networks(self._engine, until, labels)

    # --- volumes --------------------------------------------------------------------------------------------------

    def volumes(self) -> list[Document]:
        """See ContainerEngine."""
        from stackpy.engines import listings

        volumes = self._engine.volumes()
        counts = {volume["name"]: len(self._engine.volume_snapshots(volume["name"])) for volume in volumes}
        return listings.volumes(volumes, counts)

    def volume_inspect(self, name: str) -> Document:
        """See ContainerEngine."""
        from stackpy.engines import documents

        return documents.volume(self._engine.volume(name), self._engine.volume_snapshots(name))

    def volume_remove(self, name: str, force: bool) -> None:
        """See ContainerEngine."""
        try:
            self._engine.remove_volume(name)
        except Missing:
            if not force:  # docker's meaning of --force here: no failure where there is nothing
                raise

    def volume_create(self, name: str, labels: dict[str, str]) -> str:
        """See ContainerEngine."""
        if not name:
            from os import urandom

            from stackpy.engines.labels import ANONYMOUS

            return str(self._engine.create_volume(urandom(32).hex(), {**labels, ANONYMOUS: ""})["name"])
        try:
            return str(self._engine.volume(name)["name"])  # as docker's: no failure where there is one
        except Missing:
            return str(self._engine.create_volume(name, labels)["name"])

    def volumes_prune(self, every: bool, labels: list[Label]) -> Document:
        """See ContainerEngine."""
        from stackpy.engines import pruning

        sizes = {row["name"]: row["size"] for row in self._engine.disk_usage()["volumes"]}
        gone = pruning.volumes(self._engine, labels, named=every)
        return {"volumes": gone, "freed": sum(sizes.get(name, 0) for name in gone)}


def _networks_of(container: Any) -> Document:
    """The networks of a container as its configuration has them, the engine's own where it names none."""
    config = container["config"]
    if mode := config.get("network_mode"):
        raise StackpyError(
            f"container `{container['name']}` has network_mode {mode}", hint="it can be on no other network"
        )
    return dict(config.get("networks") or {_BRIDGE: {"aliases": []}})
