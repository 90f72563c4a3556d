"""The part of the engine's façade that copies files between this host and containers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.client import Client
    from stackpy_runtime.host.copying import Copied
    from stackpy_runtime.image.entries import Source
    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import Container
    from stackpy_runtime.store.store import Store


class CopyVerbs:
    """Mixed into Engine."""

    if TYPE_CHECKING:

        @property
        def store(self) -> Store:
            """The store, for reading."""

        @property
        def client(self) -> Client:
            """The line to the supervisor."""

        def container(self, reference: str) -> Container:
            """A container as it is now."""

    def copy_out(
        self, reference: str, path: str, destination: str, *, follow: bool = False, archive: bool = False
    ) -> Copied:
        """Copies a file or folder of a container to a path of this host, by `docker cp`'s rules.

        follow: a link at the end of `path` is followed; archive: files keep the IDs of their owners
        """
        from stackpy_runtime.host import copying

        return copying.copy_out(
            lambda: self.container(reference),
            self.store,
            self.client,
            path,
            destination,
            follow=follow,
            archive=archive,
        )

    def archive_out(self, reference: str, path: str, out: Sink, *, follow: bool = False) -> Copied:
        """Writes a file or folder of a container as a tar."""
        from stackpy_runtime.host import copying

        return copying.archive_out(lambda: self.container(reference), self.store, self.client, path, out, follow=follow)

    def copy_into(self, reference: str, source: str, path: str, *, follow: bool = False) -> Copied:
        """Copies a file or folder of this host into a container, by `docker cp`'s rules."""
        from stackpy_runtime.host import copying

        return copying.copy_into(
            lambda: self.container(reference), self.store, self.client, source, path, follow=follow
        )

    def archive_into(self, reference: str, source: Source, path: str) -> Copied:
        """Extracts a tar into a folder of a container; `source.read()` gives its pieces."""
        from stackpy_runtime.host import copying

        return copying.archive_into(lambda: self.container(reference), self.store, self.client, source, path)
