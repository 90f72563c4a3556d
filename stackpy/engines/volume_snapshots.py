"""Snapshots of a stack's volumes, as generations hold them: taken, restored, and removed with their generation."""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.engines import labels
from stackpy.engines.events import Event
from stackpy.engines.facade import at_once
from stackpy.errors import Interrupted, StackpyError
from stackpy.planning.plan import Action, Change
from stackpy.planning.snapshots import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from stackpy.engines.events import Report
    from stackpy.engines.facade import Document, Facade


def held(engine: Facade, stack: str) -> list[Snapshot]:
    """The snapshots of the stack's volumes, oldest first."""
    return [
        Snapshot(address, one["id"], generation, one["created"], one["size"])
        for address, volume in _own(engine, stack)
        for one in engine.volume_snapshots(volume["name"])
        if (generation := _generation(one))
    ]


def take(
    engine: Facade, stack: str, change: Change, generation: int, report: Report, stopping: Callable[[], bool]
) -> None:
    """Keeps what a volume holds, for a generation that is about to change what writes it."""
    name = _name(stack, change)
    taken = engine.snapshot_volume(name, _labels(stack, change, generation), _going_on(stopping))
    report(Event(change.address, "output", f"snapshot {taken['id']} of {name}"))


def take_stopped(
    engine: Facade,
    stack: str,
    change: Change,
    generation: int,
    writers: Sequence[Document],
    report: Report,
    stopping: Callable[[], bool],
) -> None:
    """Stops the containers that a change ends, and keeps what the volumes that it names hold then, to the last write.

    What was stopped is started again where that fails. A killed client leaves it stopped, and the change to be made.
    """
    at_once([_stopper(engine, document, change, report) for document in writers])
    try:
        for address in change.snapshots:
            report(Event(address, "started", ""))
            take(engine, stack, Change(address, Action.SNAPSHOT, ()), generation, report, stopping)
            report(Event(address, "done", ""))
    except BaseException:
        at_once([_starter(engine, document, change, report) for document in writers])
        raise


def restore(
    engine: Facade, stack: str, change: Change, generation: int, report: Report, stopping: Callable[[], bool]
) -> None:
    """Gives a volume its content of then, when all of the stack that uses it has been stopped; changes begin it anew.

    Raises StackpyError, and nothing was touched, where a container that is not the stack's runs and uses it.
    """
    name = _name(stack, change)

    def stop() -> None:
        users = [document for document in engine.containers() if _uses(document, name) and _runs(document)]
        for document in users:
            if document["config"].get("labels", {}).get(labels.STACK) != stack:
                raise StackpyError(
                    f"{document['name']} uses volume `{name}`, and is not this stack's to stop",
                    hint=f"`stackpy stop {document['name']}`, and roll back again",
                )
        at_once([_stopper(engine, document, change, report) for document in users])

    kept = engine.restore_volume_snapshot(
        name, change.reasons[0].new, _labels(stack, change, generation), stop, _going_on(stopping)
    )
    report(Event(change.address, "output", f"what {name} held before is snapshot {kept['id']}"))


def prune(engine: Facade, stack: str, kept: Collection[int]) -> None:
    """Removes the snapshots of generations that are not kept any more."""
    for _, volume in _own(engine, stack):
        for one in engine.volume_snapshots(volume["name"]):
            if (number := _generation(one)) and number not in kept:
                engine.remove_volume_snapshot(volume["name"], one["id"])


def _own(engine: Facade, stack: str) -> Iterator[tuple[str, Document]]:
    for volume in engine.volumes():
        if volume["labels"].get(labels.STACK) == stack and volume["labels"].get(labels.RESOURCE):
            yield volume["labels"][labels.RESOURCE], volume


def _generation(snapshot: Document) -> int:
    """The generation that holds a snapshot; 0: none does."""
    number = str(snapshot["labels"].get(labels.GENERATION, ""))
    return int(number) if number.isascii() and number.isdigit() else 0


def _labels(stack: str, change: Change, generation: int) -> dict[str, str]:
    return {labels.STACK: stack, labels.RESOURCE: change.address, labels.GENERATION: str(generation)}


def _name(stack: str, change: Change) -> str:
    return engine_name(stack, "volume", change.address.partition(".")[2])


def _going_on(stopping: Callable[[], bool]) -> Callable[[], None]:
    def go_on() -> None:
        if stopping():
            raise Interrupted("stopped while it was copied: nothing of the copy is left")

    return go_on


def _stopper(engine: Facade, document: Document, change: Change, report: Report) -> Callable[[], None]:
    def stop() -> None:
        engine.stop(document["id"])
        report(Event(change.address, "output", f"{document['name']} stopped"))

    return stop


def _starter(engine: Facade, document: Document, change: Change, report: Report) -> Callable[[], None]:
    def start() -> None:
        engine.start(document["id"])
        report(Event(change.address, "output", f"{document['name']} started again"))

    return start


def _uses(document: Document, volume: str) -> bool:
    mounts = document["config"].get("mounts", ())
    return any(mount["type"] == "volume" and mount.get("source") == volume for mount in mounts)


def _runs(document: Document) -> bool:
    return document["state"]["status"] not in ("created", "exited")
