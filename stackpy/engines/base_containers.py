"""The part of the port that commands on containers, networks and volumes need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stackpy.dsl.specs import Dependency


class Sink(Protocol):
    """Where the bytes of an archive go."""

    def write(self, data: bytes, /) -> object:
        """Takes all of them."""


class Pieces(Protocol):
    """Where the bytes of an archive come from."""

    def read(self) -> bytes:
        """The next of them, b"" at the end."""


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

    def stop(self, name: str, timeout: float | None, signal: str = "") -> str:
        """Stops it: its stop signal (or `signal`), then SIGKILL after the grace period (seconds; negative: never).

        Returns why it had to be killed, and what would spare it that; "" where it was not.
        """

    def restart(self, name: str, timeout: float | None, signal: str = "") -> str:
        """Stops and starts it; returns the same as `stop`."""

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

    def network_create(self, config: dict[str, Any]) -> str:
        """Makes a network of {name, labels, subnet?, internal?}; returns its ID."""

    def network_remove(self, name: str, force: bool) -> None:
        """Removes a network that no running container is on. force: no failure where there is none"""

    def network_connect(self, network: str, container: str, attachment: dict[str, Any]) -> None:
        """Puts a container on one more network. attachment: as in its configuration"""

    def network_disconnect(self, network: str, container: str, force: bool) -> None:
        """Takes a container off a network. force: no failure where one of the two is not there"""

    def networks_prune(self, until: str, labels: list[tuple[str, str | None, bool]]) -> list[str]:
        """Removes networks that no container and no stack has; returns their names. Filters as in system_prune"""

    def volumes(self) -> list[dict[str, Any]]:
        """Rows of `volume ls --format json`."""

    def volume_inspect(self, name: str) -> dict[str, Any]:
        """Docker's volume document."""

    def volume_create(self, name: str, labels: dict[str, str]) -> str:
        """Makes a volume; one that is there stays as it is. Returns its name, which is made up for ""."""

    def volumes_prune(self, every: bool, labels: list[tuple[str, str | None, bool]]) -> dict[str, Any]:
        """Removes volumes that no container and no stack has, with their data: {volumes: names, freed: bytes}.

        every: those with a name too
        """

    def volume_remove(self, name: str, force: bool) -> None:
        """Removes a volume that no container uses."""
