"""kill and delete."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from stackpy_runtime.container.stopping import signal_number
from stackpy_runtime.errors import Conflict, EngineError, NotFound
from stackpy_runtime.oci import bundle, groups, hooks, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.oci.state import Record

DYING = 10.0  # seconds from SIGKILL to the end of a process


def kill(root: str, identity: str, name: str, *, every: bool) -> None:
    """Signals a container's first process, or with `every` all of its group.

    Conflict, in the words that callers look for, when it does not run.
    """
    # 0 asks whether it runs, as of kill(2).
    number = 0 if name == "0" else signal_number(name)
    folder = state.Folder(root, identity)
    with folder.locked():
        record = folder.record()
        now = state.status(folder, record)
        group = groups.Group(record["cgroups_path"])
        if every or (number == signal.SIGKILL and not _own_processes(folder.document()) and group.processes()):
            # Where it shares a PID namespace the others do not end with the first, and may be left when that has.
            group.signal_all(number)
            return
        state.need(now, ("running", "created"), identity)
        _signal(record, number)
        if number == signal.SIGKILL:
            # One that is held still does not die.
            group.freeze(False)


def _own_processes(document: dict[str, Any]) -> bool:
    spaces = (document.get("linux") or {}).get("namespaces") or []
    return any(each.get("type") == "pid" and not each.get("path") for each in spaces)


def _signal(record: Record, number: int) -> None:
    try:
        pidfd = os.pidfd_open(record["pid"])
    except ProcessLookupError:
        raise Conflict(f"container not running: {record['id']}") from None
    try:
        # The pidfd is of the right process if that one is still there after it was opened.
        if not state.lives(record):
            raise Conflict(f"container not running: {record['id']}")
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise Conflict(f"container not running: {record['id']}") from None
    finally:
        os.close(pidfd)


def delete(root: str, identity: str, *, force: bool, warn: Callable[[str], None]) -> None:
    """Removes a stopped container; with `force` one that runs too, and none is no error then."""
    folder = state.Folder(root, identity)
    try:
        with folder.locked():
            record = folder.record()
            _delete(folder, record, force=force, warn=warn)
    except NotFound:
        if not force or not os.path.isdir(folder.path):
            if force:
                return
            raise
        # What a `create` that was killed at its very beginning has left.
        folder.remove()


def _delete(folder: state.Folder, record: Record, *, force: bool, warn: Callable[[str], None]) -> None:
    now = state.status(folder, record)
    group = groups.Group(record["cgroups_path"])
    if now in ("running", "paused") and not force:
        raise EngineError(
            f"container {record['id']} is {now}, not stopped", hint="`kill` it first, or `delete --force` it"
        )
    if now not in ("stopped", "creating"):
        try:
            _signal(record, signal.SIGKILL)
        except Conflict:
            # It has ended meanwhile.
            pass
    group.freeze(False)
    # Whatever else is in its group: what it has left where it shares a PID namespace, and what `exec` has started.
    group.signal_all(signal.SIGKILL)
    deadline = time.monotonic() + DYING
    while state.lives(record):
        if time.monotonic() > deadline:
            raise EngineError(f"container {record['id']} does not end even by SIGKILL")
        time.sleep(0.002)
    group.remove()
    found = bundle.read_hooks(folder.document()).get("poststop", [])
    folder.remove()
    # The container is gone whatever they do.
    hooks.call_all(found, json.dumps(state.shown(record, "stopped")), warn=warn)
