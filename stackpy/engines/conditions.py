"""`depends_on` where one container is started, restarted or run by hand: the same conditions as in an apply.

What a container depends on stands in its labels, as its last apply left it, so that no stack file is needed.
"""

from __future__ import annotations

from stackpy.engines import labels
from stackpy.engines.facade import Missing, explained
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stackpy.dsl.specs import Dependency
    from stackpy.engines.facade import Document, Facade

    Say = Callable[[str], None]

ALIVE = ("running", "restarting", "paused")
PATIENCE = 300.0  # seconds until a dependency that was started must run or be healthy, as in an apply


def of_container(engine: Facade, name: str, say: Say) -> None:
    """Meets the conditions of a container that is about to be started; does nothing for one of no stack."""
    own = engine.container(name)["config"].get("labels", {})
    if labels.DEPENDENCIES in own:
        meet(engine, own.get(labels.STACK, ""), own.get(labels.RESOURCE, name), labels.dependencies(own), say)


def meet(
    engine: Facade,
    stack: str,
    address: str,
    dependencies: Iterable[Dependency],
    say: Say,
    above: tuple[str, ...] = (),
) -> None:
    """Starts what does not run of the containers and jobs that a resource depends on, and waits for its conditions.

    say: told what is started, and what was not required and is missing
    above: the resources for which this one is started
    Raises StackpyError where a condition that is required cannot be met.
    """
    wanted = [each for each in dependencies if each.address.startswith(("container.", "job."))]
    if not wanted:
        return
    everything = engine.containers(stack)
    for dependency in wanted:
        if dependency.address in above:
            continue
        members = [one for one in everything if one["config"]["labels"].get(labels.RESOURCE) == dependency.address]
        try:
            if not members:
                raise StackpyError(
                    f"{address} depends on {dependency.address}, which is not there", hint="`stackpy apply` makes it"
                )
            for member in members:
                _bring(engine, stack, address, dependency, member, say, (*above, address))
        except StackpyError as error:
            if dependency.required:
                raise
            say(f"{address} goes on without {dependency.address}: {error.message.partition(chr(10))[0]}")


def _bring(
    engine: Facade,
    stack: str,
    address: str,
    dependency: Dependency,
    member: Document,
    say: Say,
    above: tuple[str, ...],
) -> None:
    state, name = member["state"], str(member["name"])
    if dependency.condition == "completed" and state["status"] == "exited" and state["exit_code"] == 0:
        return
    has_run = dependency.address.startswith("job.") and state["status"] == "exited"
    if dependency.condition == "started" and has_run:
        return
    if state["status"] not in ALIVE:
        own = member["config"]["labels"]
        meet(engine, stack, dependency.address, labels.dependencies(own), say, above)
        say(f"starting {name}, since {address} depends on it")
        try:
            engine.start(name)
        except StackpyError as error:
            raise explained(engine, name, error) from error
    elif dependency.condition != "started" and state["health"] != "healthy":
        say(f"waiting until {name} is {dependency.condition}")
    try:
        engine.await_state(name, dependency.condition, None if dependency.condition == "completed" else PATIENCE)
    except StackpyError as error:
        raise explained(engine, name, error) from error


def dependents(engine: Facade, names: Sequence[str]) -> list[str]:
    """The running containers that are to be restarted since those of `names` were: `depends_on` with `restart`.

    In the order in which they depend on one another.
    """
    found: list[str] = []
    changed: set[tuple[str, str]] = set()  # stack, address
    for name in names:
        try:
            own = engine.container(name)["config"].get("labels", {})
        except Missing:
            continue
        if own.get(labels.STACK) and own.get(labels.RESOURCE):
            changed.add((own[labels.STACK], own[labels.RESOURCE]))
    left = [
        (document, labels.dependencies(document["config"]["labels"]))
        for stack in dict.fromkeys(stack for stack, _ in changed)
        for document in engine.containers(stack)
        if document["name"] not in names and document["state"]["status"] in ALIVE
    ]
    while True:
        now = [
            document
            for document, dependencies in left
            if document["name"] not in found
            and any(
                each.restart and (document["config"]["labels"][labels.STACK], each.address) in changed
                for each in dependencies
            )
        ]
        if not now:
            return found
        found += [str(document["name"]) for document in now]
        changed |= {
            (document["config"]["labels"][labels.STACK], document["config"]["labels"].get(labels.RESOURCE, ""))
            for document in now
        }
