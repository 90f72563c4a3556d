"""The port: what a stack needs of an engine, in terms of resources.

How three replicas of a container resource come to run is the adapter's business. Adapters raise StackpyError only.
Every method may be called from several threads at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stackpy.dsl.deferred import Wanted
    from stackpy.dsl.specs import Condition, Dependency, Spec, StackSpec
    from stackpy.engines.events import Report
    from stackpy.engines.from_running import Written
    from stackpy.planning.plan import Change, Data, Desired, Observation, Plan
    from stackpy.planning.steps import Explained


class Sink(Protocol):
    """Where the bytes of an archive go."""

    def write(self, data: bytes, /) -> object:
        """Takes all of them."""


class Pieces(Protocol):
    """Where the bytes of an archive come from."""

    def read(self) -> bytes:
        """The next of them, b"" at the end."""


class SecretValues(Protocol):
    """Values of secrets, kept apart from specs so that they cannot reach a plan, a log or a repr."""

    def get(self, name: str) -> bytes | None:
        """The value of the stack's secret `name`; None where its source has none now."""


class StackEngine(Protocol):
    """An engine that holds stacks."""

    name: str  # embedded, docker, …
    root: str  # folder of this host with what stackpy keeps for the engine: history, locks, checkouts
    cache_keep: int  # bytes to which the engine's build cache keeps
    generations_keep: int  # how many generations of each stack are kept
    stopping: Callable[[], bool]  # whether a change that goes on for long shall not begin its next part any more
    on_failure: str  # "shell": one opens on the caller's terminal where a step of a build fails; "": none does

    def resolve(self, stack: StackSpec, secrets: SecretValues) -> Desired:
        """Computes recipes and fingerprints: hashes what images copy; changes nothing.

        Raises StackFileError listing every missing source, unknown base image and unavailable secret.
        """

    def observe(self, stack: str) -> Observation:
        """Reads the actual state of a stack; starts no process and changes nothing.

        Comes after `resolve` where there is one, since `built` covers the steps that were resolved or built before.
        """

    def foreign(self, stack: str, names: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
        """Which of these names (kind, name on the engine) objects have that are not the stack's, and whose those are.

        "" where it is nobody's: made by hand, or by another program.
        """

    def stack_of_running(self, stack: str, only: Sequence[str]) -> Written:
        """The stack file of containers that belong to no stack, with their networks and volumes, and of those alone.

        only: names of containers, networks and volumes; () for all. Raises StackpyError for one that there is not.
        """

    def adopt(self, stack: StackSpec, spec: Spec, name: str) -> str:
        """Takes a container, network or volume that is no stack's into a stack, as a generation of it.

        Returns the name that it has now. Raises StackpyError where it cannot be had, and nothing is changed then.
        """

    def data(self, stack: str, addresses: Sequence[str]) -> Mapping[str, Data]:
        """What is in volumes of a stack, and what containers have written outside of them, by address.

        An empty volume is left out, and a container that has written less than 1 MiB. Reads each file's date.
        """

    def expect(self, plan: Plan) -> None:
        """Told before the first change of a plan that will be performed: it may prepare for it. Returns at once."""

    def perform(self, change: Change, desired: Desired, secrets: SecretValues, generation: int, report: Report) -> None:
        """Makes one change true, and returns when it is. Idempotent: what is already so is left so.

        Raises StackpyError with the failing step's output where there is one.
        """

    def one_off(self, desired: Desired, address: str) -> dict[str, Any]:
        """The configuration of one more container like those of a container or job, which is no part of the stack.

        It has no name, ports, aliases, restart policy or health check of theirs. Raises StackpyError when the image is
        not built.
        """

    def wait(self, stack: str, spec: Spec, condition: Condition, timeout: float, report: Report) -> None:
        """Returns when all replicas of the resource meet the condition; raises StackpyError when they cannot any more.

        `started`: running; `healthy`: health check passes, or running where there is none; `completed`: exited with 0.
        """

    def lock(self, stack: str, command: str, timeout: float | None, waiting: Callable[[str], None]) -> Any:
        """A context manager that holds the stack. `waiting` is told once for whom (pid, command, since).

        Raises LockTimeout after `timeout` seconds; None waits for ever.
        """

    def record(self, stack: str, generation: int, document: Mapping[str, Any]) -> None:
        """Keeps a generation (stack, outcome, changes, outputs, time) for history."""

    def recorded(self, stack: str) -> Mapping[str, Any] | None:
        """The last generation's document."""

    def generation(self, stack: str, number: int) -> Mapping[str, Any] | None:
        """A generation's document; None where it is not kept any more."""

    def found(self, stack: str, wanted: Wanted) -> Any:
        """What is known after an apply: a container's published port (a number) or its address; None: it has none."""

    def took(self, stack: str) -> Callable[[str, str], float | None]:
        """Tells how many seconds an action on an address took when it was done last; None: not known any more."""

    def plan_key(self) -> bytes:
        """The key of fingerprints in saved plans, which the first `record` makes; b"" before."""

    def history(self, stack: str) -> list[Mapping[str, Any]]:
        """The documents of all generations that are kept, oldest first."""

    def revive(self, desired: Desired, images: Mapping[str, str]) -> None:
        """Has the images of a generation be those that it ran: image address → ID, as `record` has kept them.

        Raises StackpyError where one of them is not in the store any more.
        """

    def stacks(self) -> list[dict[str, Any]]:
        """The rows of `ls`: name, engine, generation, resources, running."""

    def remove_images(self, stack: str) -> list[str]:
        """Removes the stack's images and history; returns the references that went."""

    def tidy(self) -> None:
        """Takes away what was made on demand and nothing uses any more; after a stack has been destroyed."""

    def check(self) -> list[dict[str, Any]]:
        """The findings of `system check`: name, ok, required, detail, remedy."""

    def system_start(self) -> None:
        """Starts the engine, and with it what its restart policy says."""

    def system_stop(self, *, host: bool) -> list[str]:
        """Stops all that runs until the engine is started again; the containers' names. host: it is shut down"""


class ContainerEngine(Protocol):
    """What the container, network and volume commands need; documents have Docker's or DESIGN's shapes."""

    def mounts(self, reference: str) -> list[dict[str, Any]]:
        """The mounts of a container, as a container's configuration has them. Raises Missing."""

    def ps(
        self, stack: str | None, every: bool, filters: Sequence[tuple[str, str]] = (), *, size: bool = False
    ) -> list[dict[str, Any]]:
        """Rows of `ps --format json`.

        every: also those that do not run; filters: (key, value) of container_filters.py; size: measures them too

        Raises ValueError for a filter of no meaning.
        """

    def stats(self, names: Sequence[str]) -> list[dict[str, Any] | None]:
        """What each container uses now, in the order of the names; None for one that does not run.

        {time, cpu, memory, memory_limit, pids, block_read, block_write, network_rx, network_tx}: time and cpu in
        nanoseconds, the rest in bytes, counted from its start on but for memory
        """

    def processes(self, name: str) -> list[int]:
        """PIDs of a container's processes, as the host counts them; raises StackpyError where it does not run."""

    def find(self, name: str, stack: str | None) -> list[str]:
        """Names of containers that `name` means: `web`, `web.2`, `container.web`, a container's name or ID prefix."""

    def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's container document. size: with SizeRw and SizeRootFs, which are measured"""

    def logs(
        self, name: str, *, follow: bool, tail: int | None, since: str | None, until: str | None
    ) -> Iterator[dict[str, Any]]:
        """Lines: {time, stream, text}, oldest first."""

    def output(
        self, name: str, *, follow: bool, tail: int | None, since: str | None, until: str | None
    ) -> Iterator[tuple[bytes, bytes]]:
        """The same as it was written, in blocks: (b"stdout" or b"stderr", bytes)."""

    def events(
        self, filters: Sequence[tuple[str, str]], *, since: int | None, until: int | None
    ) -> Iterator[dict[str, Any]]:
        """What happens, in Docker's shape: from `since` on or from now on, until `until` or for ever.

        filters: (key, value); since, until: nanoseconds since the epoch. Raises ValueError for a filter of no meaning.
        """

    def log_attributes(self, name: str) -> dict[str, str]:
        """What goes along with each line of a container's log: `tag` and labels, as `logging` says."""

    def create(self, config: dict[str, Any]) -> str:
        """Creates a container from an engine configuration; returns its ID."""

    def run(
        self, config: dict[str, Any], *, detach: bool, remove: bool, attaching: dict[str, Any] | None = None
    ) -> int | None:
        """Creates and starts a container; attached unless `detach` (prints nothing); returns its exit code.

        attaching: as for `attach`
        """

    def attach(self, name: str, attaching: dict[str, Any], *, start: bool = False) -> int | None:
        """Attaches our standard streams to a container that runs, or is started, until it ends; returns its exit code.

        attaching: {stdin: bool, streams: of ("stdout", "stderr"), sig_proxy: bool, detach_keys: str}, none needed

        None when its user has typed the keys that leave it running.
        """

    def exec(
        self,
        name: str,
        argv: list[str],
        *,
        stdin: bool,
        tty: bool,
        environment: dict[str, str],
        working_dir: str,
        user: str,
        privileged: bool = False,
        detach: bool = False,
        detach_keys: str | None = None,
    ) -> int | None:
        """Runs a process in a running container on the caller's standard streams; returns its exit code.

        privileged: with all capabilities of the container's user namespace
        detach: only begins it; returns 0
        detach_keys: what leaves it running, on a terminal; then None is returned
        """

    def copy_out(self, name: str, path: str, destination: str, *, follow: bool, archive: bool) -> dict[str, Any]:
        """Copies a file or folder of a container to a path of this host: {size, left_out}.

        follow: a link at the end of `path` is followed; archive: files keep the IDs of their owners

        size: bytes of archive; left_out: paths of devices, which are not made
        """

    def copy_into(self, name: str, source: str, path: str, *, follow: bool) -> dict[str, Any]:
        """Copies a file or folder of this host into a container; result as copy_out's."""

    def archive_out(self, name: str, path: str, out: Sink, *, follow: bool) -> dict[str, Any]:
        """Writes a file or folder of a container as a tar."""

    def archive_into(self, name: str, source: Pieces, path: str) -> dict[str, Any]:
        """Extracts a tar into a folder of a container."""

    def start(self, name: str) -> None:
        """Starts a stopped container."""

    def meet(self, name: str, say: Callable[[str], None]) -> None:
        """Starts what a container of a stack depends on, and waits for its conditions; `say` hears of it."""

    def meet_all(
        self, stack: str, address: str, dependencies: Sequence[Dependency], say: Callable[[str], None]
    ) -> None:
        """The same for a resource that has no container yet."""

    def dependents(self, names: Sequence[str]) -> list[str]:
        """The running containers that ask to be restarted with those of `names`."""

    def stop(self, name: str, timeout: float | None, signal: str = "") -> None:
        """Stops it: its stop signal (or `signal`), then SIGKILL after the grace period (seconds; negative: never)."""

    def restart(self, name: str, timeout: float | None, signal: str = "") -> None:
        """Stops and starts it."""

    def rename(self, name: str, new: str) -> None:
        """Gives it another name."""

    def update(self, name: str, changes: dict[str, Any]) -> None:
        """Changes limits and the restart policy of a container at once; None takes a limit away.

        What `blkio_config` does not mention stays. Raises StackpyError, and nothing is changed then.
        """

    def pause(self, name: str) -> None:
        """Has it stand still until `unpause`."""

    def unpause(self, name: str) -> None:
        """Has a paused one go on."""

    def kill(self, name: str, signal: str) -> None:
        """Sends a signal."""

    def learned(self, name: str) -> str:
        """The smallest fields that allow what a container with `learn` has used; "" where nothing was noted."""

    def remove(self, name: str, force: bool, volumes: bool) -> None:
        """Removes a container that does not run; with `force` kills it first."""

    def wait_exit(self, name: str, condition: str = "not-running") -> int:
        """Waits until it has exited; returns its exit code. condition: not-running, next-exit or removed"""

    def wait_until(self, name: str, condition: Literal["started", "healthy"]) -> None:
        """Waits until it runs, or its health check passes; raises StackpyError when that cannot come any more."""

    def networks(self) -> list[dict[str, Any]]:
        """Rows of `network ls --format json`."""

    def network_inspect(self, name: str) -> dict[str, Any]:
        """Docker's network document."""

    def volumes(self) -> list[dict[str, Any]]:
        """Rows of `volume ls --format json`."""

    def volume_inspect(self, name: str) -> dict[str, Any]:
        """Docker's volume document."""

    def volume_remove(self, name: str, force: bool) -> None:
        """Removes a volume that no container uses."""


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
