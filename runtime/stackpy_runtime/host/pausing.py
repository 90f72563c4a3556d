"""Pausing: a container's processes stand still in the kernel's freezer until somebody has them go on.

What is wanted is recorded first and done then: whoever is killed in between is finished by the supervisor that comes
next, which has every container stand still or run as the index says (`restored`).
"""

from __future__ import annotations

from stackpy_runtime.errors import Conflict, EngineError
from stackpy_runtime.host.events import of_container
from stackpy_runtime.store import event_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from stackpy_runtime.host.live import Live
    from stackpy_runtime.store.store import Store


def is_paused(live: Live) -> bool:
    """Whether a container runs and stands still."""
    return bool(live.pid) and live.state["status"] == "paused"


def pause(store: Store, live: Live) -> None:
    """Has a container that runs stand still.

    Raises Conflict where it does not run or is paused already, Unsupported without a freezer, and KernelError where a
    process does not stand after ten seconds; then it runs as before.
    """
    with live.verb:
        if is_paused(live):
            raise Conflict("it is paused already", subject=f"container {live.name}")
        if live.state["status"] == "restarting":
            raise Conflict("it is about to be started again", subject=f"container {live.name}", hint="wait for that")
        group = live.group
        if not live.pid or group is None:
            raise Conflict("it is not running", subject=f"container {live.name}", hint=f"stackpy start {live.name}")
        _note(store, live, "paused")
        try:
            group.freeze(True)
        except EngineError as error:
            if not live.pid:
                raise Conflict("it has ended meanwhile", subject=f"container {live.name}") from None
            _note(store, live, "running")
            error.subject = error.subject or f"container {live.name}"
            raise
    event_log.record(store.root, of_container(live, "pause"))


def unpause(store: Store, live: Live) -> None:
    """Has a paused container go on; raises Conflict where it is not paused."""
    with live.verb:
        if not is_paused(live):
            raise Conflict("it is not paused", subject=f"container {live.name}")
        resume(store, live)


def resume(store: Store, live: Live, *, firmly: bool = False) -> None:
    """The same for whoever holds `live.verb`; one that is not paused is left alone.

    firmly: also where the index cannot be written, since a full disk must keep nobody from ending a container

    A signal that was sent before is delivered now: version 1 of the freezer keeps even SIGKILL until then.
    """
    group = live.group
    if not is_paused(live) or group is None:
        return
    try:
        _note(store, live, "running")
    except EngineError:
        if not firmly:
            raise
        with live.changed:
            live.state = {**live.state, "status": "running"}
    try:
        group.freeze(False)
    except EngineError:
        # It has ended in this moment, and its group is gone.
        if live.pid:
            raise
    event_log.record(store.root, of_container(live, "unpause"))


def restored(live: Live) -> None:
    """Has a container that was found running stand still or go on, as was wanted when a supervisor before us died."""
    if live.group is None:
        return
    try:
        live.group.freeze(live.state["status"] == "paused")
    except EngineError:
        # A host without a freezer has frozen none; one whose processes do not stand goes on.
        pass


def _note(store: Store, live: Live, status: Literal["paused", "running"]) -> None:
    with live.changed:
        if live.pid:
            live.keep(store, status=status)
