"""The port: what a stack needs of an engine, in terms of resources.

How three replicas of a container resource come to run is the adapter's business. Adapters raise StackpyError only.
Every method may be called from several threads at once. The rest of the port: history (base_generations.py), and what
commands on single objects need (base_containers.py, base_images.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from stackpy.engines.base_generations import GenerationEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stackpy.dsl.deferred import Wanted
    from stackpy.dsl.specs import Condition, Spec, StackSpec
    from stackpy.engines.events import Report
    from stackpy.engines.from_running import Written
    from stackpy.planning.plan import Change, Data, Desired, Observation, Plan


class SecretValues(Protocol):
    """Values of secrets, kept apart from specs so that they cannot reach a plan, a log or a repr."""

    def get(self, name: str) -> bytes | None:
        """The value of the stack's secret `name`; None where its source has none now."""


class StackEngine(GenerationEngine, Protocol):
    """An engine that holds stacks."""

    name: str  # embedded, docker, …
    root: str  # folder of this host with what stackpy keeps for the engine: history, locks, checkouts
    cache_keep: int  # bytes to which the engine's build cache keeps
    stopping: Callable[[], bool]  # whether a change that goes on for long shall not begin its next part any more
    keeps_volumes: bool  # whether it can take snapshots of volumes, and restore them
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

    def adopt(self, stack: StackSpec, spec: Spec, name: str, circumstances: Mapping[str, str]) -> str:
        """Takes a container, network or volume that is no stack's into a stack, as a generation of it.

        circumstances: who does it, and from which revision: `by`, `revision`
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

    def held_by(self, stack: str) -> str:
        """Which command changes the stack now: `stackpy apply` (pid 12, since 10:31:07); "" where none does."""

    def lock(self, stack: str, command: str, timeout: float | None, waiting: Callable[[str], None]) -> Any:
        """A context manager that holds the stack. `waiting` is told once for whom (pid, command, since).

        Raises LockTimeout after `timeout` seconds; None waits for ever.
        """

    def found(self, stack: str, wanted: Wanted) -> Any:
        """What is known after an apply: a container's published port (a number) or its address; None: it has none."""

    def tidy(self) -> None:
        """Takes away what was made on demand and nothing uses any more; after a stack has been destroyed."""

    def check(self) -> list[dict[str, Any]]:
        """The findings of `system check`: name, ok, required, detail, remedy."""

    def system_start(self) -> None:
        """Starts the engine, and with it what its restart policy says."""

    def system_stop(self, *, host: bool) -> list[str]:
        """Stops all that runs until the engine is started again; the containers' names. host: it is shut down"""
