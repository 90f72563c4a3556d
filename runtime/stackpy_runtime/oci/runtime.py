"""The verbs of the OCI runtime, as the command line calls them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.oci import bundle, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.oci.creating import Options

# What a verb does not need is not imported for it: podman calls several of them for a container.


class Runtime:
    """Containers whose folders are under `root`. warn: told of what is left out, and of hooks that fail without effect.

    Every method raises EngineError.
    """

    def __init__(self, root: str, warn: Callable[[str], None]) -> None:
        self.root, self.warn = root or state.DEFAULT_ROOT, warn

    def create(self, identity: str, path: str, options: Options) -> None:
        """Creates a container, whose program waits for `start`."""
        from stackpy_runtime.oci import creating

        creating.create(self.root, identity, path, options, self.warn)

    def start(self, identity: str) -> None:
        """Has a created container execute its program."""
        from stackpy_runtime.oci import creating

        creating.start(self.root, identity)

    def run(self, identity: str, path: str, options: Options, *, detach: bool, keep: bool) -> int:
        """Creates and starts; without `detach` waits for its end, deletes it unless `keep`, returns its exit code."""
        from stackpy_runtime.oci import creating, ending, running

        terminal: list[int] | None = None if detach or options.console_socket else []
        attendant = None if detach else running.Attendant()
        record = creating.create(self.root, identity, path, options, self.warn, terminal=terminal)
        try:
            creating.start(self.root, identity)
            if attendant is None:
                return 0
            return attendant.attend(record["pid"], terminal[0] if terminal else -1)
        except BaseException:
            detach = False
            raise
        finally:
            if not detach and not keep:
                ending.delete(self.root, identity, force=True, warn=self.warn)

    def execute(
        self, identity: str, given: Callable[[dict[str, Any]], dict[str, Any]], options: Any, *, detach: bool
    ) -> int:
        """Starts a process in a container; without `detach` waits for its end, whose exit code it returns.

        given: the container's document → the process's; options: executing.Options
        """
        from stackpy_runtime.oci import executing, running

        terminal: list[int] | None = None if detach or options.console_socket else []
        attendant = None if detach else running.Attendant()
        pid = executing.execute(self.root, identity, given, options, self.warn, terminal=terminal)
        return 0 if attendant is None else attendant.attend(pid, terminal[0] if terminal else -1)

    def kill(self, identity: str, signal: str, *, every: bool) -> None:
        """Signals the first process, or with `every` all."""
        from stackpy_runtime.oci import ending

        ending.kill(self.root, identity, signal, every=every)

    def delete(self, identity: str, *, force: bool) -> None:
        """Removes a stopped container; with `force` one that runs too."""
        from stackpy_runtime.oci import ending

        ending.delete(self.root, identity, force=force, warn=self.warn)

    def state(self, identity: str) -> dict[str, Any]:
        """The state of a container."""
        from stackpy_runtime.oci import reporting

        return reporting.describe(self.root, identity)

    def list(self) -> list[dict[str, Any]]:
        """The states of all."""
        from stackpy_runtime.oci import reporting

        return reporting.describe_all(self.root)

    def processes(self, identity: str) -> list[int]:  # type: ignore[valid-type]  # `list` is a verb here
        """PIDs of all processes of a container."""
        from stackpy_runtime.oci import reporting

        return reporting.processes(self.root, identity)

    def events(self, identity: str, interval: float, tell: Callable[[dict[str, Any]], None], *, once: bool) -> None:
        """Tells statistics, every `interval` seconds unless `once`."""
        from stackpy_runtime.oci import reporting

        reporting.events(self.root, identity, interval, tell, once=once)

    def pause(self, identity: str) -> None:
        """Holds all processes where they are."""
        from stackpy_runtime.oci import updating

        updating.freeze(self.root, identity, frozen=True)

    def resume(self, identity: str) -> None:
        """Has them go on."""
        from stackpy_runtime.oci import updating

        updating.freeze(self.root, identity, frozen=False)

    def update(self, identity: str, resources: dict[str, Any]) -> None:
        """Changes limits."""
        from stackpy_runtime.oci import updating

        updating.update(self.root, identity, resources)

    def features(self, version: str) -> dict[str, Any]:
        """What this runtime knows."""
        from stackpy_runtime.oci import describing

        return describing.features(version)

    def write_template(self, path: str) -> None:
        """Writes a config.json to begin with into the bundle's folder; raises InvalidConfig where there is one."""
        from stackpy_runtime.oci import describing

        try:
            with open(os.path.join(path, "config.json"), "x", encoding="utf-8") as file:
                json.dump(describing.template(), file, indent=4)
                file.write("\n")
        except FileExistsError:
            raise InvalidConfig(f"`{path}/config.json` exists", hint="remove it first") from None

    def read_document(self, text: bytes, name: str) -> dict[str, Any]:
        """A JSON document that an option names."""
        return bundle.parse(text, name)
