"""The part of the engine's façade that is about images and what they take of the disk."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy_runtime.build.result_tree import LeftOut
    from stackpy_runtime.host.client import Client
    from stackpy_runtime.image.layer_tar import Sink
    from stackpy_runtime.model import CacheUsage, Container, Difference, DiskUsage, Image, ImageLine, Progress
    from stackpy_runtime.store.keeping import Keeping
    from stackpy_runtime.store.pruning import Pruned
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

        def container(self, reference: str) -> Container:
            """A container as it is now."""

        def _writable(self) -> Store:
            """The store, created when there is none."""

    def _tell(self, action: str, image: Image, name: str = "") -> None:
        """Notes what has happened to an image. name: the reference that it was done with"""
        from stackpy_runtime.store import event_log

        event_log.record(self.store.root, event_log.of_image(image, action, name))

    def save_images(
        self,
        names: Sequence[str],
        out: Sink,
        *,
        form: str = "docker",
        called: Sequence[str] | None = None,
        progress: Report | None = None,
    ) -> None:
        """Writes images as one archive: `form` is "docker", which docker and podman load, or "oci".

        called: what they are called in the archive; None: as they were named

        Raises NotFound, and InvalidConfig for no names or an unknown form; nothing is written then.
        """
        from stackpy_runtime.image import saving

        saving.save(self.store, names, out, form=form, called=called, progress=progress)
        for name in names:
            self._tell("save", self.store.image(name), name)

    def save_layout(
        self,
        names: Sequence[str],
        folder: str,
        *,
        called: Sequence[str] | None = None,
        progress: Report | None = None,
    ) -> None:
        """Writes images as an OCI image layout, a folder that is not there yet; raises NotFound, Conflict."""
        from stackpy_runtime.image import saving

        saving.save_layout(self.store, names, folder, called=called, progress=progress)

    def save_tree(self, reference: str, out: Sink) -> None:
        """Writes the files of an image as one tar, with their owners; raises NotFound."""
        from stackpy_runtime.build import result_tree

        result_tree.write_tar(self.store, self.store.image(reference), out)

    def write_tree(self, reference: str, folder: str) -> LeftOut:
        """Writes the files of an image into a folder of the host, whose owner they get; raises NotFound, Conflict."""
        from stackpy_runtime.build import result_tree

        return result_tree.write_folder(self.store, self.store.image(reference), folder)

    def image_descriptors(self, reference: str, *, pushed: bool = False) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """OCI's descriptors of an image's manifest and configuration, as `save_images` writes them.

        pushed: the manifest is that of the last push
        """
        from stackpy_runtime.image import exporting

        image = self.store.image(reference)
        whole, document = exporting.exported(self.store, image), b""
        if pushed:
            from stackpy_runtime.image.registry import pushing

            document = pushing.manifest_as_pushed(self.store, image)
        manifest = exporting.descriptor(exporting.MANIFEST_TYPE, document or exporting.manifest(whole))
        return manifest, exporting.descriptor(exporting.CONFIG_TYPE, whole.config)

    def load_images(self, path: str, progress: Report | None = None) -> list[Image]:
        """Brings the images of an archive (docker's or OCI's, a tar or a folder) into the store, with their names.

        path: "-" reads standard input

        Raises NotFound, and InvalidConfig for what is no archive, or lies.
        """
        from stackpy_runtime.image import archive

        store = self._writable()
        if path != "-":
            loaded = archive.load_all(store, path, progress)
        else:
            from stackpy_runtime.image.spooling import spooled

            # An archive is read back and forth: what is at its end says what the rest is.
            with spooled(store.root, 0) as name:
                loaded = archive.load_all(store, name, progress)
        for image in loaded:
            self._tell("load", image)
        return loaded

    def import_image(
        self,
        path: str,
        *,
        reference: str = "",
        instructions: Sequence[str] = (),
        message: str = "",
        platform: str = "",
    ) -> Image:
        """Makes an image of the tree in a tar, which may be compressed.

        path: "-" reads standard input
        reference: the image's name, or ""
        instructions: Dockerfile lines that make its configuration
        platform: what its programs run on, `linux/arm64`; this machine without it

        Raises InvalidConfig for what is no tar, no instruction, no reference or no platform; then nothing stays.
        """
        from stackpy_runtime.build import snapshots
        from stackpy_runtime.image.spooling import spooled

        store = self._writable()

        def make(name: str) -> Image:
            image = snapshots.import_tar(
                store,
                name,
                reference=reference,
                instructions=list(instructions),
                message=message,
                platform=platform,
            )
            self._tell("import", image, reference)
            return image

        if path != "-":
            return make(path)
        with spooled(store.root, 0) as name:
            return make(name)

    def export_container(self, reference: str, out: Sink) -> None:
        """Writes the tree of a container, without what is mounted in it, as one tar; raises NotFound."""
        from stackpy_runtime.build import snapshots
        from stackpy_runtime.store import event_log

        container = self.store.container(reference)
        snapshots.export(self.store, container, out)
        event_log.record(self.store.root, event_log.of_container(container, "export"))

    def differences(self, reference: str) -> list[Difference]:
        """What a container has added, changed and deleted in its image's tree, by path; raises NotFound."""
        from stackpy_runtime.build import snapshots

        return snapshots.changes(self.store, self.store.container(reference))

    def commit(
        self,
        container: str,
        *,
        reference: str = "",
        instructions: Sequence[str] = (),
        message: str = "",
        author: str = "",
        pause: bool = True,
    ) -> Image:
        """Makes an image of a container: its image with what it has written.

        reference: the image's name, or ""
        instructions: Dockerfile lines that change its configuration
        pause: a container that runs stands still meanwhile

        Raises NotFound, and InvalidConfig for no instruction or no reference.
        """
        from contextlib import nullcontext

        from stackpy_runtime.build import snapshots
        from stackpy_runtime.host.stillness import still
        from stackpy_runtime.store import event_log

        found = self.container(container)
        image = snapshots.commit(
            self._writable(),
            found,
            still(self.client, found) if pause else nullcontext(),
            reference=reference,
            instructions=list(instructions),
            message=message,
            author=author,
        )
        about = {"comment": message, "imageID": image["id"], "imageRef": reference}
        event_log.record(self.store.root, event_log.of_container(found, "commit", **about))
        return image

    # --- the disk ----------------------------------------------------------------------------------------------------

    def disk_usage(self) -> DiskUsage:
        """Who takes how much of the disk, as `du` counts it; measures containers, volumes and cache folders anew."""
        from stackpy_runtime.store.accounting import disk_usage

        return disk_usage(self.store)

    def keepings(self, beginning: str) -> list[Keeping]:
        """For whom a blob, a layer or an image is kept, by its digest or the beginning of it."""
        from stackpy_runtime.store.keeping import keepings

        return keepings(self.store, beginning)

    def prune_images(
        self, *, every: bool = False, until: str = "", labels: Sequence[tuple[str, str | None, bool]] = ()
    ) -> Pruned:
        """Removes images without a name, or with `every` all that no container was made of; returns them and the bytes.

        until: an RFC 3339 time; younger images stay
        labels: (name, value or None for any, whether it must be there) that an image must meet, all of them

        Images of kept generations stay. What a running build uses stays until the next collection.
        """
        from stackpy_runtime.image.describing import asked
        from stackpy_runtime.store import pruning

        pruned = pruning.images(self._writable(), every=every, matches=asked(until, labels))
        for image in pruned.images:
            self._tell("delete", image)
        return pruned

    def prune_cache(self, *, keep: int = 0, until: float = float("inf"), mounts: bool = True) -> list[CacheUsage]:
        """Removes what was used longest ago from the build cache, until at most `keep` bytes are in it.

        until: seconds since 1970; what was used later stays
        mounts: also folders that RUN steps keep, and what is known of contexts' files
        """
        from stackpy_runtime.store import pruning

        gone = pruning.cache(
            self._writable(),
            keep=keep,
            matches=lambda entry: entry.used < until and (mounts or entry.kind == "step"),
        )
        return [{"id": entry.name, "kind": entry.kind, "size": entry.size, "used": entry.used} for entry in gone]

    def trim_cache(self, keep: int, *, every: float = 3600.0) -> int:
        """Keeps the build cache below `keep` bytes; does nothing for `every` seconds. Returns the bytes freed."""
        from stackpy_runtime.store import trimming

        return trimming.trim(self._writable(), keep, every=every)

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
