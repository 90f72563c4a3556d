"""The container verbs of our own engine behind the port; mixed into EmbeddedEngine.

On the way of every `run` and `exec`: what only listings need is imported where they need it.
"""

from __future__ import annotations

from stackpy.engines.facade import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Literal

    from stackpy.dsl.specs import Dependency
    from stackpy.engines.base_containers import Pieces, Sink
    from stackpy.engines.facade import Facade
    from stackpy_runtime.engine import Engine

    Document = dict[str, Any]


LEARNED_WITHIN = 5.0  # seconds in which the notes of a container that has ended are there


class EmbeddedContainers:
    """Implements ContainerEngine."""

    root: str

    if TYPE_CHECKING:

        @property
        def _engine(self) -> Engine:
            """The engine, its errors turned into ours."""

        @property
        def _facade(self) -> Facade:
            """The same, with its documents typed as mappings."""

    def mounts(self, reference: str) -> list[Document]:
        """See ContainerEngine."""
        return [dict(mount) for mount in self._engine.container(reference)["config"].get("mounts", [])]

    def ps(
        self, stack: str | None, every: bool, filters: Sequence[tuple[str, str]] = (), *, size: bool = False
    ) -> list[Document]:
        """See ContainerEngine."""
        import time

        from stackpy.engines import listings

        engine = self._engine
        everyone: Sequence[Any] = engine.containers(stack)
        images = engine.images()
        if filters:
            from stackpy.engines.container_filters import Surroundings, matching

            everyone = matching(Surroundings(everyone, lambda: images, engine.networks), filters)
        found = [one for one in everyone if every or one["state"]["status"] not in ("created", "exited")]
        rows = listings.containers(found, {image["id"]: image for image in images}, time.time())
        if size:
            below = {image["id"]: image["size"] for image in images}
            made_of = {one["id"]: one["image_id"] for one in found}
            for row in rows:
                row["size_rw"] = engine.container_size(row["id"])
                row["size_root_fs"] = row["size_rw"] + below.get(made_of[row["id"]], 0)
        return rows

    def stats(self, names: Sequence[str]) -> list[Document | None]:
        """See ContainerEngine."""
        found: list[Document | None] = []
        for name in names:
            try:
                used = self._engine.consumption(name)
            except Missing:
                used = None
            found.append(None if used is None else {**used})
        return found

    def processes(self, name: str) -> list[int]:
        """See ContainerEngine."""
        return self._engine.container_processes(name)

    def find(self, name: str, stack: str | None) -> list[str]:
        """See ContainerEngine."""
        from stackpy.engines import listings

        return listings.find(name, self._engine.containers(), stack)

    def inspect(self, name: str, *, size: bool = False) -> Document:
        """See ContainerEngine."""
        from stackpy.engines import documents

        engine = self._engine
        container = engine.container(name)
        image = next((image for image in engine.images() if image["id"] == container["image_id"]), None)
        document = documents.container(
            container,
            image,
            {volume["name"]: volume for volume in engine.volumes()},
            networks={network["name"]: network["id"] for network in engine.networks()},
            folder=f"{self.root}/containers/{container['id']}",
            health=engine.health_log(container["id"]),
            crash=engine.last_crash(container["id"]),
        )
        if container["config"].get("learn") and (found := engine.learned(container["id"])):
            from stackpy.engines import learned

            document["Learned"] = {
                **learned.fields(found, container["config"]),
                "Fields": learned.text(found, container["config"]),
            }
        if size:
            written = engine.container_size(container["id"])
            document |= {"SizeRw": written, "SizeRootFs": written + (image["size"] if image else 0)}
        return document

    def learned(self, name: str) -> str:
        """See ContainerEngine."""
        from stackpy.engines import learned

        found = self._engine.learned(name, timeout=LEARNED_WITHIN)
        return learned.text(found, self._engine.container(name)["config"]) if found else ""

    def logs(
        self, name: str, *, follow: bool, tail: int | None, since: str | None, until: str | None
    ) -> Iterator[Document]:
        """See ContainerEngine."""
        lines: Iterator[Any] = self._engine.logs(name, follow=follow, tail=tail, since=since, until=until)
        return lines

    def output(
        self, name: str, *, follow: bool, tail: int | None, since: str | None, until: str | None
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ContainerEngine."""
        return self._engine.output(name, follow=follow, tail=tail, since=since, until=until)

    def events(self, filters: Sequence[tuple[str, str]], *, since: int | None, until: int | None) -> Iterator[Document]:
        """See ContainerEngine."""
        from stackpy.engines import documents
        from stackpy.engines.event_filters import accepting

        accepts = accepting(filters)
        happening = self._engine.events(since=since, until=until)
        return (documents.event(event) for event in happening if accepts(event))

    def log_attributes(self, name: str) -> dict[str, str]:
        """See ContainerEngine."""
        return self._engine.log_attributes(name)

    def create(self, config: Document) -> str:
        """See ContainerEngine."""
        checked: Any = config  # by the engine
        return self._engine.create(checked)

    def run(self, config: Document, *, detach: bool, remove: bool, attaching: Document | None = None) -> int | None:
        """See ContainerEngine."""
        checked: Any = config  # by the engine
        return self._engine.run(checked, detach=detach, remove=remove, **(attaching or {}))

    def attach(self, name: str, attaching: Document, *, start: bool = False) -> int | None:
        """See ContainerEngine."""
        return (self._engine.start_attached if start else self._engine.attach)(name, **attaching)

    def start(self, name: str) -> None:
        """See ContainerEngine."""
        self._engine.start(name)

    def meet(self, name: str, say: Callable[[str], None]) -> None:
        """See ContainerEngine."""
        from stackpy.engines import conditions

        conditions.of_container(self._facade, name, say)

    def meet_all(
        self, stack: str, address: str, dependencies: Sequence[Dependency], say: Callable[[str], None]
    ) -> None:
        """See ContainerEngine."""
        from stackpy.engines import conditions

        conditions.meet(self._facade, stack, address, dependencies, say)

    def dependents(self, names: Sequence[str]) -> list[str]:
        """See ContainerEngine."""
        from stackpy.engines import conditions

        return conditions.dependents(self._facade, names)

    def stop(self, name: str, timeout: float | None, signal: str = "") -> str:
        """See ContainerEngine."""
        return _unusual(self._engine.stop(name, timeout, signal))

    def restart(self, name: str, timeout: float | None, signal: str = "") -> str:
        """See ContainerEngine."""
        return _unusual(self._engine.restart(name, timeout, signal))

    def rename(self, name: str, new: str) -> None:
        """See ContainerEngine."""
        self._engine.rename(name, new)

    def update(self, name: str, changes: Document) -> None:
        """See ContainerEngine."""
        if changes.get("blkio_config"):
            present = self._engine.container(name)["config"].get("blkio_config", {})
            changes = {**changes, "blkio_config": {**present, **changes["blkio_config"]}}
        self._engine.update(name, changes)

    def pause(self, name: str) -> None:
        """See ContainerEngine."""
        self._engine.pause(name)

    def unpause(self, name: str) -> None:
        """See ContainerEngine."""
        self._engine.unpause(name)

    def kill(self, name: str, signal: str) -> None:
        """See ContainerEngine."""
        self._engine.kill(name, signal)

    def remove(self, name: str, force: bool, volumes: bool) -> None:
        """See ContainerEngine."""
        self._engine.remove(name, force=force, volumes=volumes)

    def wait_exit(self, name: str, condition: str = "not-running") -> int:
        """See ContainerEngine."""
        return self._engine.wait(name, condition)

    def wait_until(self, name: str, condition: Literal["started", "healthy"]) -> None:
        """See ContainerEngine."""
        self._engine.await_state(name, condition)

    # --- files ----------------------------------------------------------------------------------------------------

    def copy_out(self, name: str, path: str, destination: str, *, follow: bool, archive: bool) -> Document:
        """See ContainerEngine."""
        return self._engine.copy_out(name, path, destination, follow=follow, archive=archive)._asdict()

    def copy_into(self, name: str, source: str, path: str, *, follow: bool) -> Document:
        """See ContainerEngine."""
        return self._engine.copy_into(name, source, path, follow=follow)._asdict()

    def archive_out(self, name: str, path: str, out: Sink, *, follow: bool) -> Document:
        """See ContainerEngine."""
        return self._engine.archive_out(name, path, out, follow=follow)._asdict()

    def archive_into(self, name: str, source: Pieces, path: str) -> Document:
        """See ContainerEngine."""
        return self._engine.archive_into(name, source, path)._asdict()


def _unusual(how: str) -> str:
    """How a stop went, where the container had to be killed."""
    return how if how.startswith("killed") else ""
