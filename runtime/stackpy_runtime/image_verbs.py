"""The part of the engine's façade that is about images and what they take of the disk."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import Image, ImageLine, Progress
    from stackpy_runtime.store.store import Store

    Report = Callable[[Progress], None]


class ImageVerbs:
    """Mixed into Engine."""

    root: str

    if TYPE_CHECKING:

        @property
        def store(self) -> Store:
            """The store, for reading."""

        @property
        def client(self) -> Client:
            """The line to the supervisor."""

        def _writable(self) -> Store:
            """The store, created when there is none."""

    def save_images(
        self, names: Sequence[str], out: Sink, *, form: str = "docker", progress: Report | None = None
    ) -> None:
        """Writes images as one archive: `form` is "docker", which docker and podman load, or "oci".

        Raises NotFound, and InvalidConfig for no names or an unknown form; nothing is written then.
        """
        from stackpy_runtime.image import saving

        saving.save(self.store, names, out, form=form, progress=progress)

    def load_images(self, path: str, progress: Report | None = None) -> list[Image]:
        """Brings the images of an archive (docker's or OCI's, a tar or a folder) into the store, with their names.

        path: "-" reads standard input

        Raises NotFound, and InvalidConfig for what is no archive, or lies.
        """
        from stackpy_runtime.image import archive

        store = self._writable()
        if path != "-":
            return archive.load_all(store, path, progress)
        from stackpy_runtime.image.spooling import spooled

        # An archive is read back and forth: what is at its end says what the rest is.
        with spooled(store.root, 0) as name:
            return archive.load_all(store, name, progress)

    def image_history(self, reference: str) -> list[ImageLine]:
        """How an image came about, the last step first; raises NotFound."""
        from stackpy_runtime.image.describing import history

        return history(self.store, self.store.image(reference))

    def image_digests(self, reference: str) -> list[str]:
        """The diff IDs of an image's layers, bottom first; computed where nobody has asked before."""
        from stackpy_runtime.image import epochs, exporting

        image = self.store.image(reference)
        epoch = epochs.of_image(image)
        return [exporting.layer_digest(self.store, layer, epoch=epoch).diff_id for layer in image["layers"]]
