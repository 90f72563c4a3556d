"""The part of the port that commands on images, and on the disk that everything takes, need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy.engines.base_containers import Sink
    from stackpy.planning.steps import Explained


class ImageEngine(Protocol):
    """What the image commands need."""

    def images(self, pattern: str = "", filters: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
        """Rows of `image ls --format json`.

        pattern: of names, as a shell's; filters: docker's (key, value). Raises ValueError for another filter.
        """

    def image_inspect(self, reference: str) -> dict[str, Any]:
        """Docker's image document."""

    def image_remove(self, reference: str, force: bool) -> list[str]:
        """Untags, and removes the image when nothing names or uses it; returns what was done, a line each."""

    def image_tag(self, reference: str, name: str) -> None:
        """Gives an image another name, which is taken from the image that has it."""

    def image_history(self, reference: str) -> list[dict[str, Any]]:
        """Steps, the last first: {id, created, created_by, size, comment}; `id` is "" but for the whole image."""

    def image_save(self, references: list[str], out: Sink, form: str, called: list[str] | None = None) -> None:
        """Writes images as one archive, `form` "docker" or "oci"; writes nothing where one is missing.

        called: their names in the archive; None: those by which they are meant
        """

    def image_save_layout(self, references: list[str], folder: str, called: list[str] | None = None) -> None:
        """Writes images as an OCI image layout, a folder that is not there yet."""

    def image_save_tree(self, reference: str, out: Sink) -> None:
        """Writes the files of an image as one tar."""

    def image_write_tree(self, reference: str, folder: str) -> list[str]:
        """Writes the files of an image into a folder, whose owner they get; what it did not get, a line each."""

    def image_metadata(self, reference: str, pushed: bool) -> dict[str, Any]:
        """What buildx's metadata file says of an image: digests and descriptor of what was pushed, or is saved."""

    def image_load(self, path: str, report: Callable[[dict[str, Any]], None] | None) -> list[dict[str, Any]]:
        """Loads the images of an archive ("-": standard input): [{id, references, …}].

        report: told {kind: "state", text} and {kind: "download", text, done, total} of each layer
        """

    def image_pull(
        self, reference: str, *, platform: str, policy: str, report: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        """Brings an image of a registry into the store: {id, reference, digest, new}.

        platform: `linux/arm64`; "": this machine's
        policy: "always", "missing", or "never", which raises where the store has none
        report: told {kind: "state", text} and {kind: "download", text, done, total} of each layer, from several threads
        """

    def image_push(self, reference: str, report: Callable[[dict[str, Any]], None] | None) -> str:
        """Gives an image to the registry that its name says; returns the digest that it has there.

        report: as for image_pull, with the kind "upload"
        """

    def login(self, registry: str, username: str, password: str) -> str:
        """Asks a registry whether it takes the password, and keeps it as docker does; returns the file, or the helper.

        Raises StackpyError where it refuses.
        """

    def logout(self, registry: str) -> bool:
        """Forgets the password for a registry; returns whether there was one."""

    def registry_digest(self, name: str, platform: str) -> str:
        """The digest of the manifest that a name has in its registry now, for a platform."""

    def registry_tags(self, name: str) -> list[str]:
        """The tags of a repository in its registry."""

    def image_import(
        self, path: str, *, reference: str, instructions: list[str], message: str, platform: str
    ) -> dict[str, Any]:
        """Makes an image of a tar: a path, a URL, or "-" for standard input.

        instructions: Dockerfile lines that make its configuration; platform: `linux/arm64`, or "" for this machine
        """

    def dockerfile(self, base: dict[str, Any], check: bool) -> dict[str, Any]:
        """What is to be said of a Dockerfile; builds nothing. Raises StackpyError for all its errors at once.

        base: kind, path, content, context, target, args, contexts, platform (stackpy_runtime.model.Base)
        check: asks no registry, and looks at all stages where no target is named

        warnings: [{rule, file, line, message, source, url, text}]; unused: build arguments that no ARG takes
        """

    def image_build(
        self,
        source: dict[str, Any],
        *,
        key: str,
        tags: list[str],
        pull: bool,
        options: dict[str, Any],
        report: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        """Builds an image that is no part of a stack: {id, references, …}.

        source: stackpy_runtime.model.ImageSource
        key: under which its recipe is remembered, for the reasons of the next build
        pull: takes the base images from their registries, whatever the store has
        options: no_cache, secrets, ssh, allow (stackpy_runtime.model.BuildOptions)
        report: told of steps, output and downloads
        """

    def image_explain(self, source: dict[str, Any], *, key: str, options: dict[str, Any]) -> tuple[Explained, ...]:
        """What a build will do with each step, as far as can be told before: cached, or what differs from before.

        key: under which its recipe was remembered when it was built
        """

    def image_cache(
        self,
        source: dict[str, Any],
        *,
        take: list[str],
        bring: list[str],
        name: str,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        """Takes results of an image's steps from places, and brings to others what the store has; builds nothing.

        take, bring: absolute folders, and references of registries as docker://reference
        name: under which the places keep them
        """

    def image_verify(
        self, source: dict[str, Any], *, options: dict[str, Any], report: Callable[[dict[str, Any]], None]
    ) -> list[dict[str, Any]]:
        """Makes the steps of an image that was built once more, keeps nothing; the files that differ.

        [{step, line, path, what}]; arguments as for image_build
        """

    def container_export(self, name: str, out: Sink) -> None:
        """Writes a container's tree, without what is mounted in it, as a tar."""

    def differences(self, name: str) -> list[dict[str, Any]]:
        """What a container has changed: {kind: "A", "C" or "D", path}, by path."""

    def commit(
        self, name: str, *, reference: str, instructions: list[str], message: str, author: str, pause: bool
    ) -> dict[str, Any]:
        """Makes an image of a container; one that runs stands still meanwhile with `pause`."""

    def system_info(self) -> dict[str, Any]:
        """What the engine is, holds and runs on: Docker's SystemInfo."""

    def system_df(self) -> dict[str, Any]:
        """What takes how much of the disk, in bytes as `du` counts them.

        {summary: [{type, total, active, size, reclaimable}], images, containers, volumes, cache, …}
        """

    def kept_for(self, beginning: str) -> list[dict[str, Any]]:
        """For whom something is on the disk, by its digest or the beginning of one.

        [{digest, what: of "blob", "layer", "image", size, images: [{id, references, containers, history}], steps}]
        """

    def images_prune(self, every: bool, until: str, labels: list[tuple[str, str | None, bool]]) -> dict[str, Any]:
        """Removes images without a name, or with `every` all that no container was made of: {images, freed}.

        until: RFC 3339, younger ones stay; labels: (name, value or None for any, whether it must be there)
        """

    def cache_prune(self, keep: int, until: str, mounts: bool) -> list[dict[str, Any]]:
        """Removes what was used longest ago from the build cache until `keep` bytes are left: [{id, kind, size}].

        mounts: also folders that RUN steps keep
        """

    def system_prune(
        self, every: bool, volumes: bool, until: str, labels: list[tuple[str, str | None, bool]]
    ) -> dict[str, Any]:
        """Removes what belongs to no stack and is not used: {containers, networks, volumes, images, cache, freed}."""
